"""What a real server counts, against what was done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.request import urlopen

import pytest

from hub.client import Decoding

from .conftest import House

SHORT = Decoding(max_output_tokens=4)


def translate(house: House, adapter: str, texts: int = 1) -> None:
    contents = [f"Monday {number}" for number in range(texts)]
    house.client.translate(contents, "en", "ko", adapter=adapter, decoding=SHORT)


@pytest.fixture
def narrow(open_house: Callable[..., Iterator[House]]) -> Iterator[House]:
    """One slot: every other adapter is a swap."""
    yield from open_house(slots=1, metric_label_values=3)


def test_swaps_are_told_apart_by_where_the_adapter_was(narrow: House) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        narrow.publisher.lora(name, seed=seed)
    for adapter in ("one", "two", "one", "one"):  # two loads, then one swap from host, then a hit
        translate(narrow, adapter)
    swaps = "hub_adapter_swap_seconds"
    assert narrow.metric(f"{swaps}_count", source="storage") == 2
    assert narrow.metric(f"{swaps}_count", source="host") == 1
    assert narrow.metric("hub_adapter_load_seconds_count", source="registry") == 2
    assert narrow.metric("hub_adapter_load_seconds_count", source="disk") == 0
    assert narrow.metric("hub_adapter_cache_hits_total", tier="host") == 1
    assert narrow.metric("hub_adapter_cache_hits_total", tier="device") == 1
    loads = narrow.metric("hub_adapter_load_seconds_sum", source="registry")
    assert narrow.metric(f"{swaps}_sum", source="storage") > loads  # placing is in it too


def test_adapters_in_memory_are_shown_by_name_and_level(narrow: House) -> None:
    one, two = narrow.publisher.lora("one", seed=1), narrow.publisher.lora("two", seed=2)
    for adapter in ("one", "two"):
        translate(narrow, adapter)
    loaded = "hub_adapter_loaded"
    both = {"version": "1", "pinned": "false"}
    assert narrow.metric(loaded, adapter="two", level="device", **both) == 1
    assert narrow.metric(loaded, adapter="one", level="host", **both) == 1
    assert narrow.metric(loaded, adapter="one", level="device", **both) == 0
    for version in (one, two):
        labels = {"adapter": version.name, "version": "1", "digest": version.digest}
        assert narrow.metric("hub_adapter_info", **labels, pair="en-ko", method="lora") == 1


def test_a_pinned_adapter_says_so_and_an_unloaded_one_is_not_shown(narrow: House) -> None:
    narrow.publisher.lora("kept", seed=1)
    loaded, labels = "hub_adapter_loaded", {"adapter": "kept", "version": "1", "level": "host"}
    narrow.client.load_adapter("kept", pin=True)
    assert narrow.metric(loaded, **labels, pinned="true") == 1
    assert narrow.metric(loaded, **labels, pinned="false") == 0
    assert narrow.client.unload_adapter("kept")
    assert narrow.metric(loaded, **labels, pinned="true") == 0


def test_an_adapter_that_left_host_memory_comes_back_from_disk(
    open_house: Callable[..., Iterator[House]],
) -> None:
    for house in open_house(slots=1, host_adapter_bytes=12_000):  # one of them and a half
        for name, seed in (("one", 1), ("two", 2)):
            house.publisher.lora(name, seed=seed)
        for adapter in ("one", "two", "one"):
            translate(house, adapter)
        assert house.metric("hub_adapter_cache_evictions_total", tier="host") >= 1
        assert house.metric("hub_adapter_load_seconds_count", source="registry") == 2
        assert house.metric("hub_adapter_load_seconds_count", source="disk") == 1


def test_sentences_tokens_and_fallbacks_are_counted_by_pair(narrow: House) -> None:
    house = narrow
    house.client.translate(
        ["Monday is here. Tuesday comes next.", "Friday"], "en", "ko", decoding=SHORT
    )
    assert house.metric("hub_seconds_per_output_token_count", pair="en-ko") == 3
    assert house.metric("hub_request_queue_seconds_count", pair="en-ko") == 2
    assert house.metric("hub_fallbacks_total", pair="en-ko", reason="no_adapter") == 2
    assert house.metric("hub_output_tokens_total", pair="en-ko", adapter="base") > 0
    assert house.metric("hub_routes") == 0
    assert house.metric("hub_memory_limit_bytes") > 0


def test_pairs_beyond_the_setting_are_others_together_with_their_adapters(narrow: House) -> None:
    for pair in ("en-ko", "en-de", "en-fr", "ko-en", "de-en"):
        source, target = pair.split("-")
        narrow.client.translate(["Monday"], source, target, adapter="base", decoding=SHORT)
    inputs = "hub_input_tokens_total"
    assert narrow.metric(inputs, pair="en-fr", adapter="base") > 0
    assert narrow.metric(inputs, pair="ko-en", adapter="base") == 0
    assert narrow.metric(inputs, pair="other", adapter="other") > 0
    assert narrow.metric("hub_request_queue_seconds_count", pair="other") == 2


def test_health_and_reflection_have_no_durations(narrow: House) -> None:
    assert narrow.client.is_serving()
    translate(narrow, "base")
    with urlopen(f"http://{narrow.application.ports.metrics}/metrics", timeout=60) as reply:
        shown = reply.read().decode().splitlines()
    assert any(
        line.startswith("grpc_server_handled_total") and "grpc.health" in line for line in shown
    )
    durations = [line for line in shown if line.startswith("grpc_server_handling_seconds_count")]
    assert any('grpc_method="TranslateText"' in line for line in durations)
    assert not any("grpc.health" in line for line in durations)
