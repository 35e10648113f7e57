"""What commands print where nobody watches: plain lines, on the right stream."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hub import console


@pytest.fixture(autouse=True)
def fresh_consoles() -> Iterator[None]:
    """Build the consoles anew, on the streams that pytest captures."""
    for build in (console.out, console.err):
        build.cache_clear()
    yield
    for build in (console.out, console.err):
        build.cache_clear()


def test_errors_go_to_standard_error_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    long = "value [bold]3[/] is above 2; " * 20
    console.print_error(long)
    assert capsys.readouterr() == ("", f"error: {long}\n")


def test_what_cannot_be_printed_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.printable("a\0b\ud800c\x1b[31m 한국") == "a\\x00b\\ud800c\\x1b[31m 한국"
    console.print_error("text \ud800")
    assert capsys.readouterr().err == "error: text \\ud800\n"


def test_a_table_is_tab_separated_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(["name", ">bytes"], [["a\tb\nc", "1"], ["[red]", "22"]], title="T")
    assert capsys.readouterr().out == "name\tbytes\na b c\t1\n[red]\t22\n"


def test_a_table_is_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console.print_table(["name", ">bytes"], [["[red]", "22"]], title="T")
    drawn = capsys.readouterr().out
    assert "[red]" in drawn
    assert "┃" in drawn
    # NO_COLOR is set for all tests: bold and italics are allowed, colours are not.
    assert not re.search(r"\x1b\[(3|4|9|10)\d", drawn)


def test_progress_is_plain_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress("training", total=10) as work:
        for step in range(10):
            now += 2.0
            work.advance(status=f"loss {step}")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training …",
        "training 30% loss 2  0:00:14 left",
        "training 60% loss 5  0:00:08 left",
        "training 90% loss 8  0:00:02 left",
        "training 100% loss 9",
    ]


def test_what_was_done_before_says_nothing_of_the_speed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with console.progress("training", 1000, 900) as work:
        now += 10.0
        work.update(902)  # 5 seconds each
    assert "training 90%  0:08:10 left" in capsys.readouterr().err.splitlines()
    assert console.duration(3725.4) == "1:02:05"


def test_progress_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("reading") as work:
        work.update(5, "5 files")
        work.advance(2)
        assert work.done == 7
    assert capsys.readouterr().err.splitlines() == ["reading …", "reading 5 files"]


def test_progress_bar_on_a_terminal_shows_status_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("training", total=2) as work:
        work.advance(2, "[bold] 3.5")
    err = capsys.readouterr().err
    assert "[bold] 3.5" in err
    assert "100%" in err
