from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import (
    AdapterNotFoundError,
    AliasMovedError,
    CanaryEndedError,
    CanaryRunningError,
    InputError,
    PairMismatchError,
    WrongBaseError,
)
from hub.registry import Note, Registry
from hub.registry.registry import CATALOG_FILE
from hub.registry.testing import example_manifest, write_adapter_folder

Adapter = Callable[..., Path]


@pytest.fixture
def stocked(registry: Registry, adapter: Adapter) -> Registry:
    """A name with three versions, `prod` at the first."""
    for seed in (1, 2, 3):
        registry.publish(adapter(seed), "shop")
    registry.set_alias("shop", "prod", 1, None)
    return registry


def test_a_canary_leaves_the_alias_where_it_is(stocked: Registry) -> None:
    canary = stocked.canaries.start("shop", "prod", 2, 0.1, promote_after=500)
    assert stocked.resolve("shop@prod").version == 1
    assert stocked.canaries.running() == [canary]
    assert (canary.stable, canary.canary, canary.fraction) == (1, 2, 0.1)
    assert (canary.promote_after, canary.status, canary.ref) == (500, "running", "shop@prod")


def test_promotion_moves_the_alias_and_ends_the_canary(stocked: Registry) -> None:
    canary = stocked.canaries.start("shop", "prod", 2, 0.1)
    ended = stocked.canaries.end(canary.id, "promoted", Note("ann", "it is better"))
    assert stocked.resolve("shop@prod").version == 2
    assert (ended.status, ended.reason) == ("promoted", "it is better")
    assert stocked.canaries.running() == []


@pytest.mark.parametrize("outcome", ["rolled_back", "cancelled"])
def test_every_other_end_leaves_the_alias(stocked: Registry, outcome: str) -> None:
    canary = stocked.canaries.start("shop", "prod", 2, 0.1)
    before = stocked.aliases("shop")["prod"]
    assert stocked.canaries.end(canary.id, outcome).status == outcome
    assert stocked.aliases("shop")["prod"] == before


def test_of_two_servers_that_end_a_canary_one_wins(root: Path, stocked: Registry) -> None:
    canary = stocked.canaries.start("shop", "prod", 2, 0.1)
    with Registry.open(root) as other:
        other.canaries.end(canary.id, "rolled_back")
        with pytest.raises(CanaryEndedError, match="does not run"):
            stocked.canaries.end(canary.id, "promoted")
    assert stocked.resolve("shop@prod").version == 1
    assert stocked.canaries.all()[0].status == "rolled_back"


def test_moving_the_alias_ends_its_canary(stocked: Registry, adapter: Adapter) -> None:
    stocked.canaries.start("shop", "prod", 2, 0.1)
    stocked.set_alias("shop", "prod", 3, 1)
    assert [one.status for one in stocked.canaries.all()] == ["superseded"]
    stocked.canaries.start("shop", "prod", 2, 0.1)
    stocked.publish(adapter(4), "shop", aliases=["prod"])
    assert [one.status for one in stocked.canaries.all()] == ["superseded", "superseded"]
    assert stocked.canaries.all()[1].reason == "the alias was moved to 4"


def test_moving_another_alias_does_not(stocked: Registry, adapter: Adapter) -> None:
    stocked.canaries.start("shop", "prod", 2, 0.1)
    stocked.set_alias("shop", "next", 3, None)
    stocked.publish(adapter(4), "shop")  # moves `latest`
    assert len(stocked.canaries.running()) == 1


def test_what_cannot_be_tried_is_refused(stocked: Registry, adapter: Adapter) -> None:
    start = stocked.canaries.start
    for fraction in (0.0, 0.0009, 0.91, 1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match=r"choose 0\.1 % to 90 %"):
            start("shop", "prod", 2, fraction)
    with pytest.raises(InputError, match="promote_after -1"):
        start("shop", "prod", 2, 0.1, promote_after=-1)
    with pytest.raises(InputError, match="points at version 1 already"):
        start("shop", "prod", 1, 0.1)
    with pytest.raises(AdapterNotFoundError, match="no version 9"):
        start("shop", "prod", 9, 0.1)
    with pytest.raises(AdapterNotFoundError, match="no alias 'nightly'"):
        start("shop", "nightly", 2, 0.1)
    with pytest.raises(AliasMovedError, match="points at version 1"):
        start("shop", "prod", 2, 0.1, expected=3)
    start("shop", "prod", 2, 0.1)
    with pytest.raises(CanaryRunningError, match="canary of version 2"):
        start("shop", "prod", 3, 0.1)


