"""What a run shows: a bar where somebody watches, plain lines elsewhere, results apart."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from hub import console
from training.loop.progress import Console, UpdateReport


@pytest.fixture(autouse=True)
def fresh_consoles() -> Iterator[None]:
    console.err.cache_clear()
    yield
    console.err.cache_clear()


def report(step: int, score: float | None) -> UpdateReport:
    return UpdateReport(step, 100, 2.345, 0.001, 1234.0, score)


def show() -> None:
    shown = Console()
    shown.stage("training lora for en-de")
    for step in range(41, 61):
        shown.updated(report(step, None if step <= 50 else 31.24))
        if step == 50:
            shown.evaluated(50, 31.24, best=True)
    shown.skipped(60, "house.tsv:7")
    shown.close()


def test_plain_lines_say_all_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def tick() -> float:
        nonlocal now
        now += 1.0
        return now

    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=tick))
    show()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:2] == ["training lora for en-de", "training …"]
    # The clock ticks once for the start and once an update: 5 updates from 40 on take 5 seconds.
    assert "training 45% loss 2.35  dev chrF++ –  1,234 tokens/s  0:00:55 left" in lines
    assert "update 50: dev chrF++ 31.24, the best so far" in lines
    assert "training 55% loss 2.35  dev chrF++ 31.2  1,234 tokens/s  0:00:45 left" in lines
    assert "update 60 left out: loss or gradient not finite on house.tsv:7" in lines


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    show()
    out, err = capsys.readouterr()
    assert out == ""
    assert "━" in err
    for word in ("60%", "loss 2.35", "dev chrF++ 31.2", "1,234 tokens/s", "the best so far"):
        assert word in err
