"""Kill -9 and disk errors at the system calls of a publishing process.

strace delivers SIGKILL, or an error, at the k-th call of one kind. A kill lands
before the call takes effect, so that killing at every call visits every state
of the disk that a dying publisher can leave. What a power loss can leave is
more; it is covered by looking at the order of the calls in an undisturbed run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hub.registry import Registry
from hub.registry.testing import example_manifest, write_adapter_folder

STRACE = shutil.which("strace")
CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "mkdir", "rmdir", "unlink", "ftruncate",
    "fchmod",
)  # fmt: skip
DEFAULT_KILLS = 16

# Prints ACK only after publish has returned; leaves at once, so that nothing hides a failure.
PUBLISHER = """
import contextlib, os, sys
from hub.errors import HubError
from hub.registry import Registry
try:
    with Registry.open(sys.argv[1]) as registry:
        version = registry.publish(sys.argv[2], "a", aliases=["prod"])
        os.write(1, f"ACK {version.version}".encode())
except HubError as error:
    with contextlib.suppress(OSError):
        os.write(2, error.message.encode())
    os._exit(error.exit_code)
os._exit(0)
"""


def _strace_works() -> bool:
    if STRACE is None:
        return False
    probe = [STRACE, "-f", "-e", "trace=none", sys.executable, "-c", ""]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(
    not _strace_works(), reason="strace is not installed, or may not trace here"
)


@dataclass(frozen=True)
class Setting:
    """A registry to start from, and the adapter that a process shall publish into it."""

    template: Path
    folder: Path
    work: Path
    is_fresh: bool

    def copy(self) -> Path:
        root = self.work / "registry"
        shutil.rmtree(root, ignore_errors=True)
        if not self.is_fresh:
            shutil.copytree(self.template, root)
        return root


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("crash")


@pytest.fixture(scope="module")
def published(work: Path) -> Setting:
    """Start from a registry that holds a:1, lent once, with prod pointing at it."""
    template = work / "template"
    with Registry.open(template) as registry:
        first = write_adapter_folder(work / "first", example_manifest(seed=1))
        registry.folder(registry.publish(first, "a", aliases=["prod"]))
    second = write_adapter_folder(work / "second", example_manifest(seed=2))
    return Setting(template, second, work, is_fresh=False)


@pytest.fixture(scope="module")
def fresh(published: Setting) -> Setting:
    """Start from nothing."""
    return Setting(published.template, published.folder, published.work, is_fresh=True)


def publish_under_strace(
    setting: Setting, *options: str, log: Path | None = None
) -> subprocess.CompletedProcess[str]:
    assert STRACE is not None
    output = str(log or os.devnull)
    command = [STRACE, "-f", "-y", "-o", output, *options]
    command += [sys.executable, "-B", "-c", PUBLISHER]
    command += [str(setting.work / "registry"), str(setting.folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def undisturbed(setting: Setting) -> list[str]:
    """Return the trace of a publish that nothing disturbs, a call a line."""
    setting.copy()
    log = setting.work / "trace"
    done = publish_under_strace(setting, "-e", f"trace={','.join(CALLS)}", log=log)
    assert (done.returncode, done.stdout[:3]) == (0, "ACK"), done.stderr
    return [line for line in log.read_text().splitlines() if re.match(r"\d+ +\w+\(", line)]


def call_of(line: str) -> str:
    return line.split(maxsplit=1)[1].split("(", 1)[0]


def kill_points(setting: Setting) -> list[tuple[str, int]]:
    """Return every (call, k) of an undisturbed run, in the order of the run."""
    seen: Counter[str] = Counter()
    points = []
    for call in map(call_of, undisturbed(setting)):
        seen[call] += 1
        points.append((call, seen[call]))
    return points


def spread(points: Sequence[tuple[str, int]], wanted: int) -> list[tuple[str, int]]:
    """Choose evenly, and at least one of each call."""
    step = max(1, len(points) // wanted)
    chosen = points[step // 2 :: step][:wanted]
    for call in {call for call, _ in points} - {call for call, _ in chosen}:
        chosen.append(next(point for point in reversed(points) if point[0] == call))
    return chosen


def check_after_death(setting: Setting, root: Path, acknowledged: bool) -> bool:
    """Assert every promise on what a dead publisher left; return whether its version is there."""
    before = [] if setting.is_fresh else [1]
    new = len(before) + 1
    with Registry.open(root) as registry:
        found = [version.version for version in registry.versions()]
        is_there = found == [*before, new]
        assert is_there or (found == before and not acknowledged)
        for version in registry.versions():
            lent = registry.folder(version)
            assert set(os.listdir(lent)) == set(version.files)
        if found:
            newest = found[-1]
            aliases = {alias: state.version for alias, state in registry.aliases("a").items()}
            assert aliases == {"latest": newest, "prod": newest}
        assert registry.fsck().exit_code == 0
        assert registry.publish(setting.folder, "a", aliases=["prod"]).version == new
        registry.fsck(repair=True)
        assert registry.fsck().findings == ()
    return is_there


def sweep_kills(setting: Setting, points: Sequence[tuple[str, int]]) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for call, k in points:
        root = setting.copy()
        done = publish_under_strace(
            setting, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={k}"
        )
        acknowledged = done.stdout.startswith("ACK")
        outcomes["killed"] += done.returncode in (-9, 137)
        outcomes["acknowledged"] += acknowledged
        outcomes["there"] += check_after_death(setting, root, acknowledged)
    return outcomes


def test_kill_at_some_calls_of_publish(published: Setting) -> None:
    points = kill_points(published)
    chosen = spread(points, DEFAULT_KILLS)
    outcomes = sweep_kills(published, chosen)
    assert outcomes["killed"] == len(chosen)
    assert 0 < outcomes["there"] < len(chosen)  # the sweep reached both sides of the commit


def test_kill_at_the_commit(published: Setting) -> None:
    """The calls around the commit's sync, where absent turns into present."""
    calls = kill_points(published)
    acknowledgement = next(i for i, line in enumerate(undisturbed(published)) if '"ACK' in line)
    commit = max(i for i, (call, _) in enumerate(calls[:acknowledgement]) if call == "fdatasync")
    outcomes = sweep_kills(published, calls[commit - 1 : commit + 3])
    assert outcomes["killed"] == 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_at_every_call_of_publish(published: Setting) -> None:
    points = kill_points(published)
    outcomes = sweep_kills(published, points)
    assert outcomes["killed"] == len(points)
    assert 0 < outcomes["acknowledged"] <= outcomes["there"] < len(points)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kill_at_every_call_of_the_first_publish(fresh: Setting) -> None:
    """The one that makes folders, catalog and schema."""
    points = kill_points(fresh)
    outcomes = sweep_kills(fresh, points)
    assert outcomes["killed"] == len(points)
    assert 0 < outcomes["acknowledged"] <= outcomes["there"] < len(points)


