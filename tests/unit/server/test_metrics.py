from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import Future
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hub.errors import DrainingError, HubError
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from hub.registry import AdapterVersion, Canary
from server.access.scopes import SCOPE_OF_METHOD
from server.messages import Fallback, Flag, LoadedAdapter
from server.quality.canary.betting import keys
from server.quality.canary.rules import SIGNALS
from server.quality.golden.results import GoldenResult
from server.telemetry.labels import OTHER, BoundedLabel, BoundedPairs
from server.telemetry.metrics import LABEL_VALUES, Metrics

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
    "hub_time_to_first_segment_seconds",
    "hub_seconds_per_output_token",
    "hub_step_delay_seconds",
    "hub_adapter_swap_seconds",
    "hub_adapter_loaded",
    "hub_adapter_info",
    "hub_routes",
    "hub_fallbacks",
    "hub_tenant_requests",
    "hub_tenant_tokens",
    "hub_memory_limit_bytes",
    "hub_hter",
    "hub_hter_unmeasured",
    "hub_post_edits",
    "hub_logprob_zscore",
    "hub_second_tries",
    "hub_canary_fraction",
    "hub_canary_requests",
    "hub_canary_signal",
    "hub_canary_evidence",
    "hub_canary_request_seconds",
    "hub_canaries_ended",
    "hub_golden_chrf",
    "hub_golden_chrf_published",
    "hub_golden_changed",
    "hub_golden_last_success_timestamp_seconds",
    "hub_golden_runs",
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


def test_combinations_are_bounded_as_such() -> None:
    both = BoundedPairs(2)
    assert both.of("en-ko", "a") == ("en-ko", "a")
    assert both.of("en-ko", "b") == ("en-ko", "b")
    assert both.of("en-de", "a") == (OTHER, OTHER)  # both values are known, the two together not
    assert both.of("en-ko", "a") == ("en-ko", "a")


def kinds() -> set[type[HubError]]:
    found, waiting = {HubError}, [HubError]
    while waiting:
        own = waiting.pop().__subclasses__()
        found.update(own)
        waiting += own
    return found


def reasons() -> list[str]:
    return sorted({kind.reason for kind in kinds()})


def codes() -> list[str]:
    return sorted({"OK", *(kind.code for kind in kinds())})


def methods(*doors: str) -> list[tuple[str, str]]:
    """Return every method whose service begins with one of some words."""
    known = (name.rsplit("/", 1) for name in SCOPE_OF_METHOD if name.startswith(doors))
    return [(service, method) for service, method in known]


def use_everything(metrics: Metrics, number: int) -> None:
    """Touch every metric that has a label of a caller's, with values that were never seen."""
    pair = metrics.pairs.of(f"p{number}")
    both = metrics.both.of(f"p{number}", f"a{number}")
    tenant = metrics.tenants.of(f"t{number}")
    for histogram in (
        metrics.queue_seconds, metrics.first_segment_seconds, metrics.token_seconds,
        metrics.length_ratio,
    ):  # fmt: skip
        histogram.labels(pair).observe(0.1)
    for reason in Fallback:
        metrics.fallbacks.labels(pair, reason.value).inc()
    for flag in Flag:
        metrics.quality_flags.labels(*both, flag.value).inc()
    for counter in (metrics.input_tokens, metrics.output_tokens, metrics.post_edits):
        counter.labels(*both).inc()
    metrics.hter.labels(*both).observe(0.1)
    metrics.logprob_zscore.labels(*both).observe(0.1)
    for outcome in ("kept", "discarded", "failed"):
        metrics.second_tries.labels(*both, outcome).inc()
    metrics.mean_logprob.labels(*both).observe(0.5)
    for outcome in ("ok", "failed", "rejected"):
        metrics.tenant_requests.labels(tenant, outcome).inc()
    for direction in ("input", "output"):
        metrics.tenant_tokens.labels(tenant, direction).inc()


def use_every_call(metrics: Metrics, *doors: str) -> None:
    for service, method in methods(*doors):
        metrics.calls_started.labels("unary", service, method).inc()
        if not service.startswith("grpc."):  # as CallCount has it
            metrics.call_seconds.labels("unary", service, method).observe(1)
        for code in codes():
            metrics.calls_handled.labels("unary", service, method, code).inc()
    for reason in reasons():
        metrics.rejected.labels(reason).inc()
        metrics.load_failures.labels(reason).inc()
    for stage in ("route", "tokenize", "encode", "decode"):
        metrics.stage_seconds.labels(stage).observe(1)


