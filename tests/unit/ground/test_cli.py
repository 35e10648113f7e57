"""The command line: exit codes, one-line errors, broken plugins, quick start."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import pytest
import typer

from hub import __version__, cli
from hub.errors import AdapterNotFoundError, BudgetError, PortInUseError


def register(app: typer.Typer) -> None:
    """Mount commands that end in every way a command can end."""

    @app.command()
    def fine() -> None:
        typer.echo("done")

    @app.command()
    def missing() -> None:
        raise AdapterNotFoundError("adapter 'x' does not exist; `hub adapters list` shows all")

    @app.command()
    def small() -> None:
        raise BudgetError("budget 0 is not above 0; give 0.01")

    @app.command()
    def taken() -> None:
        raise PortInUseError("port 1 is in use; choose another with --port")

    @app.command()
    def bug() -> None:
        raise ZeroDivisionError("oh no")

    @app.command()
    def stop() -> None:
        raise KeyboardInterrupt

    @app.command()
    def pipe() -> None:
        raise BrokenPipeError

    @app.command()
    def leave() -> None:
        raise typer.Exit(3)


def half_broken(app: typer.Typer) -> None:
    """Fail while mounting."""
    raise RuntimeError("half installed")


def entry(name: str, function: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{function}", cli.COMMAND_GROUP)


GOOD = entry("good", "register")


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Let the command line see these entry points only; tests may add to the list."""
    found = [GOOD]
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.setattr(cli, "entry_points", lambda group: found)
    return found


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("missing", 66, "error: adapter 'x' does not exist; `hub adapters list` shows all\n"),
        ("small", 64, "error: budget 0 is not above 0; give 0.01\n"),
        ("taken", 71, "error: port 1 is in use; choose another with --port\n"),
        ("stop", 130, "error: interrupted\n"),
        ("leave", 3, ""),
        (
            "bug",
            70,
            "error: unexpected ZeroDivisionError: oh no; this is a bug, "
            "run with HUB_DEBUG=1 for the traceback\n",
        ),
    ],
)
def test_a_command_that_fails(
    command: str, code: int, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([command]) == code
    assert capfd.readouterr() == ("", line)


def test_a_command_that_succeeds(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["fine"]) == 0
    assert capfd.readouterr() == ("done\n", "")


@pytest.mark.parametrize(("command", "code"), [("bug", 70), ("small", 64)])
def test_the_traceback_is_shown_on_request_and_the_exit_code_stays(
    command: str, code: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_DEBUG", "1")
    assert cli.run([command]) == code
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["nope"], ["fine", "--nope"], ["fine", "surplus"], []])
def test_wrong_usage_exits_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(arguments) == 2
    assert "Usage" in "".join(capfd.readouterr())


@pytest.mark.parametrize("broken", ["half_broken", "no_such_function"])
def test_a_broken_plugin_is_named_and_the_others_stay(
    broken: str, plugins: list[EntryPoint], capfd: pytest.CaptureFixture[str]
) -> None:
    plugins.insert(0, entry("broken", broken))
    assert cli.run(["fine"]) == 0
    out, err = capfd.readouterr()
    assert out == "done\n"
    assert err.startswith("error: the commands of 'broken' (")
    assert err.count("\n") == 1
    assert cli.run(["--help"]) == 0


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out == f"hub {__version__}\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    """Write more than a pipe holds, and stop reading after one byte."""
    program = (
        "import sys, typer; from hub import cli\n"
        "def register(app):\n"
        "    @app.command()\n"
        "    def much(): [print('x' * 1000) for _ in range(1000)]\n"
        "class Entry:\n"
        "    name = value = 'e'\n"
        "    load = staticmethod(lambda: register)\n"
        "cli.entry_points = lambda group: [Entry]\n"
        "sys.exit(cli.run(['much']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == cli.EXIT_PIPE


def test_the_installed_command_knows_its_entry_points() -> None:
    mounted = {e.name: e.value for e in entry_points(group=cli.COMMAND_GROUP)}
    assert mounted == {
        "hub": "hub.commands:register",
        "training": "training.commands:register",
        "server": "server.commands:register",
    }