def sweep_errors(setting: Setting, error: str, points: Sequence[tuple[str, int]]) -> Counter[int]:
    """Let calls fail; an error that is told must have changed nothing that was there."""
    codes: Counter[int] = Counter()
    for call, k in points:
        root = setting.copy()
        done = publish_under_strace(
            setting, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={k}+"
        )
        codes[done.returncode] += 1
        assert "Traceback" not in done.stderr, (call, k, done.stderr)
        if root.exists():
            assert done.returncode or done.stdout.startswith("ACK") or call == "write"
            check_after_death(setting, root, done.stdout.startswith("ACK"))
    return codes


def error_points(setting: Setting, calls: Sequence[str]) -> list[tuple[str, int]]:
    """Return the (call, k) of the publish itself, up to its acknowledgement."""
    seen: Counter[str] = Counter()
    points = []
    for line in undisturbed(setting):
        if '"ACK' in line:
            break
        call = call_of(line)
        seen[call] += 1
        if call in calls:
            points.append((call, seen[call]))
    return points


def test_disk_full_at_some_calls_of_publish(published: Setting) -> None:
    points = error_points(published, ("write", "pwrite64", "mkdir", "rename"))
    codes = sweep_errors(published, "ENOSPC", spread(points, 8))
    assert set(codes) <= {0, 74}
    assert codes[74] >= 6


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_disk_full_at_every_call_of_publish(published: Setting) -> None:
    points = error_points(published, ("write", "pwrite64", "mkdir", "rename", "fsync", "fdatasync"))
    codes = sweep_errors(published, "ENOSPC", points)
    assert set(codes) <= {0, 74, 77}
    assert codes[74] > len(points) // 2


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_io_error_at_every_sync_of_publish(published: Setting) -> None:
    """A failed sync is final: it is told, never tried again and called done."""
    points = error_points(published, ("fsync", "fdatasync"))
    codes = sweep_errors(published, "EIO", points)
    assert codes == {77: len(points)}


def test_order_of_writes_survives_a_power_loss(published: Setting) -> None:
    """Bytes, then name, then the names' folder, then the commit: each synced before the next."""
    lines = undisturbed(published)
    root = str(published.work / "registry")
    commit = first(lines, rf"pwrite64\(\d+<{root}/catalog\.sqlite3-wal>")
    renames = [i for i, line in enumerate(lines) if re.search(rf'rename\("{root}/tmp/', line)]
    assert len(renames) == 2  # weights and manifest; config and card are there already

    for i in renames:
        (staged,) = re.findall(r'rename\("([^"]+)"', lines[i])
        written = last(lines[:i], rf"write\(\d+<{staged}>")
        synced = first(lines, rf"fsync\(\d+<{staged}>")
        assert written < synced < i
    named = first(lines[renames[-1] :], rf"fsync\(\d+<{root}/blobs>") + renames[-1]
    assert named < commit

    acknowledged = first(lines, 'write.*"ACK')
    last_frame = last(lines[:acknowledged], rf"pwrite64\(\d+<{root}/catalog\.sqlite3-wal>")
    committed = last(lines[:acknowledged], rf"fdatasync\(\d+<{root}/catalog\.sqlite3-wal>")
    assert commit <= last_frame < committed < acknowledged


def first(lines: Sequence[str], pattern: str) -> int:
    return next(i for i, line in enumerate(lines) if re.search(pattern, line))


def last(lines: Sequence[str], pattern: str) -> int:
    return max(i for i, line in enumerate(lines) if re.search(pattern, line))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte, where the tests may."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_publish_on_a_disk_that_is_really_full(small_disk: Path, published: Setting) -> None:
    root = small_disk / "registry"
    shutil.copytree(published.template, root)
    with Registry.open(root) as registry:
        version = registry.resolve("a")
        ballast = small_disk / "ballast"
        fill(ballast)

        done = publish_into(root, published.folder)
        assert done.returncode == 74, done.stderr
        assert "disk full, nothing published" in done.stderr
        assert os.listdir(root / "tmp") == []
        assert registry.versions() == [version]
        assert registry.resolve("a@prod") == version
        assert set(os.listdir(registry.folder(version))) == set(version.files)

        ballast.unlink()
        assert registry.publish(published.folder, "a").version == 2


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\1" * size):
                    pass
            except OSError:
                continue


def publish_into(root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", PUBLISHER, str(root), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
