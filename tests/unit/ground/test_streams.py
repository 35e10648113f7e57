"""Standard streams that cannot say everything, or are not there: nothing crashes.

Every case is a process of its own: encodings are chosen before Python runs a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

PROGRAM = """
import sys, typer
from hub import cli, console
from hub.errors import InputError
def register(app):
    @app.command(help="월요일 → Monday")
    def say():
        print("월요일 → \\udcff")
        console.print_table(["이름"], [["값 →"]])
        console.note("노트 →")
        with console.progress("진행", 2) as work:
            work.advance(2, "→")
    @app.command()
    def fail():
        raise InputError("값 '월요일' → 0")
    @app.command()
    def echo():
        typer.echo("메아리 →")
class Entry:
    name = value = "e"
    load = staticmethod(lambda: register)
cli.entry_points = lambda group: [Entry]
cli.main()
"""
NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
POOR = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "C locale": {"LC_ALL": "C", "LANG": "C", **NO_UTF8},
    "POSIX locale": {"LC_ALL": "POSIX", **NO_UTF8},
}


Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("program") / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


@pytest.fixture
def run(program: Path) -> Run:
    return partial(run_program, program)


def run_program(
    program: Path, *words: str, shell: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the program, with redirections as a shell does them."""
    command = [sys.executable, str(program), *words]
    if shell:
        command = ["sh", "-c", f'"$@" {shell}', "sh", *command]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONIO"))}
    return subprocess.run(
        command, env=kept | environment, capture_output=True, timeout=60, check=False
    )


@pytest.mark.parametrize("environment", POOR.values(), ids=POOR)
def test_results_are_utf8_and_messages_are_escaped(run: Run, environment: dict[str, str]) -> None:
    done = run("say", **environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert done.stdout.decode() == "월요일 → \\udcff\n이름\n값 →\n"
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 3
    assert lines[0].encode().decode("unicode_escape") == "노트 →"


@pytest.mark.parametrize("kind", ["strict ascii", "C locale"])
def test_errors_and_help_keep_their_exit_codes(run: Run, kind: str) -> None:
    environment = POOR[kind]
    failed = run("fail", **environment)
    assert (failed.returncode, failed.stdout) == (64, b"")
    message = failed.stderr.decode("ascii", "replace").encode().decode("unicode_escape")
    assert message == "error: 값 '월요일' → 0\n"
    assert run("echo", **environment).stdout.decode() == "메아리 →\n"
    shown = run("say", "--help", **environment)
    assert shown.returncode == 0
    assert "월요일 → Monday" in shown.stdout.decode()
    wrong = run("한국", **environment)
    assert wrong.returncode == 2
    assert b"No such command" in wrong.stderr


def test_a_utf8_locale_shows_messages_as_they_are(run: Run) -> None:
    done = run("fail", PYTHONUTF8="1")
    assert done.stderr.decode() == "error: 값 '월요일' → 0\n"


@pytest.mark.parametrize("shell", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_error(run: Run, shell: str) -> None:
    done = run("say", shell=shell, PYTHONUTF8="1")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    if ">&-" not in shell.split():
        assert "월요일" in done.stdout.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["echo"], ["say"], ["--help"]])
def test_a_full_disk_behind_standard_output_is_named(run: Run, words: list[str]) -> None:
    done = run(*words, shell=">/dev/full")
    assert done.returncode == 74
    assert done.stderr.splitlines()[-1].startswith(b"error: cannot write: No space left on device")
    assert b"bug" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_name_that_the_locale_cannot_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "hub",
        "adapters",
        "list",
        "--registry",
        f"{tmp_path}/레지스트리",
    ]
    environment = os.environ | POOR["C locale"]
    done = subprocess.run(words, env=environment, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (64, b"")
    assert done.stderr.endswith(b"set LC_ALL=C.UTF-8, or use another name\n")
    fixed = environment | {"LC_ALL": "C.UTF-8"}
    done = subprocess.run(words, env=fixed, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0


def test_the_hubs_own_tables_in_a_c_locale() -> None:
    """A real command whose output is Korean, in both of its forms."""
    words = [sys.executable, "-m", "hub", "corpus", "sample", "--pair", "en-ko", "--lines", "3"]
    environment = os.environ | POOR["C locale"]
    plain = subprocess.run(words, env=environment, capture_output=True, timeout=120, check=False)
    assert (plain.returncode, plain.stderr) == (0, b"")
    records = subprocess.run(
        [*words, "--json"], env=environment, capture_output=True, timeout=120, check=False
    )
    texts = [json.loads(line)["target"] for line in records.stdout.decode().splitlines()]
    assert any("\uac00" <= character <= "\ud7a3" for text in texts for character in text)
    assert [line.split("\t")[2] for line in plain.stdout.decode().splitlines()[1:]] == texts
