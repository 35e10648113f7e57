"""The equality gate in a process of its own: what counts is the folder on disk, read anew.

The process that trained hands over a file: which lines, and what its model made of them. A new
Python process reads base and adapter from disk into the serving engine, decodes the lines in one
mixed batch, compares, and writes its answer to another file. Nothing in memory can stand in for a
tensor that was saved under a wrong name, or not at all.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

from hub.errors import EqualityGateError, HubError
from hub.manifest import AdapterManifest
from training.evidence.decode import Decoder
from training.gates.equality import (
    DecodedRow,
    EqualityEvidence,
    GateLine,
    compare_sides,
    served_side,
)

START_SECONDS: Final = 300.0
"""Before a fresh process counts as hanging, for a base of no size."""
PARAMETERS_PER_SECOND: Final = 2e6
"""At least so many of the base are read and packed in a second, on a slow disk."""

# The new process finds modules where this one does, and nowhere else: not in the folder that the
# command happens to be run in.
_START: Final = (
    "import sys, json; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from training.gates.fresh_process import main; main()"
)


@dataclass(frozen=True)
class FreshCheck:
    """What the fresh process is given.

    Attributes:
        base: Folder of the base that was trained on.
        adapter: Folder that was saved.
        own_base: The base that the folder stands for, where no slot holds it.
        manifest: The adapter's, checked as at every load.
        end: The base's end token.
        lines: Held-out lines.
        trained: What the training model made of them, by slot.
    """

    base: Path
    adapter: Path
    own_base: Path | None
    manifest: AdapterManifest
    end: int
    lines: Sequence[GateLine]
    trained: Mapping[int, Sequence[DecodedRow]]

    def to_json(self) -> str:
        """Return the check as JSON."""
        return json.dumps(
            {
                "base": str(self.base),
                "adapter": str(self.adapter),
                "own_base": str(self.own_base) if self.own_base else None,
                "manifest": self.manifest.to_json(),
                "end": self.end,
                "lines": [asdict(line) for line in self.lines],
                "trained": {slot: [asdict(row) for row in rows] for slot, rows in self._rows()},
            }
        )

    def _rows(self) -> list[tuple[int, Sequence[DecodedRow]]]:
        return sorted(self.trained.items())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        plain = json.loads(text)
        return cls(
            base=Path(plain["base"]),
            adapter=Path(plain["adapter"]),
            own_base=Path(plain["own_base"]) if plain["own_base"] else None,
            manifest=AdapterManifest.from_json(plain["manifest"]),
            end=plain["end"],
            lines=[GateLine(tuple(e["source"]), tuple(e["prefix"])) for e in plain["lines"]],
            trained={
                int(slot): [_row(each) for each in rows] for slot, rows in plain["trained"].items()
            },
        )


def _row(plain: Mapping[str, Any]) -> DecodedRow:
    return DecodedRow(
        tokens=tuple(plain["tokens"]),
        log_probability=plain["log_probability"],
        finished=plain["finished"],
        rivals=tuple(tuple((token, value) for token, value in at) for at in plain["rivals"]),
    )


def check_in_fresh_process(
    check: FreshCheck, *, python: str = sys.executable, seconds: float | None = None
) -> EqualityEvidence:
    """Let a new process read the saved folder, serve it and compare.

    Args:
        check: What to compare.
        python: The interpreter.
        seconds: How long it may take; by the size of the base when None.

    Raises:
        EqualityGateError: The two differ, or the process crashed, hung or answered nothing.
    """
    if seconds is None:
        seconds = START_SECONDS + check.manifest.base.parameters / PARAMETERS_PER_SECOND
    with TemporaryDirectory(prefix="hub-gate-") as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        request.write_text(check.to_json(), encoding="utf-8")
        _run(python, request, answer, seconds, check)
        return _read(answer, check)


def _run(python: str, request: Path, answer: Path, seconds: float, check: FreshCheck) -> None:
    words = [python, "-P", "-c", _START, json.dumps(sys.path), str(request), str(answer)]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failed(f"did not answer within {seconds:g} s", check) from None
    except OSError as error:
        raise _failed(f"could not be started: {python}: {error.strerror}", check) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        cause = f": {said[-1]}" if said else ""
        raise _failed(f"{ended_by(done.returncode)}{cause}", check)


def ended_by(code: int) -> str:
    """Say how a process ended, for a message."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", as a machine short of memory does" if -code == signal.SIGKILL else ""
    return f"was ended by {name}{hint}"


def _read(answer: Path, check: FreshCheck) -> EqualityEvidence:
    try:
        plain = json.loads(answer.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise _failed("ended without an answer", check) from None
    if "refused" in plain:
        raise EqualityGateError(f"{plain['refused']} (read anew from {check.adapter})")
    return replace(EqualityEvidence(**plain), fresh=True)


def _failed(how: str, check: FreshCheck) -> EqualityGateError:
    return EqualityGateError(
        f"the process that serves the saved adapter for comparison {how}; the adapter was not "
        f"published, it lies in {check.adapter}; run the same command again"
    )


def main() -> None:
    """Answer one request, in the fresh process."""
    request, answer = (Path(word) for word in sys.argv[1:])
    try:
        found = asdict(answer_to(FreshCheck.from_json(request.read_text(encoding="utf-8"))))
    except HubError as error:
        found = {"refused": error.message}
    answer.write_text(json.dumps(found), encoding="utf-8")


def answer_to(check: FreshCheck) -> EqualityEvidence:
    """Read base and adapter from disk, decode the lines in a mixed batch, and compare.

    Raises:
        EqualityGateError: Names the first row and position that differ.
        AdapterBindingError: A tensor of the folder does not bind.
        CorruptError: The folder or the base is damaged.
    """
    decoder = _decoder(check)
    decoder.place(check.adapter, check.manifest)
    served = served_side(decoder, check.lines, tuple(check.trained))
    return compare_sides(check.trained, served, end=check.end)


def _decoder(check: FreshCheck) -> Decoder:
    from hub.bases import open_base
    from hub.bases.tokenizer import load_tokenizer
    from training.whole_weights import WholeDecoder

    base = open_base(str(check.base))
    tokenizer = load_tokenizer(base)
    own = check.own_base
    if own is None:
        return Decoder(base, tokenizer, "float32")
    return WholeDecoder(base, tokenizer, "float32", lambda _: own)
