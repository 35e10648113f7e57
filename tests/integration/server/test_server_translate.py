"""Translating over the wire: the right adapter for each row, whatever runs beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

import pytest

from hub.client import Decoding, Handling
from hub.registry import Registry

TEXTS = ["Monday", "five kilometres per hour", "in 4 weeks", "Seoul"]
SHORT = Decoding(max_output_tokens=12)


@pytest.fixture(scope="module")
def adapters(house: Any) -> dict[str, Any]:
    """Four adapters of two kinds: twice as many as the server has slots."""
    return {
        "lora-one": house.publisher.lora("lora-one", seed=1),
        "lora-two": house.publisher.lora("lora-two", seed=2),
        "neck-one": house.publisher.bottleneck("neck-one", seed=3),
        "neck-two": house.publisher.bottleneck("neck-two", seed=4),
    }


def texts(house: Any, adapter: str, contents: list[str], **options: Any) -> tuple[str, ...]:
    reply = house.client.translate(
        contents, "en", "ko", adapter=adapter, decoding=options.get("decoding", SHORT)
    )
    result: tuple[str, ...] = reply.texts
    return result


def test_a_reply_names_what_made_it(house: Any, adapters: dict[str, Any]) -> None:
    version = adapters["lora-one"]
    reply = house.client.translate(["Monday"], "en", "ko", adapter="lora-one", decoding=SHORT)
    item = reply.items[0]
    assert item.error is None
    assert item.text
    assert (item.adapter_version, item.adapter_digest) == ("lora-one:1", version.digest)
    assert reply.base_digest == house.publisher.base.digest
    assert reply.quantization == "int8"
    assert item.timings.decode_ms > 0
    assert item.timings.batch_rows >= 1
    assert item.timings.batch_distinct_adapters >= 1
    assert reply.input_tokens >= 3
    assert 1 <= reply.output_tokens <= 12
    assert item.quality.mean_log_probability < 0


def test_the_base_alone_names_no_adapter(house: Any) -> None:
    item = house.client.translate(["Monday"], "en", "ko", decoding=SHORT).items[0]
    assert (item.adapter_version, item.adapter_digest) == ("", "")


@pytest.mark.parametrize("beam", [1, 3])
def test_mixed_concurrent_requests_equal_each_alone(
    house: Any, adapters: dict[str, Any], beam: int
) -> None:
    decoding = Decoding(beam_size=beam, max_output_tokens=12)
    names = ["", *adapters]
    alone = {
        name: [texts(house, name, [text], decoding=decoding)[0] for text in TEXTS] for name in names
    }
    for one, other in combinations(names, 2):  # the compared things do differ
        same = sum(a == b for a, b in zip(alone[one], alone[other], strict=True))
        assert same <= len(TEXTS) // 4
    with ThreadPoolExecutor(10) as pool:
        calls = {
            (name, index): pool.submit(texts, house, name, TEXTS, decoding=decoding)
            for index in range(2)
            for name in names
        }
        mixed = {key: call.result() for key, call in calls.items()}
    for (name, _), together in mixed.items():
        assert list(together) == alone[name], name
    sizes = house.application.metrics.registry.get_sample_value
    assert sizes("hub_batch_distinct_adapters_bucket", {"le": "1.0"}) < sizes(
        "hub_batch_distinct_adapters_count", {}
    ), "no step ever mixed two adapters"


def test_more_adapters_than_slots_were_swapped(house: Any, adapters: dict[str, Any]) -> None:
    for name in adapters:
        texts(house, name, ["Monday"])
    loaded = house.client.list_loaded_adapters()
    assert {one.tier for one in loaded} == {"DEVICE", "HOST"}
    assert sum(one.tier == "DEVICE" for one in loaded) == 2
    assert {one.adapter_version for one in loaded} >= {f"{name}:1" for name in adapters}
    assert house.metric("hub_adapter_cache_evictions_total", tier="device") > 0
    assert house.metric("hub_adapters_resident", tier="device") == 2


def soon(ask: Callable[[], Any], before: str, after: str) -> Any:
    """Ask until another adapter answers; changes of the registry are seen within two seconds."""
    until = time.monotonic() + 30  # two seconds, on a machine that does nothing else
    while (item := ask().items[0]).adapter_digest != after:
        assert item.adapter_digest == before
        assert time.monotonic() < until, "the change was not seen"
    return item


def test_an_adapter_published_meanwhile_is_served_without_restart(house: Any) -> None:
    def ask(adapter: str = "growing") -> Any:
        return house.client.translate(["Monday"], "en", "ko", adapter=adapter, decoding=SHORT)

    first = house.publisher.lora("growing", seed=11)
    before = ask().items[0]
    assert before.adapter_digest == first.digest
    second = house.publisher.lora("growing", seed=12)
    after = soon(ask, first.digest, second.digest)
    assert before.text != after.text
    assert ask("growing:1").items[0].text == before.text


def test_an_alias_moved_by_another_is_followed(house: Any) -> None:
    def ask() -> Any:
        return house.client.translate(["euro"], "en", "ko", adapter="aliased@prod", decoding=SHORT)

    first = house.publisher.lora("aliased", seed=21)
    second = house.publisher.lora("aliased", seed=22)
    elsewhere = Registry.open(house.settings.registry)
    elsewhere.set_alias("aliased", "prod", 1, None)
    assert house.client.get_adapter("aliased@prod").version == 1
    assert ask().items[0].adapter_version == "aliased:1"
    elsewhere.set_alias("aliased", "prod", 2, 1)
    assert house.client.get_adapter("aliased@prod").version == 2  # read from the registry itself
    assert soon(ask, first.digest, second.digest).adapter_version == "aliased:2"


def test_a_digest_prefix_is_a_ref(house: Any, adapters: dict[str, Any]) -> None:
    digest = adapters["lora-one"].digest
    item = house.client.translate(["a"], "en", "ko", adapter=digest[:20], decoding=SHORT).items[0]
    assert item.adapter_digest == digest


def test_a_cut_translation_says_so(house: Any) -> None:
    one = Decoding(max_output_tokens=1)
    reply = house.client.translate(["five kilometres"], "en", "ko", decoding=one)
    assert "TRUNCATED" in reply.items[0].warnings


def test_alternatives_come_best_first(house: Any) -> None:
    beam = Decoding(beam_size=4, max_output_tokens=8)
    reply = house.client.translate(["Monday"], "en", "ko", decoding=beam, num_alternatives=3)
    scores = [other.score for other in reply.items[0].alternatives]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_one_bad_text_does_not_cost_the_others(house: Any) -> None:
    contents = ["Monday", "", " \n\t", "a\x00b", "x" * 30_001, "word " * 400, "euro"]
    strict = Handling(refuse_long=True)
    reply = house.client.translate(contents, "en", "ko", decoding=SHORT, handling=strict)
    errors = [item.error for item in reply.items]
    assert [error.code if error else "OK" for error in errors] == [
        "OK",
        *["INVALID_ARGUMENT"] * 5,
        "OK",
    ]
    assert [error.field for error in errors if error] == [f"contents[{i}]" for i in range(1, 6)]
    assert reply.items[0].text == texts(house, "", ["Monday"])[0]
    assert all(item.text == "" for item in reply.items[1:6])
    assert "30001 characters; at most 30000" in errors[4].message
    assert "tokens; at most" in errors[5].message


@pytest.mark.parametrize(
    "text",
    ["\ufffe\uffff", "\u202eright to left", "👩\u200d👩\u200d👧", "\U0010ffff", "a\u0300" * 50],
)
def test_odd_but_valid_texts_are_translated(house: Any, text: str) -> None:
    item = house.client.translate([text], "en", "ko", decoding=SHORT).items[0]
    assert item.error is None


def test_languages_are_canonical_and_other_spellings_understood(house: Any) -> None:
    same = texts(house, "", ["Monday"])
    reply = house.client.translate(["Monday"], "eng_Latn", "ko_KR", decoding=SHORT)
    assert reply.texts == same


def test_short_calls_are_planned_on_the_event_loop_and_others_on_threads(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones that may ask the registry, detect a language or parse markup go to a thread."""
    pool, submitted = house.application._pool, []
    submit = pool.submit
    monkeypatch.setattr(
        pool, "submit", lambda *call: submitted.append(call[0].__name__) or submit(*call)
    )
    house.publisher.bottleneck("planned", seed=71)

    def threads(text: str = "Monday", source: str = "en", **options: Any) -> int:
        submitted.clear()
        decoding = Decoding(max_output_tokens=4)
        assert house.client.translate([text], source, "ko", decoding=decoding, **options).texts
        return submitted.count("_planned")

    assert threads() == 0
    assert threads(adapter="planned") == 1
    assert threads(adapter="planned") == 0  # what it means is known now
    assert threads("Monday. " * 40) == 1
    assert threads("This is a text in English.", source="") == 1
    assert threads(handling=Handling(mime_type="text/html")) == 1
    assert threads(handling=Handling(terms={"Monday": ["x"]})) == 1
