"""The cache of resolved refs, and the watcher that empties it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from hub.errors import AdapterNotFoundError, RegistryBusyError
from hub.registry import Registry
from hub.registry.testing import example_manifest, write_adapter_folder
from server.translation.resolution import ResolveCache
from server.translation.watching import RegistryWatcher

WITHIN = 30.0
"""Seconds to wait for a change; on a machine that does nothing else it is seen within two."""


class Answers:
    """Stands for a registry: what each ref means, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.meanings: dict[str, str] = {"a": "one", "b": "two", "c": "three"}

    def resolve(self, ref: str) -> str:
        self.asked[ref] += 1
        if ref not in self.meanings:
            raise AdapterNotFoundError(f"no adapter is named {ref!r}")
        return self.meanings[ref]


@pytest.fixture
def answers() -> Answers:
    return Answers()


def cache_of(answers: Answers, limit: int = 10) -> ResolveCache:
    return ResolveCache(answers.resolve, limit)  # type: ignore[arg-type]


def test_a_ref_is_read_once_until_something_changes(answers: Answers) -> None:
    cache = cache_of(answers)
    assert [cache.resolve("a") for _ in range(5)] == ["one"] * 5
    assert answers.asked["a"] == 1
    answers.meanings["a"] = "another"
    assert cache.resolve("a") == "one"
    cache.invalidate()
    assert cache.resolve("a") == "another"


def test_it_knows_what_it_has_kept_and_does_not_ask(answers: Answers) -> None:
    cache = ResolveCache(answers.resolve)  # type: ignore[arg-type]
    assert not cache.knows("a")
    cache.resolve("a")
    assert cache.knows("a")
    cache.invalidate()
    assert not cache.knows("a")
    assert answers.asked == {"a": 1}


def test_what_is_not_there_is_asked_for_again(answers: Answers) -> None:
    cache = cache_of(answers)
    for _ in range(2):
        with pytest.raises(AdapterNotFoundError):
            cache.resolve("new")
    answers.meanings["new"] = "four"
    assert cache.resolve("new") == "four"


def test_the_least_recently_used_make_room(answers: Answers) -> None:
    cache = cache_of(answers, limit=2)
    for ref in ("a", "b", "a", "c"):
        cache.resolve(ref)
    assert len(cache) == 2
    cache.resolve("a")
    assert answers.asked["a"] == 1
    cache.resolve("b")
    assert answers.asked["b"] == 2


def test_an_answer_from_before_a_change_is_not_kept(answers: Answers) -> None:
    reading, changed = threading.Event(), threading.Event()

    def slow(ref: str) -> str:
        meaning = answers.resolve(ref)
        reading.set()
        assert changed.wait(10)
        return meaning

    cache = ResolveCache(slow)  # type: ignore[arg-type]
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(cache.resolve("a")))
    thread.start()
    assert reading.wait(10)
    answers.meanings["a"] = "another"
    cache.invalidate()
    changed.set()
    thread.join()
    assert found == ["one"]  # what it meant when it was asked
    assert cache.resolve("a") == "another"


def test_those_who_depend_on_it_are_told(answers: Answers) -> None:
    cache = cache_of(answers)
    told: list[int] = []
    cache.changed.append(lambda: told.append(len(cache)))
    cache.resolve("a")
    cache.invalidate()
    assert told == [0]  # after the cache was emptied


def test_one_that_cannot_take_a_change_in_keeps_it_from_nobody(answers: Answers) -> None:
    cache = cache_of(answers)
    told: list[str] = []

    def busy() -> None:
        told.append("first")
        raise RegistryBusyError("busy")

    cache.changed += [busy, lambda: told.append("second")]
    with pytest.raises(RegistryBusyError):
        cache.invalidate()
    assert told == ["first", "second"]


@pytest.fixture
def adapter_folder(tmp_path: Path) -> Path:
    return write_adapter_folder(tmp_path / "adapter", example_manifest())


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "registry", busy_seconds=0.2) as opened:
        yield opened


def test_every_commit_of_others_is_noticed_and_a_read_is_not(
    registry: Registry, adapter_folder: Path
) -> None:
    changes = registry.changes()
    assert not changes.moved()
    registry.names()
    assert not changes.moved()
    registry.publish(adapter_folder, "one")
    assert changes.moved()
    assert not changes.moved()
    with Registry.open(registry.root) as other:
        other.set_alias("one", "prod", 1, None)
    assert changes.moved()
    changes.close()


def test_every_commit_is_noticed_in_a_database_that_counts_none(
    registry: Registry, adapter_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PostgreSQL is asked is valid SQL in SQLite, too."""
    monkeypatch.setattr(registry._database._engine.dialect, "name", "another")
    changes = registry.changes()
    assert not changes.moved()
    with Registry.open(registry.root) as other:
        other.publish(adapter_folder, "one")
        assert changes.moved()
        other.set_alias("one", "prod", 1, None)
        assert changes.moved()
    assert not changes.moved()
    changes.close()


def test_the_watcher_tells_of_a_moved_alias(registry: Registry, adapter_folder: Path) -> None:
    registry.publish(adapter_folder, "one")
    told = threading.Event()
    watcher = RegistryWatcher(registry, told.set)
    watcher.start()
    try:
        assert not told.wait(0.7)
        registry.set_alias("one", "prod", 1, None)
        assert told.wait(WITHIN)
    finally:
        watcher.close()


def test_requests_do_not_read_the_registry(registry: Registry, adapter_folder: Path) -> None:
    registry.publish(adapter_folder, "one")
    cache = ResolveCache(registry.resolve)
    statements: list[str] = []
    engine = registry._database._engine
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    cache.resolve("one")
    first = len(statements)
    assert first > 0
    for _ in range(100):
        cache.resolve("one")
    assert len(statements) == first


def test_a_watcher_that_cannot_look_says_so_once_and_trusts_nothing(
    registry: Registry, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    watcher = RegistryWatcher(registry, lambda: told.append(1))

    def refuse() -> bool:
        raise RegistryBusyError("another process holds the catalog")

    monkeypatch.setattr(watcher._changes, "moved", refuse)
    watcher.look()
    watcher.look()
    assert told == [1, 1]
    assert [r.message for r in caplog.records].count(caplog.records[0].message) == 1
    assert "another process holds the catalog" in caplog.text
    monkeypatch.undo()
    watcher.look()
    assert told == [1, 1]
    watcher.close()


def test_a_change_that_was_not_taken_in_is_told_again(
    registry: Registry, adapter_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[bool] = []
    busy = True

    def take_in() -> None:
        tries.append(busy)
        if busy:
            raise RegistryBusyError("another process holds the catalog")

    watcher = RegistryWatcher(registry, take_in)
    registry.publish(adapter_folder, "one")
    for _ in range(200):
        watcher.look()
    assert len(tries) == 11  # at looks 1, 2, 4, 8, 16, 32, 64 and each 32 from there on
    assert caplog.text.count("another process holds the catalog") == 1
    busy = False
    for _ in range(200):
        watcher.look()
    assert tries[11:] == [False]
    watcher.close()


def test_who_cannot_take_a_change_in_keeps_it_from_nobody(answers: Answers) -> None:
    told: list[str] = []

    def fail() -> None:
        raise RegistryBusyError("another process holds the catalog")

    cache = ResolveCache(answers.resolve)  # type: ignore[arg-type]
    cache.changed += [fail, lambda: told.append("routes")]
    with pytest.raises(RegistryBusyError):
        cache.invalidate()
    assert told == ["routes"]
