"""The kernels without Python: instruction sets that this machine lacks, emulated.

`native_c/check.c` compares every variant with plain C, bit for bit. AMX's tile instructions are
emulated from Intel's description of them; ARM runs in qemu. Nothing is installed here: what is
missing skips its part (`.ci/run` installs it).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = Path(__file__).with_name("native_c") / "check.c"
DIGEST = "a93721e7a45c0df7"
"""Of plain C's results: the same on every machine."""


def flags() -> list[str]:
    """Return the flags that the package is built with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (module,) = project["tool"]["setuptools"]["ext-modules"]
    return [*module["extra-compile-args"], "-I", str(ROOT / "hub" / "engine" / "native")]


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def build(compiler: str, option: str, folder: Path) -> str:
    program = str(folder / "check")
    run([compiler, *flags(), option, str(SOURCE), "-o", program, "-lm"])
    return program


def results(command: list[str]) -> dict[str, str]:
    return dict(line.split() for line in run(command).splitlines())


def tool(*names: str) -> str:
    for name in names:
        if shutil.which(name):
            return name
    pytest.skip(f"needs {' or '.join(names)}")


def test_all_variants_of_x86_give_the_same_bits(tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("needs an x86-64 machine")
    found = results([build(tool("gcc"), "-DEMULATE_NEW", tmp_path)])
    assert found["digest"] == DIGEST
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    expected = ["plain", "avx2"] if "avx2" in cpu else ["plain"]
    if "avx512_vnni" in cpu:
        expected += ["avxvnni", "avx512", "amx"]
    assert [name for name in found if "-" not in name and name != "digest"] == expected
    assert len({found[name] for name in expected}) == 1
    if "amx" in expected:
        assert int(found["tile-products"]) > int(found["tile-configurations"]) > 0


@pytest.fixture(scope="module")
def program_for_arm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(tool("aarch64-linux-gnu-gcc"), "-static", tmp_path_factory.mktemp("arm"))


@pytest.mark.parametrize(
    ("cpu", "variants"), [("max", ["plain", "neon"]), ("cortex-a53", ["plain"])]
)
def test_arm_gives_the_bits_of_x86(cpu: str, variants: list[str], program_for_arm: str) -> None:
    emulator = tool("qemu-aarch64-static", "qemu-aarch64")
    found = results([emulator, "-cpu", cpu, program_for_arm])
    assert [name for name in found if name != "digest"] == variants
    assert found["digest"] == DIGEST