def test_only_versions_for_the_same_pair_and_base_are_compared(
    stocked: Registry, adapter: Adapter, tmp_path: Path
) -> None:
    stocked.publish(adapter(5, pair="en-de"), "shop")
    with pytest.raises(PairMismatchError, match="translates en-de"):
        stocked.canaries.start("shop", "prod", 4, 0.1)
    manifest = example_manifest(seed=6, base_digest="sha256:" + "d" * 64)
    stocked.publish(write_adapter_folder(tmp_path / "other", manifest), "shop")
    with pytest.raises(WrongBaseError, match="needs the same base"):
        stocked.canaries.start("shop", "prod", 5, 0.1)


def test_every_move_is_in_the_log_in_order(stocked: Registry) -> None:
    canary = stocked.canaries.start("shop", "prod", 2, 0.25, note=Note("ann"))
    stocked.canaries.end(canary.id, "promoted", Note("canary", "1,000 requests"))
    told = [
        (one.alias, one.event, one.before, one.after, one.actor, one.reason)
        for one in stocked.canaries.log("shop")
    ]
    assert told == [
        ("latest", "moved", None, 1, "", "published"),
        ("latest", "moved", 1, 2, "", "published"),
        ("latest", "moved", 2, 3, "", "published"),
        ("prod", "moved", None, 1, "", ""),
        ("prod", "canary_started", 1, 2, "ann", "25 % of the requests"),
        ("prod", "canary_promoted", 1, 1, "canary", "1,000 requests"),
        ("prod", "moved", 1, 2, "canary", "1,000 requests"),
    ]
    assert [one.alias for one in stocked.canaries.log("shop", "latest")] == ["latest"] * 3
    assert stocked.canaries.log("nobody") == []


def test_a_move_that_fails_leaves_neither_end_nor_entry(
    stocked: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last write of a promotion fails: all of it is undone."""
    from hub.registry import moves

    canary = stocked.canaries.start("shop", "prod", 2, 0.1)
    before = stocked.canaries.log()

    def full(self: moves.Place, event: str, *rest: object) -> None:
        if event == "moved":
            raise OSError("disk full")
        log(self, event, *rest)

    log = moves.Place.log
    monkeypatch.setattr(moves.Place, "log", full)
    with pytest.raises(OSError, match="disk full"):
        stocked.canaries.end(canary.id, "promoted")
    assert stocked.canaries.log() == before
    assert stocked.canaries.running() == [canary]
    assert stocked.resolve("shop@prod").version == 1


def test_a_move_by_an_older_release_ends_the_canary(root: Path, stocked: Registry) -> None:
    """It knows neither canaries nor the log: it moves the alias and nothing else."""
    canary = stocked.canaries.start("shop", "prod", 2, 0.1)
    with sqlite3.connect(root / CATALOG_FILE) as older:
        older.execute(
            "UPDATE aliases SET version = 3, generation = generation + 1 WHERE alias = 'prod'"
        )
    older.close()
    assert stocked.canaries.running() == []
    with pytest.raises(CanaryEndedError):
        stocked.canaries.end(canary.id, "promoted")
    assert stocked.resolve("shop@prod").version == 3
    assert stocked.canaries.mend() == 1
    assert stocked.canaries.mend() == 0
    assert stocked.canaries.all()[0].status == "superseded"


def test_a_catalog_of_an_older_release_gets_the_new_tables(root: Path, stocked: Registry) -> None:
    stocked.close()
    with sqlite3.connect(root / CATALOG_FILE) as older:
        for table in ("canaries", "alias_log"):
            older.execute(f"DROP TABLE {table}")
    older.close()
    with Registry.open(root) as opened:
        assert opened.resolve("shop@prod").version == 1
        opened.canaries.start("shop", "prod", 2, 0.1)
        assert [one.event for one in opened.canaries.log()] == ["canary_started"]


def test_evidence_is_added_up_over_servers(root: Path, stocked: Registry) -> None:
    changes = stocked.changes()
    with Registry.open(root) as other:
        here, there = stocked.evidence(), other.evidence()
        assert here.read(1) == {}
        here.add(1, {"a": 1.5, "b": -2.0})
        assert there.add(1, {"a": 1.0, "c": 3.0}) == {"a": 2.5, "b": -2.0, "c": 3.0}
        there.add(2, {"a": 1.0})
        assert here.read(1) == {"a": 2.5, "b": -2.0, "c": 3.0}
        here.close()
        there.close()
    assert not changes.moved()  # whoever watches the catalog is not woken by it
    changes.close()
