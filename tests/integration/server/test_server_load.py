"""The callers of `hub bench serve` against a real server: they count what they are told."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import pytest

from hub.errors import SettingsError
from server.bench.load import Callers, Group, Load, Tally
from server.bench.serve import ServeOptions, cpu_seconds, held_by, texts_of
from server.bench.serve_report import rows_of_scenarios

SECONDS = 3.0


def under(house: Any, *groups: Group) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        load = Load(house.target, "en", "ko", ["Monday", "euro"], groups, SECONDS, warm=0.5)
        return await Callers(Load.of(json.loads(load.to_json()))).run()

    return asyncio.run(run())


def test_callers_count_answers_refusals_and_cancellations(house: Any) -> None:
    report = under(
        house,
        Group("patient", callers=2),
        Group("hurried", callers=2, deadline_ms=1),
        Group("fickle", callers=2, cancel_ms=2),
        Group("steady", rate=20),
    )
    groups = report["groups"]
    assert groups["patient"]["told"].keys() == {"OK"}
    assert groups["patient"]["per_second"] == round(groups["patient"]["told"]["OK"] / SECONDS, 2)
    quantiles = groups["patient"]["answered_ms"]
    assert 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"]
    assert any(told.startswith("DEADLINE_EXCEEDED") for told in groups["hurried"]["told"])
    assert groups["fickle"]["told"]["CANCELLED"] > 0
    assert 0 < sum(groups["steady"]["told"].values()) < 60 * SECONDS
    assert report["client_cpus"] > 0
    assert house.client.translate(["Monday"], "en", "ko").texts  # and the server goes on


def test_only_what_the_server_says_counts_as_a_refusal() -> None:
    tally = Tally()
    tally.note("OK", "", 0.010)
    tally.note("DEADLINE_EXCEEDED", "", 0.200)
    tally.note("DEADLINE_EXCEEDED", "DEADLINE_UNREACHABLE", 0.002)
    tally.note("RESOURCE_EXHAUSTED", "QUEUE_FULL", 0.004)
    report = tally.report(2.0)
    assert report["per_second"] == 0.5
    assert report["rejected_ms"] == {"p50": 4.0, "p95": 4.0, "p99": 4.0}
    found = {
        "options": {"seconds": 2.0},
        "scenarios": {"storm": {"groups": {"all": report}, "server_cpus": 1.0, "client_cpus": 0.1}},
    }
    assert rows_of_scenarios(found) == [
        ["storm", "all", "0.5", "10.0", "10.0", "10.0", "1.5", "4.0", "1.0", "0.1"]
    ]


def test_what_is_measured_is_checked_first() -> None:
    ServeOptions().check()
    with pytest.raises(SettingsError, match="'rush' is not known"):
        ServeOptions(scenarios=("rush",)).check()
    with pytest.raises(SettingsError, match="measure both"):
        ServeOptions(scenarios=("overload",)).check()
    assert len(texts_of("en")) == 200


def test_a_process_is_looked_at() -> None:
    held = held_by(os.getpid())
    assert held["descriptors"] > 2
    assert held["threads"] >= 1
    assert held["resident_bytes"] > 2**20
    assert cpu_seconds(os.getpid()) > 0
