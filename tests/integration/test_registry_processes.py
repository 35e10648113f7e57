"""Several processes on one registry: publishers never collide, aliases are linearizable."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub.registry import Registry
from hub.registry.testing import example_manifest, write_adapter_folder

# Both wait for a line on standard input once they are ready, so that they start together.
PUBLISHER = """
import json, sys
from hub.registry import Registry
print("ready", flush=True)
sys.stdin.readline()
with Registry.open(sys.argv[1]) as registry:
    for folder in sys.argv[2:]:
        version = registry.publish(folder, "a")
        print(json.dumps([version.version, version.digest]))
"""

# Moves an alias by compare-and-set, from where it last saw it. In blind mode it overwrites
# whatever is there and only claims to have compared: a bug that the checker must catch.
# Prints one JSON object per operation, with its times on the machine's monotonic clock.
MOVER = """
import json, random, sys, time
from hub.errors import AliasMovedError
from hub.registry import Registry
root, seed, count, versions, blind = sys.argv[1], *map(int, sys.argv[2:])
rng = random.Random(seed)
with Registry.open(root) as registry:
    known = registry.aliases("a")["prod"].version
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        start = time.monotonic_ns()
        if rng.random() < 0.3:
            state = registry.aliases("a")["prod"]
            op = {"kind": "read", "value": state.version, "generation": state.generation}
            known = state.version
        else:
            new = rng.randint(1, versions)
            op = {"kind": "move", "expected": known, "value": new}
            expected = known
            while "generation" not in op and op["kind"] == "move":
                try:
                    op["generation"] = registry.set_alias("a", "prod", new, expected).generation
                    known = new
                except AliasMovedError as error:
                    expected = int(error.metadata["current"])
                    if not blind:
                        op |= {"kind": "refusal", "value": expected}
                        known = expected
        print(json.dumps(op | {"start": start, "end": time.monotonic_ns()}))
"""


def run_together(code: str, arguments: Sequence[Sequence[str]]) -> list[list[str]]:
    """Run one process per row of arguments, started at once; return their lines."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for words in arguments
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return [output.splitlines() for output in outputs]


def folders(tmp_path: Path, seeds: range) -> list[str]:
    return [
        str(write_adapter_folder(tmp_path / f"adapter-{seed}", example_manifest(seed=seed)))
        for seed in seeds
    ]


def test_publishers_in_four_processes_never_collide(tmp_path: Path) -> None:
    """Each publishes four adapters that all have and two of its own, in a registry to be made."""
    root = tmp_path / "registry"
    shared = folders(tmp_path, range(4))
    rows = []
    for i in range(4):
        own = folders(tmp_path, range(10 + 2 * i, 12 + 2 * i))
        rows.append([str(root), *shared[i:], *own, *shared[:i]])
    answers = [json.loads(line) for lines in run_together(PUBLISHER, rows) for line in lines]

    assert len(answers) == 24
    numbers = {digest: {n for n, other in answers if other == digest} for _, digest in answers}
    assert all(len(given) == 1 for given in numbers.values())
    assert sorted(n for given in numbers.values() for n in given) == list(range(1, 13))
    with Registry.open(root) as registry:
        found = registry.versions("a")
        assert [version.version for version in found] == list(range(1, 13))
        assert {version.digest: {version.version} for version in found} == numbers
        assert registry.resolve("a").version == 12
        assert registry.fsck().findings == ()


@dataclass(frozen=True)
class Operation:
    """One operation of a recorded history; times are of one monotonic clock."""

    kind: str
    start: int
    end: int
    value: int
    expected: int = 0
    generation: int = 0


