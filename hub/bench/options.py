"""What every `hub bench` command reads and writes in the same way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hub.errors import SettingsError

BENCH_HELP: Final = "Measure speed and memory, on random weights of a model's dimensions."


@contextmanager
def figures(
    json_file: Path | None, folder: Path | None
) -> Iterator[tuple[Path, Callable[[Mapping[str, Any]], None]]]:
    """Yield a folder to work in and a writer of figures; check beforehand that it can write.

    Raises:
        SettingsError: The file or the folder cannot be written.
    """
    import tempfile

    def write(found: Mapping[str, Any]) -> None:
        if json_file is not None:
            json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")

    if json_file is not None:
        try:
            json_file.open("a", encoding="utf-8").close()  # `touch` would take a folder
        except OSError as error:
            raise SettingsError(f"--json {json_file} cannot be written: {error}") from error
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"--folder {folder} is no folder and cannot be made one: {error.strerror}; "
                "name another"
            ) from error
        yield folder, write
        return
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as scratch:
        yield Path(scratch), write


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a list with commas."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def threads_or_all(threads: int | None) -> int:
    """Return the number asked for, else that of the machine's cores."""
    return threads if threads is not None else os.cpu_count() or 1
