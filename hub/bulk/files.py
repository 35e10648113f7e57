"""Whole files through a client: units of several files share calls, each file is written at once.

A file is written when its last unit is translated, to another name first and then renamed, so that
there is never half of one. Units with the same text are translated once. Files whose units may
share a call have one routing key, so that while a canary runs one version translates all of a file.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from hub.bulk.disk import disk_faults
from hub.bulk.journal import Journal, fingerprint, journal_path
from hub.bulk.targets import Target
from hub.bulk.window import CALLS, in_order
from hub.documents import Document, Options, State, Unit, open_document
from hub.documents.model import MAX_BYTES
from hub.errors import DocumentError, HubError
from hub.replies import ItemReply
from hub.routing_keys import whole_key

TEXTS_PER_CALL: Final = 64
CHARACTERS_PER_CALL: Final = 60_000
OPEN_FILES: Final = 16
"""Files that may wait for others to fill a call."""


class Ask(Protocol):
    """Translates texts of one MIME type; called on threads."""

    def __call__(
        self, contents: Sequence[str], mime_type: str, routing_key: str, /
    ) -> Sequence[ItemReply]:
        """Return one reply for each."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """How files are translated.

    Attributes:
        options: How they are read.
        told: All that a translation depends on besides the file.
        fill: Translate only what has no translation in the file, or a fuzzy one.
        resume: Take up what an earlier run began, and skip what it finished.
        calls: In flight at once.
    """

    options: Options
    told: Mapping[str, object]
    fill: bool = False
    resume: bool = False
    calls: int = CALLS


@dataclass
class FileWork:
    """One file that is being translated.

    Attributes:
        translations: By unit; None until it is there, or where it failed.
        failures: Units with the reason why they have no translation.
        error: Why nothing of the file could be done.
        waiting: Texts that are asked for and not yet answered.
        resumed: Units that an earlier run translated.
    """

    target: Target
    document: Document | None = None
    translations: list[str | None] = field(default_factory=list)
    failures: list[tuple[Unit, HubError]] = field(default_factory=list)
    left: tuple[Unit, ...] = ()
    error: HubError | None = None
    is_current: bool = False
    waiting: int = 0
    asked: int = 0
    resumed: int = 0
    is_read: bool = False
    journal: Journal | None = None

    @property
    def done(self) -> int:
        """Return how many units have a translation."""
        return sum(text is not None for text in self.translations)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One text of a call, and the units that have it."""

    work: FileWork
    unit: Unit
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Call:
    mime_type: str
    wanted: tuple[_Wanted, ...]
    routing_key: str


def translate_files(
    targets: Sequence[Target], ask: Ask, wishes: Wishes, tell: Callable[[FileWork, int], None]
) -> Iterator[FileWork]:
    """Translate files, and yield each when it is written or has failed.

    Args:
        targets: The files.
        ask: Translates.
        wishes: How.
        tell: Told of a file when further units of it are done, and how many.

    Raises:
        HubError: A call failed; what was translated is kept for a later run.
    """

    def work(call: _Call) -> Sequence[ItemReply]:
        texts = [one.unit.text for one in call.wanted]
        return ask(texts, call.mime_type, call.routing_key) if texts else ()

    opened: list[FileWork] = []
    try:
        for call, replies in in_order(_calls(targets, wishes, opened), work, wishes.calls):
            _take(call, replies, tell)
            for file in [one for one in opened if one.is_read and not one.waiting]:
                opened.remove(file)
                _finish(file)
                yield file
    finally:
        for file in opened:
            if file.journal is not None:
                file.journal.close()


def _calls(targets: Sequence[Target], wishes: Wishes, opened: list[FileWork]) -> Iterator[_Call]:
    """Yield calls of up to `TEXTS_PER_CALL` texts; an empty one lets files without any finish."""
    buffers: dict[str, list[_Wanted]] = {}
    key = ""
    for number, target in enumerate(targets, 1):
        if number % OPEN_FILES == 1:
            key = whole_key(wishes.options.target, (str(target.source),))
        work = _open(target, wishes)
        opened.append(work)
        for wanted in _wanted(work, wishes):
            buffer = buffers.setdefault(wanted.unit.mime_type, [])
            if _is_full(buffer, wanted):
                yield _Call(wanted.unit.mime_type, tuple(buffer), key)
                buffer.clear()
            buffer.append(wanted)
        work.is_read = True
        if number % OPEN_FILES == 0 or not work.waiting:
            yield from _flushed(buffers, key)
    yield from _flushed(buffers, key)
    yield _Call("", (), key)


