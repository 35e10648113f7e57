"""The run folder: recipe, log, best adapter, state and summary, each written whole or not at all.

Under `runs/<pair>.<method>.<digest>/` lie:

- `recipe.json`: what is trained;
- `log.jsonl`: one line per report: step, loss, learning rate, tokens/s, dev chrF++;
- `best/`: the adapter folder with the best dev score so far;
- `last/`: the adapter as it was last looked at;
- `state.safetensors`: all that a later process needs to go on from the last look;
- `summary.json`: how the run ended;
- `lock`: held by the process that trains, as long as it lives.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hub.errors import SettingsError, StorageFullError
from training.recipe import Recipe

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
PART: Final = ".part-"
"""How the names of files begin that are not whole yet."""
_TAKEN: Final = (errno.EACCES, errno.EAGAIN)


class RunFolder:
    """One run's files under a root folder."""

    def __init__(self, path: Path) -> None:
        """Take the folder as it is; `create` makes one."""
        self.path = path
        self.best = path / "best"
        self.last = path / "last"
        self.state = path / "state.safetensors"
        self.log_file = path / "log.jsonl"

    @classmethod
    def create(cls, root: Path, recipe: Recipe) -> RunFolder:
        """Make the recipe's folder, or open it where an earlier attempt left one.

        It is this process's own from here on.

        Raises:
            SettingsError: The folder cannot be written, or another process trains in it; the
                message names it and the remedy.
            StorageFullError: The disk is full.
        """
        run = cls(root / recipe.run_name)
        with _readable_errors(run.path):
            run.path.mkdir(parents=True, exist_ok=True)
            weakref.finalize(run, os.close, _locked(run.path / "lock"))
            run._forget_parts()
        run.write("recipe.json", recipe.to_json().encode())
        return run

    def _forget_parts(self) -> None:
        """Remove what a process that was killed while it wrote left beside the files."""
        for folder in (self.path, self.best, self.last):
            for part in folder.glob(f"{PART}*"):
                part.unlink(missing_ok=True)

    @staticmethod
    def check_root(root: Path) -> None:
        """See that run folders can be made, before minutes are spent on what they would hold.

        Raises:
            SettingsError: They cannot.
        """
        with _readable_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            if not os.access(root, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def start_over(self) -> None:
        """Forget what an earlier run of the same recipe left, except the recipe."""
        with _readable_errors(self.path):
            for file in (self.state, self.log_file, self.path / "summary.json"):
                file.unlink(missing_ok=True)
            shutil.rmtree(self.best, ignore_errors=True)
            shutil.rmtree(self.last, ignore_errors=True)

    def write(self, name: str, content: bytes) -> Path:
        """Replace one file atomically: readers see the old bytes or the new ones.

        Raises:
            StorageFullError: The disk is full; the earlier file is untouched.
        """
        target = self.path / name
        with _readable_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _replace(target, content)
        return target

    def save_adapter(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Make these files the adapter `best` or `last`; the weights are replaced last."""
        for file in sorted(files, key=lambda file: file.endswith(".safetensors")):
            self.write(f"{name}/{file}", files[file])
        return self.path / name

    @property
    def unfinished(self) -> bool:
        """Whether an earlier process left a state to go on from."""
        return self.state.is_file()

    def forget_state(self) -> None:
        """Remove the state: the run is over."""
        self.state.unlink(missing_ok=True)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with _readable_errors(self.log_file), self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")

    def summarise(self, summary: Mapping[str, Any]) -> None:
        """Write how the run ended."""
        text = json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        self.write("summary.json", text.encode())


def _locked(path: Path) -> int:
    """Return a file whose lock is this process's; the system frees it with the process."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno not in _TAKEN:
            raise
        raise SettingsError(
            f"another process is training in {path.parent}, the folder of this very recipe; wait "
            "for it to end, or keep this run elsewhere with --runs",
            field="runs",
        ) from None
    return handle


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{PART}{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def _readable_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFullError(
                f"no room left to write {path}; free some space and run the same command again, "
                "the last checkpoint is intact"
            ) from error
        raise SettingsError(
            f"run folder {path} cannot be written: {error.strerror}; "
            "choose another with --runs or HUB_RUNS",
            field="runs",
        ) from error
