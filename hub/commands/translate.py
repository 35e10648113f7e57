"""`hub translate`: a server's translations, from the command line."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hub.commands.translate_files import Asking, FileChoice, run_files
from hub.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hub.asking import Splitting
    from hub.client import HubClient, ItemReply, Tls, TranslateReply
    from hub.commands.texts import InputText
    from hub.errors import HubError

TEXTS_PER_CALL: Final = 64
AUTO: Final = "auto"
"""Source language of a pair whose source is to be detected."""


def register_translate(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("translate")(translate)


def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; none: one per line of standard input.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="File or folder to translate; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the translated files; else guide.md becomes guide.ko.md beside it, "
            "and PO and XLIFF are written in place.",
        ),
    ] = None,
    fill: Annotated[
        bool,
        typer.Option("--fill", help="Of PO and XLIFF, only what is untranslated or fuzzy."),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Take up an earlier run; files that it finished stay."),
    ] = False,
    encoding: Annotated[
        str, typer.Option(help="Encoding of text files that do not say theirs.")
    ] = "utf-8",
    calls: Annotated[
        int, typer.Option(min=1, max=64, help="Calls in flight, for files and standard input.")
    ] = 4,
    pair: Annotated[
        str, typer.Option(help="Language pair, such as en-ko; auto-ko detects the source.")
    ] = "",
    adapter: Annotated[
        str,
        typer.Option(
            help="Adapter: name, name@alias, name:version or sha256:…; base for the base alone; "
            "none: the server's route of the pair."
        ),
    ] = "",
    domain: Annotated[
        str, typer.Option(help="Domain of the texts, which narrows the server's route.")
    ] = "",
    require_adapter: Annotated[
        bool, typer.Option("--require-adapter", help="Fail rather than fall back.")
    ] = False,
    split: Annotated[
        str, typer.Option(help="Where texts are split: sentences, lines or off.")
    ] = "sentences",
    html: Annotated[bool, typer.Option("--html", help="The texts are HTML.")] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help="Words that stay as they are; repeatable.")
    ] = None,
    glossary: Annotated[
        str, typer.Option(help="Stored glossary to use: name or name:version.")
    ] = "",
    beam: Annotated[int | None, typer.Option(help="Beam width; 1 is greedy.")] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Longest translation, in tokens.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Address of the server; HUB_HOST:HUB_PORT by default.")
    ] = None,
    key: Annotated[
        str, typer.Option(help="Bearer key or token.", envvar="HUB_KEY", show_envvar=True)
    ] = "",
    tls: Annotated[
        bool, typer.Option("--tls", help="Connect over TLS, trusting the system's authorities.")
    ] = False,
    tls_roots: Annotated[
        str,
        typer.Option(
            help="Connect over TLS, trusting these authorities (PEM file).", envvar="HUB_TLS_ROOTS"
        ),
    ] = "",
    tls_client: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Own certificate and its key (PEM files), for mutual TLS."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, max=86_400, help="Seconds that one call may take.")
    ] = 30.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per text, with all that is known.")
    ] = False,
) -> None:
    """Translate texts or files with a running server.

    Texts: one translation per line, in the order of the texts; input and output are UTF-8. Warnings
    and failed texts are told on standard error; a text that failed gives an empty line, and the
    exit code is that of the first failure.

    Files: txt, md, html, po, xliff, srt, vtt, json (of strings), docx, pptx and xlsx keep their
    structure; the path of each written file is printed.
    """
    from hub.client import Decoding, Handling, HubClient, Routing

    _check_use(texts, files, output, fill or resume)
    handling = Handling(
        mime_type="text/html" if html else "text/plain",
        split=_splitting(split),
        keep=tuple(keep or ()),
        glossary=glossary,
    )
    asking = Asking(
        pair=_languages(pair),
        adapter=adapter,
        decoding=Decoding(beam_size=beam, max_output_tokens=max_output_tokens),
        handling=handling,
        routing=Routing(domain=domain, require_adapter=require_adapter, batch=not texts),
        timeout=timeout if texts else timeout * calls,  # calls in flight wait for each other
    )
    trust = _tls(tls, tls_roots, tls_client)
    with (
        closing(asking),
        HubClient(server or default_server(), timeout=timeout, key=key, tls=trust) as client,
    ):
        if files:
            choice = FileChoice(tuple(files), output, fill, resume, encoding, calls, as_json)
            failure = run_files(client, asking, choice)
        else:
            failure = _run_texts(client, asking, texts, calls=calls, as_json=as_json)
    if failure is not None:
        raise failure


def _check_use(
    texts: list[str] | None, files: list[Path] | None, output: Path | None, of_files: bool
) -> None:
    if texts and files:
        raise InputError("texts and --file are given; translate them in two runs")
    if not files and (output is not None or of_files):
        raise InputError("--output, --fill and --resume are for files; name some with --file")


def _run_texts(
    client: HubClient, asking: Asking, texts: list[str] | None, *, calls: int, as_json: bool
) -> HubError | None:
    """Translate words or lines, and return the first failure."""
    from hub.bulk.window import in_order
    from hub.commands.texts import read_words

    output = _Output(asking.pair, as_json=as_json)

    def ask(keyed: tuple[str, list[InputText]]) -> TranslateReply | None:
        key, batch = keyed
        sent = [one.text for one in batch if one.error is None]
        return asking.ask(client, sent, key=key) if sent else None

    batches = _batches(read_words(texts) if texts else _lines_of_stdin())
    several = not texts or len(texts) > TEXTS_PER_CALL
    keyed = _held_together(batches, asking.pair[1]) if several else (("", one) for one in batches)
    for (_, batch), reply in in_order(keyed, ask, calls):
        output.show(batch, reply)
    return output.failure


def _tls(wanted: bool, roots: str, client: tuple[str, str] | None) -> Tls | None:
    from hub.client import Tls

    if not (wanted or roots or client):
        return None
    cert, key = (Path(client[0]), Path(client[1])) if client else (None, None)
    return Tls(Path(roots) if roots else None, cert, key)


def _languages(pair: str) -> tuple[str, str]:
    """Read a pair; the source is "" where it is to be detected."""
    from hub.errors import LanguageError
    from hub.languages import LanguagePair, canonical

    if not pair:
        raise LanguageError("--pair is missing; give a language pair such as en-ko")
    first, _, target = pair.partition("-")
    if first == AUTO:
        return "", canonical(target)
    languages = LanguagePair.parse(pair)
    return languages.source, languages.target


def _splitting(name: str) -> Splitting:
    from hub.errors import SettingsError

    match name:
        case "sentences" | "lines" | "off":
            return name
    raise SettingsError(f"--split {name!r} is not known; use sentences, lines or off")


def default_server() -> str:
    """Return the address at which a server with this process's settings listens."""
    from hub.settings import load_settings

    settings = load_settings()
    return f"{settings.host}:{settings.port}"


