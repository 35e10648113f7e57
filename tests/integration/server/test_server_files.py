"""`hub translate` of files, folders and long input against a real server."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polib
import pytest
from markdown_it import MarkdownIt

from hub import cli, console
from hub.bulk.journal import journal_path
from hub.client import Decoding

SHORT = Decoding(max_output_tokens=8)


@pytest.fixture(scope="module")
def small(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A server whose queue is smaller than what is sent to it at once."""
    yield from open_house(max_contents=16, queue=40)


@pytest.fixture
def hub(
    small: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    for build in (console.out, console.err):
        build.cache_clear()
    monkeypatch.chdir(tmp_path)

    def run(*words: str, stdin: bytes = b"", pair: str = "en-ko") -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        options = ["--server", small.target, "--pair", pair, "--max-output-tokens", "8"]
        code = cli.run(["translate", *options, *words])
        out, err = capfd.readouterr()
        return code, out.split("\n")[:-1], err

    yield run
    for build in (console.out, console.err):
        build.cache_clear()


def single(house: Any, text: str) -> str:
    found: str = house.client.translate([text], "en", "ko", decoding=SHORT).texts[0]
    return found


def test_many_lines_keep_their_order_while_the_queue_is_full(hub: Any, small: Any) -> None:
    words = ["Monday", "euro", "Seoul", "five km"]
    lines = [f"{words[n % 4]} {n % 3}" for n in range(140)]
    code, out, err = hub("--calls", "4", stdin="\n".join(lines).encode())
    assert code == 0, err
    distinct = sorted(set(lines))
    reply = small.client.translate(distinct, "en", "ko", decoding=SHORT)
    expected = dict(zip(distinct, reply.texts, strict=True))
    assert len(set(expected.values())) > 6
    assert out == [expected[line] for line in lines]


def test_a_folder_is_translated_with_its_structure(hub: Any, small: Any, tmp_path: Path) -> None:
    source = tmp_path / "docs"
    (source / "deep").mkdir(parents=True)
    (source / "a.md").write_text("# Monday *euro*\n\n- Seoul\n")
    (source / "deep" / "b.json").write_text('{"k": ["Monday", 3]}')
    (source / "c.po").write_text('msgid "euro"\nmsgstr ""\n')
    (source / "d.html").write_text('<p class="x">Monday</p>')
    (source / "e.bin").write_bytes(b"\0")
    code, out, err = hub("--file", "docs", "--output", "out")
    assert code == 0, err
    assert sorted(out) == ["out/a.md", "out/c.po", "out/d.html", "out/deep/b.json"]
    made = tmp_path / "out"
    html = MarkdownIt().render((made / "a.md").read_text())
    assert html.startswith("<h1>")
    assert html.count("<em>") == 1
    assert f"<li>{single(small, 'Seoul')}</li>" in html
    assert json.loads((made / "deep" / "b.json").read_text()) == {"k": [single(small, "Monday"), 3]}
    assert polib.pofile(str(made / "c.po"))[0].msgstr == single(small, "euro")
    assert (made / "d.html").read_text() == f'<p class="x">{single(small, "Monday")}</p>'
    assert "1 files are of no known format" in err


def test_what_fails_in_a_file_is_told_with_its_place(hub: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Monday\na\x00b\n")
    (tmp_path / "b.json").write_text("{")
    code, out, err = hub("--json", "-f", "a.txt", "-f", "b.json")
    records = {record["source"]: record for record in map(json.loads, out)}
    assert code == 65  # of b.json, which fails before any text is answered
    assert records["a.txt"]["output"] == "a.ko.txt"
    assert records["a.txt"]["failed"] == [{"place": "line 2", "reason": "INVALID_TEXT"}]
    assert records["b.json"]["output"] is None
    assert "a.txt: line 2: text has control character U+0000" in err
    assert "b.json: it is not JSON" in err
    assert (tmp_path / "a.ko.txt").read_text().endswith("\na\x00b\n")


def test_an_interrupt_ends_it_while_it_waits_for_input(small: Any) -> None:
    words = [sys.executable, "-m", "hub", "translate", "--server", small.target]
    pipe = subprocess.PIPE
    words += ["--pair", "en-ko", "--max-output-tokens", "4"]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"Monday\n" * 70)
        process.stdin.flush()
        assert all(process.stdout.readline() for _ in range(64))  # a whole call
        process.send_signal(signal.SIGINT)
        told = process.stderr.read().decode()  # input is still open
        assert process.wait(60) == 130
    assert "interrupted" in told
    assert "Fatal" not in told
    assert "Traceback" not in told


def test_fill_and_resume(hub: Any, small: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.po"
    file.write_text('msgid "done"\nmsgstr "x"\n\nmsgid "euro"\nmsgstr ""\n')
    code, out, _ = hub("-f", "a.po", "--fill", "--resume")
    assert (code, out) == (0, ["a.po"])
    entries = polib.pofile(str(file))
    assert [entry.msgstr for entry in entries] == ["x", single(small, "euro")]
    assert not journal_path(file).exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["Monday", "-f", "a.txt"], "in two runs"),
        (["--fill", "Monday"], "are for files"),
        (["-f", "none.txt"], "does not exist"),
        (["-f", "a.exe"], "no known format"),
        (["-f", "a.txt", "-o", "."], "overwritten by its translation"),
        (["-f", "a.txt", "--encoding", "klingon"], "'klingon' is not known"),
    ],
)
def test_wrong_use_is_one_line(hub: Any, tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "a.txt").write_text("Monday\n")
    (tmp_path / "a.exe").write_text("Monday\n")
    code, _, err = hub(*words)
    assert code in (64, 65)
    assert told in err
    assert "bug" not in err
