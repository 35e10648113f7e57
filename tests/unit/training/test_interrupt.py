"""Ctrl-C: the first asks, the second insists, and afterwards all is as before."""

from __future__ import annotations

import signal
import threading

import pytest

from training.loop.interrupt import stop_on_interrupt


def test_first_asks_second_insists(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_on_interrupt() as request:  # noqa: PT012
        assert not request.requested
        signal.raise_signal(signal.SIGINT)
        assert request.requested
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C again" in capsys.readouterr().err


def test_sigterm_asks_as_often_as_it_comes() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_interrupt() as request:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            assert request.requested
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_just_run() -> None:
    seen: list[bool] = []

    def work() -> None:
        with stop_on_interrupt() as request:
            seen.append(request.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