def _lines_of_stdin() -> Iterator[InputText]:
    import sys

    from hub.commands.texts import read_lines, unlocked_lines

    if sys.stdin is None:
        raise InputError("standard input is closed; give texts as arguments")
    return read_lines(unlocked_lines(sys.stdin.buffer))


def _batches(texts: Iterable[InputText]) -> Iterator[list[InputText]]:
    batch: list[InputText] = []
    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_PER_CALL:
            yield batch
            batch = []
    if batch:
        yield batch


def _held_together(
    batches: Iterable[list[InputText]], target: str
) -> Iterator[tuple[str, list[InputText]]]:
    """Yield batches with the key of the first, so that one version of a canary has them all."""
    from hub.routing_keys import whole_key

    key = ""
    for batch in batches:
        key = key or whole_key(target, (one.text for one in batch))
        yield key, batch


class _Output:
    """Prints replies as they come, and remembers the first failure."""

    def __init__(self, asked: tuple[str, str], *, as_json: bool) -> None:
        self.failure: HubError | None = None
        self._asked = asked
        self._as_json = as_json
        self._told_languages = False

    def show(self, texts: Sequence[InputText], reply: TranslateReply | None) -> None:
        """Print one line for every text.

        Args:
            texts: In order.
            reply: To those without an error of their own; None where there is none.
        """
        from hub.commands.texts import one_line
        from hub.splitting import failed_item

        if reply is not None:
            self._tell_languages(reply)
        replies = iter(reply.items if reply is not None else ())
        for text in texts:
            item = failed_item(text.error) if text.error is not None else next(replies)
            line = _json_line(text.text, item, reply) if self._as_json else one_line(item.text)
            print(line, flush=True)
            self._tell(text, item)

    def _tell(self, text: InputText, item: ItemReply) -> None:
        from hub.console import note

        if item.error is not None:
            note(f"{text}: {item.error.message}")
            self.failure = self.failure or item.error
        elif item.warnings:
            unknown = f" ({' '.join(item.unknown_characters)})" if item.unknown_characters else ""
            note(f"{text}: {', '.join(item.warnings)}{unknown}")

    def _tell_languages(self, reply: TranslateReply) -> None:
        """Say once where a language was asked for that is served as a broader one."""
        from hub.console import note

        served = reply.source, reply.target
        if self._told_languages or not all(served):
            return
        self._told_languages = True
        for wanted, found in zip(self._asked, served, strict=True):
            if wanted and wanted != found:
                note(f"{wanted!r} is served as {found!r}")


def _json_line(text: str, item: ItemReply, reply: TranslateReply | None) -> str:
    import dataclasses
    import json

    record: dict[str, object] = {
        "source": text,
        "target": item.text,
        "adapter": item.adapter_version,
        "digest": item.adapter_digest,
        "base_digest": "" if reply is None else reply.base_digest,
        "ms": round(item.timings.total_ms, 3),
        "quality": dataclasses.asdict(item.quality),
        "warnings": list(item.warnings),
        "unknown_characters": list(item.unknown_characters),
        "requested": item.requested_adapter,
        "fallback": item.fallback,
        "detected": item.detected,
        "segments": item.segments,
        "details": item.details,
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
