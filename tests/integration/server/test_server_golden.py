"""Golden lines on a running server: written by the training side, looked at by the serving side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.bases.tokenizer import load_tokenizer
from hub.golden import GOLDEN_FILE, GoldenLines
from hub.languages import LanguagePair
from hub.registry import AdapterVersion
from server.quality.golden.comparing import Comparison
from tests.support.waiting import until
from training.corpora import SentencePair
from training.evidence.decode import Decoder
from training.evidence.golden import golden_lines

from .conftest import House

PAIR = LanguagePair("en", "ko")
DEV = [
    SentencePair(source, target, "test", source)
    for source, target in (
        ("Monday", "월요일"),
        ("{0} of {1}. And then?", "{0}/{1}. 그리고?"),  # neither split nor masked
        ("Seoul", "서울"),
    )
]


@pytest.fixture(scope="module")
def decoder(house: House) -> Decoder:
    base = house.publisher.base
    return Decoder(base, load_tokenizer(base), "int8")


def with_golden(house: House, decoder: Decoder, name: str) -> tuple[AdapterVersion, GoldenLines]:
    """Publish an adapter, and then the same folder with golden lines of it."""
    house.publisher.bottleneck(name, seed=len(name))
    folder = house.publisher.scratch / f"adapter-{house.publisher.count}"
    decoder.place(folder)
    golden = golden_lines(decoder, PAIR, DEV, len(DEV))
    assert golden is not None
    (folder / GOLDEN_FILE).write_text(golden.to_json(), encoding="utf-8")
    return house.publisher.registry.publish(folder, name, aliases=["prod"]), golden


def look(house: House) -> str:
    """Have the server look at the adapter that is due next, now."""
    runner = house.application.core.golden
    runner.schedule.chance = lambda: 0.0  # all are due at once
    loop = house.application._golden.get_loop()
    return asyncio.run_coroutine_threadsafe(runner.look(), loop).result(250)


def look_until(house: House, name: str, done: Callable[[], bool]) -> None:
    for _ in range(40):
        look(house)
        if done():
            return
    raise AssertionError(f"{name} was not looked at")


def shown(house: House, version: AdapterVersion, metric: str) -> float | None:
    labels = {"pair": "en-ko", "adapter": version.name, "version": str(version.version)}
    return house.application.metrics.registry.get_sample_value(metric, labels)


@pytest.fixture(scope="module")
def own(open_house: Callable[..., Iterator[House]]) -> Iterator[House]:
    """A server with two slots, which nobody else uses, and which looks only when it is told to."""
    for house in open_house(slots=2):
        task = house.application._golden
        task.get_loop().call_soon_threadsafe(task.cancel)
        yield house


def test_the_server_translates_what_training_translated(own: House, decoder: Decoder) -> None:
    assert golden_lines(decoder, PAIR, DEV, 0) is None  # as of `hub train --golden 0`
    version, golden = with_golden(own, decoder, "true")
    own.application.core.resolution.invalidate()
    look_until(own, "true", lambda: shown(own, version, "hub_golden_chrf") is not None)
    assert shown(own, version, "hub_golden_chrf") == golden.score
    assert shown(own, version, "hub_golden_chrf_published") == golden.score
    assert shown(own, version, "hub_golden_changed") == 0
    assert own.metric("hub_golden_runs_total", outcome="ok") == 1


def test_lines_that_a_server_would_refuse_are_left_out(own: House, decoder: Decoder) -> None:
    long = [
        SentencePair("Monday. " * 100, "월요일", "test", "more tokens than a server takes"),
        SentencePair("Monday", "월요일 " * 4000, "test", "a reference of 16,000 characters"),
        SentencePair("", "월요일", "test", "nothing"),
    ]
    own.publisher.bottleneck("long", seed=5)
    decoder.place(own.publisher.scratch / f"adapter-{own.publisher.count}")
    golden = golden_lines(decoder, PAIR, [*long, *DEV], 99)
    assert golden is not None
    assert [line.source for line in golden.lines] == [one.source for one in DEV]
    assert golden_lines(decoder, PAIR, long, 99) is None


def test_lines_that_no_longer_come_out_are_seen(own: House, decoder: Decoder) -> None:
    """The weights of another adapter under the lines of this one."""
    other, golden = with_golden(own, decoder, "false")
    folder = own.publisher.scratch / f"adapter-{own.publisher.count}"
    own.publisher.bottleneck("false", seed=77)
    wrong = own.publisher.scratch / f"adapter-{own.publisher.count}"
    (wrong / GOLDEN_FILE).write_bytes((folder / GOLDEN_FILE).read_bytes())
    version = own.publisher.registry.publish(wrong, "false", aliases=["prod"])
    assert version.digest != other.digest
    own.application.core.resolution.invalidate()
    look_until(own, "false", lambda: shown(own, version, "hub_golden_changed") is not None)
    changed = shown(own, version, "hub_golden_changed")
    assert changed is not None
    assert changed > 0
    assert shown(own, version, "hub_golden_chrf_published") == golden.score


def with_own_references(golden: GoldenLines) -> GoldenLines:
    """Golden lines whose translations were perfect: a random base knows no Korean."""
    lines = [line.model_copy(update={"reference": line.translation}) for line in golden.lines]
    sound = [line for line in lines if line.translation.strip()]
    return golden.model_copy(update={"lines": tuple(sound), "score": 100.0})


def publish_golden(house: House, decoder: Decoder, name: str, seed: int) -> None:
    """Publish an adapter with lines that it translates perfectly."""
    house.publisher.bottleneck(name, seed=seed)
    folder = house.publisher.scratch / f"adapter-{house.publisher.count}"
    decoder.place(folder)
    texts = [f"{number} of {word}" for number in range(4) for word in ("May", "June", "Seoul")]
    dev = [SentencePair(text, "x", "test", text) for text in texts]
    golden = golden_lines(decoder, PAIR, dev, len(dev))
    assert golden is not None
    golden = with_own_references(golden)
    assert len(golden.lines) > 8
    (folder / GOLDEN_FILE).write_text(golden.to_json(), encoding="utf-8")
    house.publisher.registry.publish(folder, name)


def compare(house: House) -> None:
    """Have the server compare canaries now, with room for both versions."""
    for one in house.client.list_loaded_adapters():
        house.client.unload_adapter(one.digest)
    loop = house.application._golden.get_loop()
    house.application.core.resolution.invalidate()
    asyncio.run_coroutine_threadsafe(house.application.core.golden.compare(), loop).result(250)


def test_a_canary_that_loses_on_golden_lines_is_rolled_back(own: House, decoder: Decoder) -> None:
    """Nobody has asked for either version."""
    canaries = own.publisher.registry.canaries
    publish_golden(own, decoder, "kept", seed=21)
    own.publisher.bottleneck("kept", seed=22)
    own.publisher.registry.set_alias("kept", "prod", 2, None)
    lost = canaries.start("kept", "prod", 3, 0.1)
    compare(own)
    until(lambda: canaries.all()[-1].status != "running")
    (ended,) = [one for one in canaries.all() if one.id == lost.id]
    assert ended.status == "rolled_back"
    assert ended.reason.startswith("chrF++ of ")
    assert own.publisher.registry.resolve("kept@prod").version == 2

    same = canaries.start("kept", "prod", 1, 0.1)  # the same weights, and no lines of its own
    compare(own)
    finding = own.application.core.golden.findings.of(same.id)
    assert isinstance(finding, Comparison)
    assert (finding.stable, finding.tried, finding.worse) == (100, 100, False)
    canaries.end(same.id, "cancelled")


def test_a_comparison_waits_until_there_is_room_for_both(own: House, decoder: Decoder) -> None:
    canaries, core = own.publisher.registry.canaries, own.application.core
    publish_golden(own, decoder, "roomless", seed=41)
    own.publisher.bottleneck("roomless", seed=42)
    own.publisher.registry.set_alias("roomless", "prod", 2, None)
    canary = canaries.start("roomless", "prod", 3, 0.1)
    for name in ("left", "right"):
        own.publisher.bottleneck(name, seed=len(name))
        own.client.translate(["Monday"], "en", "ko", adapter=name)
    core.resolution.invalidate()
    in_use, loop = placed(own), own.application._golden.get_loop()
    assert len(in_use) == 2
    asyncio.run_coroutine_threadsafe(core.golden.compare(), loop).result(250)
    assert core.golden.findings.of(canary.id) == "pending"
    assert placed(own) == in_use
    compare(own)
    assert isinstance(core.golden.findings.of(canary.id), Comparison)
    until(lambda: canary.id not in {one.id for one in canaries.running()})  # it was worse


def test_a_canary_without_golden_lines_is_judged_by_requests_alone(own: House) -> None:
    canaries = own.publisher.registry.canaries
    for seed in (31, 32):
        own.publisher.bottleneck("lineless", seed=seed)
    own.publisher.registry.set_alias("lineless", "prod", 1, None)
    canary = canaries.start("lineless", "prod", 2, 0.1)
    own.application.core.resolution.invalidate()
    assert own.application.core.golden.findings.of(canary.id) == "pending"
    compare(own)
    assert own.application.core.golden.findings.of(canary.id) == "none"
    canaries.end(canary.id, "cancelled")


def test_an_adapter_without_lines_says_so(own: House) -> None:
    before = own.metric("hub_golden_runs_total", outcome="none")
    own.publisher.bottleneck("bare", seed=9)
    own.client.translate(["Monday"], "en", "ko", adapter="bare")  # in memory, so it is looked at
    look_until(own, "bare", lambda: own.metric("hub_golden_runs_total", outcome="none") > before)


def test_no_adapter_in_use_has_to_go(own: House, decoder: Decoder) -> None:
    """Both slots are taken: one that is in neither waits."""
    for name, seed in (("one", 11), ("two", 12)):
        own.publisher.bottleneck(name, seed=seed)
        own.client.translate(["Monday"], "en", "ko", adapter=name)
    in_use = placed(own)
    assert len(in_use) == 2
    before = own.metric("hub_golden_runs_total", outcome="postponed")
    version, _ = with_golden(own, decoder, "waiting")
    own.application.core.resolution.invalidate()
    look_until(
        own, "waiting", lambda: own.metric("hub_golden_runs_total", outcome="postponed") > before
    )
    assert shown(own, version, "hub_golden_chrf") is None
    assert placed(own) == in_use


def placed(house: House) -> set[str]:
    return {one.digest for one in house.client.list_loaded_adapters() if one.slot}


def test_a_server_without_an_interval_does_not_look(
    open_house: Callable[..., Iterator[House]], tmp_path: Path
) -> None:
    for house in open_house(golden_interval=0):
        assert house.application._golden is None
