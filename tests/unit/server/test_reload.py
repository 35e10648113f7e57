"""Reading again what changes while the server runs; what is bad leaves the old in place."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hub.errors import SettingsError
from hub.settings import Settings, load_settings
from server.live_settings import LIVE, LiveSettings
from server.reload import ReloadHub
from server.telemetry.metrics import Metrics


class Part:
    """A number that is read from a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.file.write_text("1")
        self.value = 1
        self.reads = 0

    def reload(self) -> None:
        self.reads += 1
        self.value = int(self.file.read_text())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def part(tmp_path: Path) -> Part:
    return Part(tmp_path / "number")


@pytest.fixture
def hub(metrics: Metrics, part: Part) -> ReloadHub:
    made = ReloadHub(metrics, 0.01)
    made.register("number", lambda: [part.file], part.reload)
    return made


def count(metrics: Metrics, outcome: str) -> float | None:
    labels = {"what": "number", "outcome": outcome}
    return metrics.registry.get_sample_value("hub_reloads_total", labels)


def test_a_changed_file_is_read_once_it_has_settled(
    hub: ReloadHub, part: Part, metrics: Metrics
) -> None:
    hub.look()
    hub.look()
    assert part.reads == 0
    assert count(metrics, "ok") == 0
    part.file.write_text("22")
    hub.look()
    assert part.reads == 0  # it may still be written to
    part.file.write_text("333")
    hub.look()
    assert part.reads == 0
    hub.look()
    hub.look()
    assert (part.reads, part.value) == (1, 333)
    assert count(metrics, "ok") == 1


def test_a_bad_file_leaves_what_was_there_and_says_why(
    hub: ReloadHub, part: Part, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    part.file.write_text("not a number")
    for _ in range(4):
        hub.look()
    assert (part.reads, part.value) == (1, 1)
    assert count(metrics, "failed") == 1
    assert "number not reloaded, what was there stays" in caplog.text
    part.file.write_text("5")
    hub.look()
    hub.look()
    assert part.value == 5


def test_another_file_in_its_place_counts_though_size_and_time_are_the_same(
    hub: ReloadHub, part: Part, tmp_path: Path
) -> None:
    old, new = part.file.stat(), tmp_path / "new"
    new.write_text("2")
    os.utime(new, ns=(old.st_atime_ns, old.st_mtime_ns))
    os.replace(new, part.file)
    hub.look()
    hub.look()
    assert part.value == 2


def test_a_file_that_goes_and_comes_is_followed(hub: ReloadHub, part: Part) -> None:
    part.file.unlink()
    hub.look()
    hub.look()
    assert (part.reads, part.value) == (1, 1)
    part.file.write_text("7")
    hub.look()
    hub.look()
    assert part.value == 7


def test_on_demand_everything_is_read_and_one_failure_stops_no_other(
    hub: ReloadHub, part: Part, tmp_path: Path
) -> None:
    other = Part(tmp_path / "other")
    hub.register("other", lambda: [other.file], other.reload)
    part.file.write_text("bad")
    other.file.write_text("9")
    hub.reload_all()
    assert (part.value, other.value) == (1, 9)
    assert hub.parts == ("number", "other")


def test_it_looks_by_itself_until_it_is_stopped(hub: ReloadHub, part: Part) -> None:
    async def live() -> None:
        with ThreadPoolExecutor(1) as pool:
            hub.start(pool)
            part.file.write_text("44")
            while part.value != 44:
                await asyncio.sleep(0.01)
            await hub.stop()
            await hub.stop()

    asyncio.run(asyncio.wait_for(live(), 10))


def test_live_settings_take_effect_and_the_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "hub.toml"
    file.write_text("max_contents = 5\nslots = 8\n")

    def read() -> Settings:
        return load_settings(environ={}, folder=tmp_path)

    applied: list[Settings] = []
    live = LiveSettings(read(), read, applied.append)
    file.write_text("max_contents = 9\nslots = 16\nlog_texts = true\n")
    live.reload()
    assert (applied[0].max_contents, applied[0].log_texts, applied[0].slots) == (9, True, 8)
    assert "in force now: log_texts, max_contents" in caplog.text
    assert "take a restart: slots" in caplog.text
    file.write_text("max_contents = 0\n")
    with pytest.raises(SettingsError):
        live.reload()
    assert len(applied) == 1


def test_live_settings_are_settings() -> None:
    assert set(LIVE) <= set(Settings.model_fields)


def test_a_part_is_registered_once(hub: ReloadHub, part: Part) -> None:
    again: Callable[[], None] = part.reload
    with pytest.raises(AssertionError, match="registered twice"):
        hub.register("number", list, again)
