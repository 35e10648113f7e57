"""`hub feedback`: list, sum up, export and remove post-edits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from hub.commands.adapters import JsonFlag, RegistryFlag, print_json

if TYPE_CHECKING:
    from hub.feedback.records import StoredEdit
    from hub.feedback.store import FeedbackStore, Wanted

feedback_app = typer.Typer(help="List, sum up, export and remove post-edits.", no_args_is_help=True)

StoreFlag = Annotated[
    str | None,
    typer.Option("--feedback-url", help="Store of post-edits; HUB_FEEDBACK_URL otherwise."),
]
PairFlag = Annotated[str | None, typer.Option(help="Only this pair, such as en-ko.")]
AdapterFlag = Annotated[
    str | None, typer.Option(help="Only of this adapter: name, name:version, sha256:… or base.")
]
TenantFlag = Annotated[str | None, typer.Option(help="Only of this tenant.")]
SinceFlag = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only received then or later: 2026-11-27.")
]
_WIDTH: Final = 40
_NOTHING: Final = "–"


@feedback_app.command("list")
def list_edits(
    pair: PairFlag = None,
    adapter: AdapterFlag = None,
    tenant: TenantFlag = None,
    since: SinceFlag = None,
    newest: Annotated[int, typer.Option("--last", min=1, help="How many, the newest.")] = 20,
    registry: RegistryFlag = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """List the newest post-edits, each with its HTER where that is known."""
    from hub.console import note, print_table

    with _opened(registry, store) as opened:
        found = opened.edits(_wanted(pair, adapter, tenant, since), newest=newest)
        where = opened.where
    if as_json:
        print_json([_record(one) for one in found])
    elif found:
        columns = ("received", "pair", "adapter", ">HTER", "source", "translation", "correction")
        print_table(columns, [_row(one) for one in found])
    else:
        note(f"no such post-edits in {where}; SubmitPostEdits stores them")


@feedback_app.command("report")
def report(
    pair: PairFlag = None,
    adapter: AdapterFlag = None,
    tenant: TenantFlag = None,
    since: SinceFlag = None,
    registry: RegistryFlag = None,
    store: StoreFlag = None,
    as_json: JsonFlag = False,
) -> None:
    """Sum post-edits up by pair and adapter: how many, and the HTER of all of them together."""
    from dataclasses import asdict

    from hub.console import note, print_table

    with _opened(registry, store) as opened:
        found = opened.summary(_wanted(pair, adapter, tenant, since))
        where = opened.where
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        rows = [
            (one.pair, one.adapter or _NOTHING, str(one.edits), str(one.measured), _share(one.hter))
            for one in found
        ]
        print_table(("pair", "adapter", ">edits", ">measured", ">HTER"), rows)
    else:
        note(f"no such post-edits in {where}; SubmitPostEdits stores them")


@feedback_app.command("export")
def export(
    pair: PairFlag = None,
    adapter: AdapterFlag = None,
    tenant: TenantFlag = None,
    since: SinceFlag = None,
    form: Annotated[
        Literal["jsonl", "tsv"],
        typer.Option("--format", help="jsonl: everything that is known; tsv: source, correction."),
    ] = "jsonl",
    registry: RegistryFlag = None,
    store: StoreFlag = None,
) -> None:
    """Print post-edits as `hub train --data` reads them, oldest first."""
    with _opened(registry, store) as opened:
        for one in opened.iterate(_wanted(pair, adapter, tenant, since)):
            if form == "tsv":
                texts = (one.edit.source, one.edit.correction)
                print("\t".join(" ".join(text.split()) for text in texts))
            else:
                print(json.dumps(_record(one), ensure_ascii=False))


@feedback_app.command("remove")
def remove(
    pair: PairFlag = None,
    adapter: AdapterFlag = None,
    tenant: TenantFlag = None,
    before: Annotated[
        str | None, typer.Option(metavar="DATE", help="Only received earlier: 2026-11-27.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
    registry: RegistryFlag = None,
    store: StoreFlag = None,
) -> None:
    """Remove post-edits for good."""
    from hub.console import note
    from hub.errors import InputError

    narrowed = any(each is not None for each in (pair, adapter, tenant, before))
    if narrowed == everything:
        raise InputError("say which post-edits to remove, or --all, not both")
    with _opened(registry, store) as opened:
        count = opened.remove(_wanted(pair, adapter, tenant, None), _moment(before, "before"))
    note(f"{count} post-edits removed")


@contextmanager
def _opened(registry: str | None, store: str | None) -> Iterator[FeedbackStore]:
    from hub.feedback.location import feedback_url
    from hub.feedback.store import FeedbackStore
    from hub.settings import load_settings

    settings = load_settings({"registry": registry, "feedback_url": store})
    opened = FeedbackStore(feedback_url(settings), create=False)
    try:
        yield opened
    finally:
        opened.close()


def _wanted(pair: str | None, adapter: str | None, tenant: str | None, since: str | None) -> Wanted:
    from hub.feedback.store import Wanted
    from hub.languages import LanguagePair

    return Wanted(
        pair=None if pair is None else LanguagePair.parse(pair),
        tenant=tenant,
        adapter=adapter,
        since=_moment(since, "since"),
    )


def _moment(text: str | None, field: str) -> Any:
    """Return a moment; one without a time zone is UTC."""
    from datetime import UTC, datetime

    from hub.errors import InputError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"--{field} {text!r} is no date; write 2026-11-27 or 2026-11-27T08:00", field=field
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _record(one: StoredEdit) -> dict[str, Any]:
    return {
        "source": one.edit.source,
        "target": one.edit.correction,
        "hypothesis": one.edit.hypothesis,
        "pair": str(one.edit.pair),
        "adapter": one.edit.adapter,
        "adapter_digest": one.edit.adapter_digest,
        "base_digest": one.base_digest,
        "hter": one.hter,
        "tenant": one.tenant,
        "request_id": one.request_id,
        "received": one.received_at.isoformat(),
    }


def _row(one: StoredEdit) -> tuple[str, ...]:
    maker = one.edit.adapter or ("base" if one.edit.hypothesis else _NOTHING)
    texts = (one.edit.source, one.edit.hypothesis, one.edit.correction)
    received = f"{one.received_at:%Y-%m-%d %H:%M}"
    return (received, str(one.edit.pair), maker, _share(one.hter), *map(_short, texts))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _WIDTH else plain[: _WIDTH - 1] + "…"


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"
