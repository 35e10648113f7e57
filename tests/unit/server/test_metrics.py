from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.telemetry.metrics import MAX_PAIRS, OTHER, BoundedLabel, Metrics

EXPECTED = {
    "grpc_server_started",
    "grpc_server_handled",
    "grpc_server_handling_seconds",
    "hub_request_queue_seconds",
    "hub_stage_seconds",
    "hub_step_seconds",
    "hub_batch_size",
    "hub_batch_distinct_adapters",
    "hub_input_tokens",
    "hub_output_tokens",
    "hub_adapter_cache_hits",
    "hub_adapter_cache_misses",
    "hub_adapter_cache_evictions",
    "hub_adapter_load_seconds",
    "hub_adapter_load_failures",
    "hub_adapter_place_seconds",
    "hub_adapters_resident",
    "hub_adapter_bytes",
    "hub_base_model_bytes",
    "hub_base_info",
    "hub_mean_logprob",
    "hub_length_ratio",
    "hub_quality_flags",
    "hub_requests_running",
    "hub_requests_waiting",
    "hub_rejected",
}


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_every_promised_metric_is_declared_with_a_help_text() -> None:
    families = {f.name: f for f in text_string_to_metric_families(exposed(Metrics()))}
    assert set(families) >= EXPECTED
    assert all(families[name].documentation for name in EXPECTED)


def test_names_are_in_base_units() -> None:
    names = {f.name for f in text_string_to_metric_families(exposed(Metrics()))}
    assert not [name for name in names if re.search(r"_(ms|milliseconds|mb|percent)$", name)]


def test_two_servers_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.running.set(3)
    assert other.registry.get_sample_value("hub_requests_running") == 0


def test_label_values_are_bounded() -> None:
    label = BoundedLabel(2)
    assert [label.of(value) for value in ("a", "b", "c", "a", "d")] == [
        "a",
        "b",
        OTHER,
        "a",
        OTHER,
    ]


def test_ten_thousand_pairs_make_few_series() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.queue_seconds.labels(metrics.pairs.of(f"p{number}")).observe(0.1)
    families = text_string_to_metric_families(exposed(metrics))
    queue = next(f for f in families if f.name == "hub_request_queue_seconds")
    assert len({sample.labels["pair"] for sample in queue.samples}) == MAX_PAIRS + 1


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_no_fault() -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed(Metrics()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