def version(number: int) -> AdapterVersion:
    manifest = AdapterManifest(
        pair="en-ko",
        method="lora",
        size=2,
        budget=None,
        trainable_parameters=8,
        base=BaseReference(name="base", digest="sha256:" + "1" * 64, parameters=1000),
        corpus=CorpusReference(
            name="none", fingerprint="none", licence="CC0-1.0", train=0, dev=0, test=0
        ),
        recipe_digest="sha256:" + "0" * 64,
        seed=1,
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return AdapterVersion(f"a{number}", 1, f"sha256:{number:064d}", manifest, 10, now, {})


def answer(*adapters: LoadedAdapter) -> Future[tuple[LoadedAdapter, ...]]:
    future: Future[tuple[LoadedAdapter, ...]] = Future()
    future.set_result(adapters)
    return future


def fill_memory(metrics: Metrics, count: int = 1000) -> None:
    versions = [version(number) for number in range(count)]
    for one in versions:
        metrics.residency.know(one)
    adapters = [
        LoadedAdapter(one.digest, slot, 10, 0, pinned=slot % 2 == 0)
        for slot, one in enumerate(versions)
    ]
    metrics.residency.watch(lambda: answer(*adapters))


def fill_quality(metrics: Metrics, count: int = 1000) -> None:
    """Canaries of many adapters, with both arms, and looks at golden lines of as many."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sums = dict.fromkeys(keys(SIGNALS), 1.0)
    canaries = [
        (Canary(n, f"a{n}", "prod", 1, 1, 2, 0.1, 0, "", "running", "", now, None), sums)
        for n in range(count)
    ]
    looks = [GoldenResult(f"a{n}", 1, "en-ko", 50.0, 50.0, 0.0, 1.0) for n in range(count)]
    metrics.canaries.watch(lambda limit: canaries[:limit])
    metrics.golden.watch(lambda limit: looks[:limit])
    for arm in ("stable", "canary"):
        metrics.canary_seconds.labels(arm).observe(0.1)


def test_adapters_in_memory_have_a_series_each_and_the_rest_are_counted() -> None:
    metrics = Metrics(2)
    one, two, three = (version(number) for number in range(3))
    for known in (one, two, three):
        metrics.residency.know(known)
    loaded = (
        LoadedAdapter(two.digest, 1, 10, 3),
        LoadedAdapter(one.digest, 0, 10, 0, pinned=True),
        LoadedAdapter(three.digest, 0, 10, 0),
        LoadedAdapter("sha256:" + "f" * 64, 0, 10, 0),
    )
    metrics.residency.watch(lambda: answer(*loaded))
    value = metrics.registry.get_sample_value
    name = "hub_adapter_loaded"

    def row(adapter: str, number: str, level: str, pinned: str) -> float | None:
        labels = {"adapter": adapter, "version": number, "level": level, "pinned": pinned}
        return value(name, labels)

    assert row("a1", "1", "device", "false") == 1
    assert row("a0", "1", "host", "true") == 1
    assert row(OTHER, "", "host", "false") == 2
    assert row("a2", "1", "host", "false") is None
    info = {"adapter": "a1", "version": "1", "digest": two.digest, "pair": "en-ko"}
    assert value("hub_adapter_info", {**info, "method": "lora"}) == 1
    metrics.residency.watch(lambda: answer())  # all gone: no series stays behind
    assert row("a1", "1", "device", "false") is None


def test_an_engine_that_does_not_answer_leaves_the_last_state_and_the_scrape_alive() -> None:
    metrics = Metrics()
    one = version(0)
    metrics.residency.know(one)
    metrics.residency.watch(lambda: answer(LoadedAdapter(one.digest, 1, 10, 0)))
    assert 'hub_adapter_loaded{adapter="a0"' in exposed(metrics)

    def closed() -> Future[tuple[LoadedAdapter, ...]]:
        raise DrainingError("the server is shutting down")

    metrics.residency.watch(closed)
    assert 'hub_adapter_loaded{adapter="a0"' in exposed(metrics)


OURS = ("adapterhub.", "grpc.")


@pytest.mark.parametrize(
    ("doors", "most"), [(OURS, 2300), ((*OURS, "http."), 3100), ((*OURS, "http.", "google."), 4300)]
)
def test_whatever_callers_send_the_series_are_as_many_as_the_docs_say(
    doors: tuple[str, ...], most: int
) -> None:
    metrics = Metrics()
    use_every_call(metrics, *doors)
    fill_memory(metrics)
    fill_quality(metrics)
    for number in range(5_000):  # four labels each: pair, adapter, both together, tenant
        use_everything(metrics, number)
    families = list(text_string_to_metric_families(exposed(metrics)))
    series = {
        (sample.name, *sorted(sample.labels.items()))
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")  # `hub serve` has them switched off
    }
    queue = next(f for f in families if f.name == "hub_request_queue_seconds")
    pairs = {sample.labels["pair"] for sample in queue.samples}
    assert len(pairs) == LABEL_VALUES + 1  # else the labels were not used, and nothing was proved
    assert OTHER in pairs
    assert most - 200 < len(series) <= most, sorted(
        ((len(f.samples), f.name) for f in families), reverse=True
    )[:15]  # fmt: skip


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
