"""The walls: who may import whom, and what a quick command may load."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import resource
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PACKAGES = ("hub", "training", "server")
HEAVY = {
    *("torch", "transformers", "peft", "accelerate", "ctranslate2", "bitsandbytes", "numpy"),
    *("grpc", "sqlalchemy", "babel", "sentencepiece", "sacrebleu", "fsspec", "rich"),
}
PURE = (
    "server.access.admission",
    "server.residency.spill_blocks",
    "server.batching.pacing",
    "server.residency.tables",
    "server.batching.scheduler",
)
HELP = "import sys; from hub import cli; cli.run(['--help']); print(*sys.modules, file=sys.stderr)"
CONTRACTS = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"


def modules_of(package: str) -> list[str]:
    found = importlib.import_module(package)
    return [package] + [m.name for m in pkgutil.walk_packages(found.__path__, f"{package}.")]


def test_import_contracts(repository: Path) -> None:
    """In a process of its own: the checker sets up logging anew, for everybody after it."""
    done = subprocess.run(
        [sys.executable, "-c", CONTRACTS], capture_output=True, text=True, cwd=repository
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_help_loads_nothing_heavy(repository: Path) -> None:
    """Look at what is loaded after the help of every installed command was made."""
    done = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, check=True, cwd=repository
    )
    assert "cannot be loaded" not in done.stderr
    loaded = set(done.stderr.split())
    assert {"hub.cli", "hub.commands", "training.commands", "server.commands"} <= loaded
    assert HEAVY & loaded == set()


def test_the_servers_policy_runs_without_torch(repository: Path) -> None:
    program = f"import sys, {', '.join(PURE)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=repository
    )
    loaded = set(done.stdout.split())
    assert set(PURE) <= loaded
    assert {"torch", "transformers", "peft", "grpc"} & loaded == set()


def test_help_is_quick(repository: Path) -> None:
    """Count processor time, which other work on the machine does not lengthen.

    `make bench` shows the time that a user waits.
    """

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "hub", "--help"], check=True, capture_output=True, cwd=repository
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_imports(package: str) -> None:
    names = modules_of(package)
    assert len(names) > 5
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)


def test_every_import_is_a_declared_dependency(repository: Path) -> None:
    """A package that only comes along with another one may go away with it."""
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    users = [line for extra in extras if extra != "dev" for line in extras[extra]]
    lines = [*project["dependencies"], *users]
    declared = {_plain(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines}
    makers = packages_distributions()
    undeclared = {
        name
        for name in set().union(*(_imports_of(repository / package) for package in PACKAGES))
        if name not in sys.stdlib_module_names | {*PACKAGES}
        and not {_plain(maker) for maker in [name, *makers.get(name, [])]} & declared
    }
    assert undeclared == set()


def _plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imports_of(folder: Path) -> set[str]:
    """Return the top-level names that the code imports, inside functions too."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found
