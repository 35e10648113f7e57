"""Which files are translated, and where the translations go."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hub.documents.formats import Format, format_of
from hub.errors import DocumentError, InputError


@dataclass(frozen=True, slots=True)
class Target:
    """One file to translate.

    Attributes:
        output: Where it goes; the source itself for a file that holds both.
    """

    source: Path
    output: Path
    format: Format

    @property
    def size(self) -> int:
        """Return the bytes of the source."""
        return self.source.stat().st_size


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of one run.

    Attributes:
        skipped: Files in folders that are of no known format.
    """

    targets: tuple[Target, ...]
    skipped: tuple[Path, ...]


def plan_files(paths: Iterable[Path], output: Path | None, language: str) -> Plan:
    """Find the files and name their outputs.

    Without an output, `guide.md` becomes `guide.ko.md` beside it, and a file that holds source and
    target (PO, XLIFF) is written in place. A folder keeps its structure in the output.

    Args:
        paths: Files and folders.
        output: A folder; also a file, if one file is given.
        language: Of the translations.

    Raises:
        InputError: A path does not exist, or two files have one output.
        DocumentError: A file that is named is of no known format.
    """
    targets: list[Target] = []
    skipped: list[Path] = []
    names = list(paths)
    single = len(names) == 1 and not names[0].is_dir()
    for path in names:
        if not path.exists():
            raise InputError(f"{str(path)!r} does not exist; name a file or a folder")
        for found in _files(path):
            kind = _format(found, named=found == path)
            if kind is None:
                skipped.append(found)
            elif path == found or output is not None or not _is_output(found, language):
                root = path if path.is_dir() else path.parent
                target = Target(found, _output(found, root, output, kind, language, single), kind)
                targets.append(target)
    _check(targets)
    return Plan(tuple(targets), tuple(skipped))


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, sorted; hidden ones and linked folders are left out."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _format(path: Path, *, named: bool) -> Format | None:
    try:
        return format_of(path.name)
    except DocumentError:
        if named:
            raise
        return None


def _is_output(path: Path, language: str) -> bool:
    """Tell whether a name is one that an earlier run gave."""
    return path.stem.endswith(f".{language}")


def _output(
    path: Path, root: Path, output: Path | None, kind: Format, language: str, single: bool
) -> Path:
    if output is None:
        return path if kind.keeps_both else path.with_name(f"{path.stem}.{language}{path.suffix}")
    if single and output.suffix and not output.is_dir():
        return output
    return output / path.relative_to(root)


def _check(targets: list[Target]) -> None:
    seen: dict[Path, Path] = {}
    for target in targets:
        place = target.output.resolve()
        if place in seen:
            raise InputError(
                f"{target.source} and {seen[place]} would both be written to {target.output}; "
                "translate them in two runs"
            )
        seen[place] = target.source
        if place == target.source.resolve() and not target.format.keeps_both:
            raise InputError(
                f"{target.source} would be overwritten by its translation; give another --output"
            )
