"""Loader threads are prepared before the first load, and compute on one core each."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue
from typing import Any

import pytest
import torch

from hub.errors import CorruptBlobError, EngineError
from server.core import LOADER_THREADS, quiet_loader
from server.residency.loader import Loaded, PoolLoader

WAIT = 10.0


def test_loads_report_from_threads_that_were_prepared() -> None:
    prepared: set[int] = set()
    loader: PoolLoader[Any] = PoolLoader(
        lambda digest: digest,  # type: ignore[arg-type, return-value]
        lambda version: threading.get_ident(),  # type: ignore[arg-type]
        threads=3,
        prepare=lambda: prepared.add(threading.get_ident()),
    )
    assert len(prepared) == 3
    reports: SimpleQueue[Loaded[Any]] = SimpleQueue()
    for digest in "abc":
        loader.start(digest, reports.put)
    found = [reports.get(timeout=WAIT) for _ in range(3)]
    assert {load.digest for load in found} == set("abc")
    assert {load.adapter for load in found} <= prepared
    loader.close()


def test_a_load_that_raises_reports_its_error() -> None:
    def read(version: Any) -> Any:
        raise CorruptBlobError("bytes differ")

    loader: PoolLoader[Any] = PoolLoader(lambda digest: digest, read, threads=1)  # type: ignore[arg-type, return-value]
    reports: SimpleQueue[Loaded[Any]] = SimpleQueue()
    loader.start("a", reports.put)
    load = reports.get(timeout=WAIT)
    assert load.adapter is None
    assert isinstance(load.error, CorruptBlobError)
    loader.close()


def test_loader_threads_compute_on_one_core_and_the_engine_keeps_all() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        loader = quiet_loader(lambda digest: digest, lambda version: torch.get_num_threads())  # type: ignore[arg-type, return-value]
        reports: SimpleQueue[Loaded[Any]] = SimpleQueue()
        for number in range(LOADER_THREADS):
            loader.start(str(number), reports.put)
        assert {reports.get(timeout=WAIT).adapter for _ in range(LOADER_THREADS)} == {1}
        assert torch.get_num_threads() == 3
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3], "threads to come would compute on one core"
        loader.close()
    finally:
        torch.set_num_threads(before)


def test_threads_that_cannot_be_prepared_are_an_error_with_its_cause() -> None:
    def prepare() -> None:
        raise ProcessLookupError("no such thread")

    with pytest.raises(EngineError, match=r"2 threads .* ProcessLookupError: no such thread"):
        PoolLoader(lambda digest: None, lambda version: None, 2, prepare)  # type: ignore[arg-type, return-value]


def test_threads_that_never_get_ready_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.residency.loader._START_SECONDS", 0.05)
    release = threading.Event()
    try:
        with pytest.raises(EngineError, match=r"not ready after 0\.05 s"):
            PoolLoader(lambda digest: None, lambda version: None, 2, release.wait)  # type: ignore[arg-type, return-value]
    finally:
        release.set()


@pytest.mark.parametrize("denied", [True, False])
def test_loaders_start_where_priorities_cannot_be_set(
    monkeypatch: pytest.MonkeyPatch, denied: bool
) -> None:
    asked: list[int] = []

    def refuse(*arguments: int) -> None:
        asked.append(threading.get_ident())
        raise PermissionError("not here")

    if denied:
        monkeypatch.setattr(os, "setpriority", refuse)
    else:
        monkeypatch.delattr(os, "setpriority")
    loader = quiet_loader(lambda digest: digest, lambda version: torch.get_num_threads())  # type: ignore[arg-type, return-value]
    assert len(set(asked)) == (LOADER_THREADS if denied else 0)
    reports: SimpleQueue[Loaded[Any]] = SimpleQueue()
    loader.start("a", reports.put)
    assert reports.get(timeout=WAIT).adapter == 1
    loader.close()
