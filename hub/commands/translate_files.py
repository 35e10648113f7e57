"""`hub translate --file`: files and folders, with their structure kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hub.asking import Handling, Routing
    from hub.bulk.files import FileWork
    from hub.bulk.targets import Plan
    from hub.client import Decoding, HubClient, ItemReply, TranslateReply
    from hub.console import Progress
    from hub.errors import HubError

_MAX_TOLD: Final = 10
"""Failed units of one file that are named."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What every call of one run asks for.

    Attributes:
        pair: Source, "" to have it detected, and target.
        timeout: Seconds that a call may take.
        leaving: Set when the command ends, so that no thread goes on waiting.
    """

    pair: tuple[str, str]
    adapter: str
    decoding: Decoding
    handling: Handling
    routing: Routing
    timeout: float
    leaving: Event = field(default_factory=Event, repr=False, compare=False)

    def ask(
        self, client: HubClient, contents: Sequence[str], mime_type: str = "", key: str = ""
    ) -> TranslateReply:
        """Translate texts; a server without room is asked again.

        Args:
            client: The connection.
            contents: The texts.
            mime_type: Theirs, where `handling` does not say.
            key: While a canary runs, calls with the same key get the same version.
        """
        from hub.bulk.patience import Patience

        handling = replace(self.handling, mime_type=mime_type) if mime_type else self.handling
        routing = replace(self.routing, key=key) if key else self.routing
        source, target = self.pair

        def call() -> TranslateReply:
            return client.translate(
                contents, source, target, adapter=self.adapter, decoding=self.decoding,
                handling=handling, routing=routing, timeout=self.timeout,
            )  # fmt: skip

        return Patience(sleep=self._wait).call(call) if self.routing.batch else call()

    def close(self) -> None:
        """Let threads that wait for a busy server give up."""
        self.leaving.set()

    def _wait(self, seconds: float) -> None:
        from hub.errors import RequestCancelledError

        if self.leaving.wait(seconds):
            raise RequestCancelledError("the command was stopped while it waited for the server")


@dataclass(frozen=True, slots=True)
class FileChoice:
    """Which files, and how."""

    files: tuple[Path, ...]
    output: Path | None
    fill: bool
    resume: bool
    encoding: str
    calls: int
    as_json: bool


def run_files(client: HubClient, asking: Asking, choice: FileChoice) -> HubError | None:
    """Translate files, tell what became of each, and return the first failure.

    Raises:
        HubError: The files cannot be planned, or a call failed.
    """
    from hub.bulk.files import Wishes, translate_files
    from hub.bulk.targets import plan_files
    from hub.console import note, progress
    from hub.documents import Options

    plan = plan_files(choice.files, choice.output, asking.pair[1])
    _tell_skipped(plan)
    told = {"asking": repr(asking), "fill": choice.fill, "encoding": choice.encoding}
    options = Options(*asking.pair, encoding=choice.encoding)
    wishes = Wishes(options, told, fill=choice.fill, resume=choice.resume, calls=choice.calls)

    def ask(contents: Sequence[str], mime_type: str, key: str) -> Sequence[ItemReply]:
        return asking.ask(client, contents, mime_type, key).items

    failure: HubError | None = None
    with progress("translating", float(sum(target.size for target in plan.targets))) as work:
        bar = _Bar(work, len(plan.targets))
        for file in translate_files(plan.targets, ask, wishes, bar.advance):
            bar.finish(file)
            _tell(file, as_json=choice.as_json)
            first = next((error for _, error in file.failures), None)
            failure = failure or file.error or first
    if not plan.targets:
        note("no file to translate")
    return failure


@dataclass
class _Bar:
    """Moves a bar by the bytes of the files, as far as their units are done."""

    work: Progress
    files: int
    _finished: int = 0
    _texts: int = 0
    _done: float = 0.0
    _partly: float = 0.0

    def advance(self, file: FileWork, units: int) -> None:
        self._texts += units
        if file.translations:
            self._partly += file.target.size * units / len(file.translations)
        self._show()

    def finish(self, file: FileWork) -> None:
        self._finished += 1
        self._done += file.target.size
        new = file.done - file.resumed
        if file.translations:
            self._partly -= file.target.size * new / len(file.translations)
        self._show()

    def _show(self) -> None:
        self.work.update(
            self._done + max(0.0, self._partly),
            f"{self._finished} of {self.files} files, {self._texts} texts",
        )


def _tell_skipped(plan: Plan) -> None:
    from hub.console import note

    if plan.skipped:
        names = ", ".join(path.name for path in plan.skipped[:3])
        more = ", …" if len(plan.skipped) > 3 else ""
        note(f"{len(plan.skipped)} files are of no known format and are left out: {names}{more}")


def _tell(file: FileWork, *, as_json: bool) -> None:
    """Print the path of a file that is written; problems go to standard error."""
    import json

    from hub.console import note

    if as_json:
        print(json.dumps(_record(file), ensure_ascii=False), flush=True)
    elif file.error is None:
        print(file.target.output, flush=True)
    if file.error is not None:
        note(f"{file.target.source}: {file.error.message}")
    for unit, error in file.failures[:_MAX_TOLD]:
        note(f"{file.target.source}: {unit.place}: {error.message}")
    if len(file.failures) > _MAX_TOLD:
        note(f"{file.target.source}: {len(file.failures) - _MAX_TOLD} more texts failed")
    for unit in file.left[:_MAX_TOLD]:
        note(f"{file.target.source}: {unit.place}: the translation lost its markup; left as it was")


def _record(file: FileWork) -> dict[str, object]:
    return {
        "source": str(file.target.source),
        "output": None if file.error else str(file.target.output),
        "format": file.target.format.name,
        "units": len(file.translations),
        "translated": file.done,
        "resumed": file.resumed,
        "current": file.is_current,
        "failed": [{"place": unit.place, "reason": error.reason} for unit, error in file.failures],
        "left": [unit.place for unit in file.left],
        "error": None if file.error is None else file.error.message,
    }