def violations(initial: int, history: Sequence[Operation]) -> list[str]:
    """Check a history of one compare-and-set register against its linearization.

    The register hands out generations, which name the only possible order of the
    moves; what is left to check is that this order explains every answer and
    agrees with real time.
    """
    moves = sorted((op for op in history if op.kind == "move"), key=lambda op: op.generation)
    forever = Operation("move", 2**62, 2**62, 0)
    states = [Operation("move", 0, 0, initial, generation=1), *moves, forever]
    found = []
    for before, move in zip(states, moves, strict=False):
        if move.generation != before.generation + 1:
            found.append(f"generation {move.generation} follows {before.generation}")
        if move.expected != before.value:
            found.append(f"moved from {before.value}, claimed to compare with {move.expected}")
    latest_start = 0
    for move in moves:
        if move.end < latest_start:
            found.append(f"generation {move.generation} ended before an earlier one began")
        latest_start = max(latest_start, move.start)

    def could_see(op: Operation, i: int) -> bool:
        return states[i].start <= op.end and op.start <= states[i + 1].end

    for op in history:
        if op.kind == "read":
            i = op.generation - 1
            if not (0 <= i < len(states) - 1 and states[i].value == op.value and could_see(op, i)):
                found.append(f"read {op.value} of generation {op.generation}")
        if op.kind == "refusal":
            fits = (i for i in range(len(states) - 1) if states[i].value == op.value)
            if op.value == op.expected or not any(could_see(op, i) for i in fits):
                found.append(f"refused {op.expected} because of {op.value}")
    return found


def record_history(tmp_path: Path, processes: int, count: int, *, blind: bool) -> list[Operation]:
    root = tmp_path / "registry"
    with Registry.open(root) as registry:
        for i, folder in enumerate(folders(tmp_path, range(5))):
            registry.publish(folder, "a", aliases=[] if i else ["prod"])
    rows = [[str(root), str(i), str(count), "5", str(int(blind))] for i in range(processes)]
    lines = [line for output in run_together(MOVER, rows) for line in output]
    with Registry.open(root) as registry:
        assert registry.fsck().exit_code == 0
    return [Operation(**json.loads(line)) for line in lines]


def test_alias_of_four_processes_is_linearizable(tmp_path: Path) -> None:
    history = record_history(tmp_path, processes=4, count=40, blind=False)
    kinds = [op.kind for op in history]
    assert kinds.count("move") > 10
    assert kinds.count("read") > 10
    assert kinds.count("refusal") > 0  # else nothing was contended
    assert violations(1, history) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_alias_of_eight_processes_is_linearizable(tmp_path: Path) -> None:
    assert violations(1, record_history(tmp_path, processes=8, count=500, blind=False)) == []


def test_checker_catches_an_alias_without_compare(tmp_path: Path) -> None:
    history = record_history(tmp_path, processes=4, count=20, blind=True)
    assert any("claimed to compare" in found for found in violations(1, history))


def move(generation: int, expected: int, value: int, start: int, end: int) -> Operation:
    return Operation("move", start, end, value, expected, generation)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ([move(2, 1, 5, 10, 20), move(2, 1, 6, 11, 21)], "generation 2 follows 2"),
        ([move(2, 1, 5, 10, 20), move(4, 5, 6, 30, 40)], "generation 4 follows 2"),
        ([move(2, 1, 5, 10, 20), move(3, 1, 6, 30, 40)], "moved from 5, claimed to compare with 1"),
        ([move(2, 1, 5, 30, 40), move(3, 5, 6, 10, 20)], "ended before an earlier one began"),
        ([move(2, 1, 5, 10, 20), Operation("read", 30, 40, 1, 0, 1)], "read 1 of generation 1"),
        ([move(2, 1, 5, 10, 20), Operation("read", 1, 2, 5, 0, 2)], "read 5 of generation 2"),
        ([move(2, 1, 5, 10, 20), Operation("refusal", 30, 40, 1, 5)], "refused 5 because of 1"),
        ([Operation("refusal", 30, 40, 1, 1)], "refused 1 because of 1"),
    ],
)
def test_checker_catches(history: list[Operation], message: str) -> None:
    assert any(message in found for found in violations(1, history))


def test_checker_accepts_what_overlaps() -> None:
    history = [
        move(3, 5, 6, 10, 50),
        move(2, 1, 5, 12, 40),
        Operation("read", 11, 60, 1, 0, 1),
        Operation("read", 30, 35, 6, 0, 3),
        Operation("refusal", 45, 70, 6, 5),
    ]
    assert violations(1, history) == []


def test_many_threads_are_lent_one_folder(tmp_path: Path) -> None:
    with Registry.open(tmp_path / "registry") as registry:
        published = [registry.publish(folder, "a") for folder in folders(tmp_path, range(3))]
        with ThreadPoolExecutor(8) as pool:
            lent = list(pool.map(registry.folder, published * 8))
        assert lent == [registry.folder(version) for version in published] * 8
        assert registry.fsck().findings == ()
