"""`hub translate`: a server's translations, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hub.client import ItemReply, TranslateReply
    from hub.errors import HubError

TEXTS_PER_CALL: Final = 64


def register_translate(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("translate")(translate)


def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; none: one per line of standard input.")
    ] = None,
    pair: Annotated[str, typer.Option(help="Language pair, such as en-ko.")] = "",
    adapter: Annotated[
        str,
        typer.Option(help="Adapter: name, name@alias, name:version or sha256:…; none: the base."),
    ] = "",
    beam: Annotated[int | None, typer.Option(help="Beam width; 1 is greedy.")] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Longest translation, in tokens.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Address of the server; HUB_HOST:HUB_PORT by default.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="Seconds that one call may take.")
    ] = 30.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per text, with all that is known.")
    ] = False,
) -> None:
    """Translate texts with a running server.

    One translation per line, in the order of the texts. Warnings and failed texts are told on
    standard error; when a text failed, the exit code is that of the first failure.
    """
    from hub.client import Decoding, HubClient
    from hub.errors import LanguageError
    from hub.languages import LanguagePair

    if not pair:
        raise LanguageError("--pair is missing; give a language pair such as en-ko")
    languages = LanguagePair.parse(pair)
    decoding = Decoding(beam_size=beam, max_output_tokens=max_output_tokens)
    output = _Output(as_json=as_json)
    with HubClient(server or _default_server(), timeout=timeout) as client:
        for batch in _batches(texts or _lines_of_stdin()):
            reply = client.translate(
                batch, languages.source, languages.target, adapter=adapter, decoding=decoding
            )
            output.show(batch, reply)
    if output.failure is not None:
        raise output.failure


def _default_server() -> str:
    from hub.settings import load_settings

    settings = load_settings()
    return f"{settings.host}:{settings.port}"


def _lines_of_stdin() -> Iterator[str]:
    import sys

    for line in sys.stdin:
        yield line.rstrip("\r\n")


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_PER_CALL:
            yield batch
            batch = []
    if batch:
        yield batch


class _Output:
    """Prints replies as they come, and remembers the first failure."""

    def __init__(self, *, as_json: bool) -> None:
        self.failure: HubError | None = None
        self._as_json = as_json

    def show(self, texts: Sequence[str], reply: TranslateReply) -> None:
        """Print one line for every text."""
        for text, item in zip(texts, reply.items, strict=True):
            print(_json_line(text, item, reply) if self._as_json else item.text, flush=True)
            self._tell(text, item)

    def _tell(self, text: str, item: ItemReply) -> None:
        from hub.console import note

        shown = text if len(text) <= 40 else text[:39] + "…"
        if item.error is not None:
            note(f"{shown!r}: {item.error.message}")
            self.failure = self.failure or item.error
        elif item.warnings:
            note(f"{shown!r}: {', '.join(item.warnings)}")


def _json_line(text: str, item: ItemReply, reply: TranslateReply) -> str:
    import dataclasses
    import json

    record: dict[str, object] = {
        "source": text,
        "target": item.text,
        "adapter": item.adapter_version,
        "digest": item.adapter_digest,
        "base_digest": reply.base_digest,
        "ms": round(item.timings.total_ms, 3),
        "quality": dataclasses.asdict(item.quality),
        "warnings": list(item.warnings),
        "timings": dataclasses.asdict(item.timings),
        "alternatives": [dataclasses.asdict(other) for other in item.alternatives],
    }
    if item.error is not None:
        record["error"] = {
            "code": item.error.code,
            "reason": item.error.reason,
            "message": item.error.message,
        }
    return json.dumps(record, ensure_ascii=False)