def _flushed(buffers: dict[str, list[_Wanted]], key: str) -> Iterator[_Call]:
    yield _Call("", (), key)
    for mime_type, buffer in buffers.items():
        if buffer:
            yield _Call(mime_type, tuple(buffer), key)
            buffer.clear()


def _is_full(buffer: Sequence[_Wanted], further: _Wanted) -> bool:
    characters = sum(len(one.unit.text) for one in buffer) + len(further.unit.text)
    return bool(buffer) and (len(buffer) >= TEXTS_PER_CALL or characters > CHARACTERS_PER_CALL)


def _open(target: Target, wishes: Wishes) -> FileWork:
    """Read a file, and what an earlier run left of it."""
    work = FileWork(target)
    try:
        if wishes.resume and _is_current(target):
            work.is_current = True
            return work
        data = _read(target.source)
        work.document = open_document(target.format, data, wishes.options)
    except HubError as error:
        work.error = error
        return work
    work.error = _wrong_language(work.document.language, target, wishes)
    if work.error is not None:
        work.document = None
        return work
    work.translations = [None] * len(work.document.units)
    work.journal = Journal(target.output, fingerprint(data, wishes.told))
    if wishes.resume:
        for index, text in work.journal.read().items():
            if index < len(work.translations):
                work.translations[index] = text
                work.resumed += 1
    return work


def _wrong_language(stated: str, target: Target, wishes: Wishes) -> HubError | None:
    """Return why a file cannot be written over: its translations are in another language."""
    wanted = wishes.options.target
    over = wishes.fill or target.output == target.source
    if not stated or not wanted or not over or _plain(stated) == _plain(wanted):
        return None
    return DocumentError(
        f"{target.source} says that its translations are in {stated!r}, not {wanted!r}; correct "
        "that in the file, or give an --output and no --fill"
    )


def _plain(code: str) -> str:
    return re.split("[-_@.]", code, maxsplit=1)[0].lower()


def _is_current(target: Target) -> bool:
    """Tell whether an earlier run finished a file that has not changed since."""
    if target.output == target.source or journal_path(target.output).exists():
        return False
    try:
        return target.output.stat().st_mtime_ns >= target.source.stat().st_mtime_ns
    except OSError:
        return False


def _read(path: Path) -> bytes:
    with disk_faults(path, "read"), path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _wanted(work: FileWork, wishes: Wishes) -> Iterator[_Wanted]:
    """Yield the texts of a file that are to be translated, each once."""
    if work.document is None:
        return
    fill = wishes.fill and work.target.format.keeps_both
    same: dict[tuple[str, str], list[int]] = {}
    units = work.document.units
    for index, unit in enumerate(units):
        if work.translations[index] is None and not (fill and unit.state is State.TRANSLATED):
            same.setdefault((unit.text, unit.mime_type), []).append(index)
    work.waiting = work.asked = len(same)
    for places in same.values():
        yield _Wanted(work, units[places[0]], tuple(places))


def _take(call: _Call, replies: Sequence[ItemReply], tell: Callable[[FileWork, int], None]) -> None:
    """Put the answers of a call where they belong."""
    made: dict[int, tuple[FileWork, dict[int, str]]] = {}
    for one, reply in zip(call.wanted, replies, strict=True):
        one.work.waiting -= 1
        if reply.error is not None:
            one.work.failures.append((one.unit, reply.error))
        else:
            _, found = made.setdefault(id(one.work), (one.work, {}))
            found.update(dict.fromkeys(one.places, reply.text))
    for work, found in made.values():
        for index, text in found.items():
            work.translations[index] = text
        if work.journal is not None and work.waiting:
            work.journal.add(found)
        tell(work, len(found))


def _finish(work: FileWork) -> None:
    """Write a file whose units are all answered."""
    if work.document is None or work.journal is None:
        return
    try:
        rendered = work.document.render(work.translations)
        units = work.document.units
        work.left = tuple(units[index] for index in rendered.left)
        write_whole(work.target.output, rendered.data, like=work.target.source)
        work.journal.remove()
    except HubError as error:
        work.error = error
    work.document = None
    work.journal.close()


def write_whole(path: Path, data: bytes, like: Path) -> None:
    """Write a file at once, or not at all, with the permissions of another.

    Raises:
        StorageFullError: The disk is full; an older file is still there.
    """
    place = path.resolve()
    with disk_faults(path, "written"):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, staged = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(staged, like.stat().st_mode & 0o777)
            os.replace(staged, place)
        except BaseException:
            Path(staged).unlink(missing_ok=True)
            raise
