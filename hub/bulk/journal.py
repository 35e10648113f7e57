"""What of a file is translated so far, beside its output, so that a run can be resumed.

`.NAME.hub-part` has a line of JSON for what the translations depend on, then one for each unit. It
is removed when the file is written. A line that was cut off by a crash is not read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from hub.bulk.disk import disk_faults


def journal_path(output: Path) -> Path:
    """Return where the journal of an output is."""
    return output.with_name(f".{output.name}.hub-part")


def fingerprint(data: bytes, options: Mapping[str, object]) -> str:
    """Return what stands for a file's content and the options of its translation."""
    told = json.dumps(options, sort_keys=True, default=str).encode()
    return hashlib.sha256(hashlib.sha256(data).digest() + told).hexdigest()


class Journal:
    """The journal of one file; it is made with the first translation."""

    def __init__(self, output: Path, key: str) -> None:
        self._path = journal_path(output)
        self._key = key
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; it stays."""
        self.close()

    def read(self) -> dict[int, str]:
        """Return the translations of an earlier run with the same file and options."""
        found: dict[int, str] = {}
        try:
            with self._path.open(encoding="utf-8", errors="replace") as lines:
                if _parsed(next(lines, "")).get("key") != self._key:
                    return {}
                for line in lines:
                    entry = _parsed(line)
                    index, text = entry.get("unit"), entry.get("text")
                    if isinstance(index, int) and isinstance(text, str):
                        found[index] = text
        except OSError:
            return {}
        return found

    def add(self, translations: Mapping[int, str]) -> None:
        """Keep translations.

        Raises:
            StorageFullError: The disk is full.
        """
        with disk_faults(self._path, "written"):
            file = self._file or self._open()
            for index, text in translations.items():
                file.write(json.dumps({"unit": index, "text": text}, ensure_ascii=False) + "\n")
            file.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove it, because the whole file is written."""
        self.close()
        self._path.unlink(missing_ok=True)

    def _open(self) -> IO[str]:
        kept = self.read()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")
        self._file.write(json.dumps({"key": self._key}) + "\n")
        for index, text in kept.items():
            self._file.write(json.dumps({"unit": index, "text": text}, ensure_ascii=False) + "\n")
        return self._file


def _parsed(line: str) -> dict[str, object]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
