"""One server's watch over its canaries, on a real registry."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub.errors import (
    AdapterBindingError,
    CorruptBlobError,
    DeadlineError,
    EngineError,
    HubError,
    QueueFullError,
    RegistryBusyError,
    TextError,
)
from hub.languages import LanguagePair
from hub.registry import Canary, CanaryEvidence, Registry
from hub.registry.testing import example_manifest, write_adapter_folder
from server.messages import (
    Flag,
    ItemResult,
    Job,
    Outcome,
    Search,
    Signals,
    Timings,
    TranslateCommand,
)
from server.quality.canary.book import Arm, CanaryBook
from server.quality.canary.rules import SIGNALS
from server.quality.canary.split import request_key
from server.quality.canary.values import values_of
from server.quality.canary.watch import CanaryWatch, note_arms
from server.quality.golden.comparing import Comparison
from server.quality.golden.findings import GoldenFindings
from server.telemetry.metrics import Metrics
from server.translation.plans import ItemPlan, SegmentPlan
from server.translation.routing import Route
from server.translation.segments import Segment
from server.translation.translator import Translator

PAIR = LanguagePair("en", "ko")

GOOD = ItemResult(
    text="x",
    signals=Signals(-0.3, 1.2, 0.0),
    timings=Timings(0.1, 0.01, 0.06, accepted_at=10.0, ended_at=10.2),
    input_tokens=10,
    output_tokens=12,
    adapter_digest="sha256:good",
)
BAD = replace(GOOD, signals=Signals(-2.5, 4.0, 0.8), flags=(Flag.REPETITION,))


class House:
    """A registry with a canary, and one server's part of it."""

    def __init__(self, root: Path, changed: list[str]) -> None:
        self.registry = Registry.open(root)
        self.metrics = Metrics()
        self.evidence: CanaryEvidence = self.registry.evidence()
        self.book = CanaryBook(self.registry.canaries.running, self.registry.resolve)
        self.findings = GoldenFindings(looking=False)
        self.watch = CanaryWatch(
            self.book, self.evidence, self.registry.canaries, self.metrics, self.changed,
            self.findings.of,
        )  # fmt: skip
        self.metrics.canaries.watch(self.watch.shown)
        self._changed = changed

    def changed(self) -> None:
        self._changed.append("changed")
        self.book.refresh()

    def serve(self, text: str, tried: ItemResult = GOOD, stable: ItemResult = GOOD) -> bool | None:
        """Route one request; note what became of it; return whether the canary served it."""
        version = self.registry.resolve("shop@prod")
        key = request_key("", "", "ko", [text])
        served, arm = self.book.choose("shop@prod", version, lambda: key)
        if arm is None:
            return None
        item = replace(tried if arm.tried else stable, adapter_digest=served.digest)
        note_arms(self.watch, [arm], [item])
        return arm.tried

    def close(self) -> None:
        self.evidence.close()
        self.registry.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        root = Path(folder) / "registry"
        with Registry.open(root) as registry:
            for seed in (1, 2):
                adapter = write_adapter_folder(tmp_path / str(seed), example_manifest(seed=seed))
                registry.publish(adapter, "shop")
            registry.set_alias("shop", "prod", 1, None)
        yield root


@pytest.fixture
def house(root: Path) -> Iterator[House]:
    opened = House(root, [])
    yield opened
    opened.close()


def start(house: House, fraction: float = 0.5, promote_after: int = 0) -> Canary:
    canary = house.registry.canaries.start("shop", "prod", 2, fraction, promote_after=promote_after)
    house.book.refresh()
    return canary


def status(house: House) -> str:
    return house.registry.canaries.all()[-1].status


def test_without_a_canary_the_alias_serves(house: House) -> None:
    assert house.serve("Monday") is None


def test_the_same_request_gets_the_same_version_on_every_server(house: House, root: Path) -> None:
    start(house)
    other = House(root, [])
    served = [(house.serve(f"text {n}"), other.serve(f"text {n}")) for n in range(50)]
    assert all(one == two for one, two in served)
    assert {one for one, _ in served} == {True, False}
    other.close()


def test_a_request_for_the_version_itself_is_not_split(house: House) -> None:
    start(house)
    version = house.registry.resolve("shop:1")
    for ref in ("shop:1", version.digest, "shop@next", "shop"):
        served, arm = house.book.choose(ref, version, lambda: b"key")
        assert (served, arm) == (version, None)


def test_a_damaged_version_is_rolled_back(house: House) -> None:
    start(house)
    number = 0
    while status(house) == "running" and number < 500:
        house.serve(f"text {number}", tried=BAD)
        house.watch.tend()
        number += 1
    ended = house.registry.canaries.all()[-1]
    assert ended.status == "rolled_back"
    assert number < 100
    assert house.registry.resolve("shop@prod").version == 1
    assert house.serve("anything") is None  # the book was refreshed
    assert house.registry.canaries.log()[-1].actor == "canary rules"
    value = house.metrics.registry.get_sample_value
    assert value("hub_canaries_ended_total", {"outcome": "rolled_back"}) == 1


def test_a_version_that_loses_on_golden_lines_is_rolled_back(house: House) -> None:
    """Its signals are those of a sound one, and no request has come yet."""
    canary = start(house, promote_after=1)
    house.findings.put(canary.id, "pending")
    house.watch.tend()
    assert status(house) == "running"
    house.findings.put(canary.id, Comparison(55.9, 50.8, 0.002, 32))
    house.watch.tend()
    ended = house.registry.canaries.all()[-1]
    assert ended.status == "rolled_back"
    assert ended.reason.startswith("chrF++ of 32 golden lines is 50.8")
    assert house.registry.resolve("shop@prod").version == 1


def test_an_equal_version_stays_and_is_promoted_where_that_was_asked_for(house: House) -> None:
    start(house, promote_after=150)
    for number in range(250):
        house.serve(f"text {number}")
    house.watch.tend()
    assert status(house) == "running"
    for number in range(250, 400):
        house.serve(f"text {number}")
    house.watch.tend()
    assert status(house) == "promoted"
    assert house.registry.resolve("shop@prod").version == 2


def test_a_good_version_tried_behind_a_damaged_one_is_kept(house: House) -> None:
    """It loops, is sure of it, and is quick with words that are too few."""
    sure = replace(BAD, signals=Signals(-0.01, 0.2, 0.9), output_tokens=2)
    for stable in (BAD, sure):
        canary = start(house)
        for number in range(400):
            house.serve(f"text {number}", stable=stable)
            if number % 20 == 0:
                house.watch.tend()
        house.watch.tend()
        assert status(house) == "running"
        house.registry.canaries.end(canary.id, "cancelled")


def test_two_servers_decide_on_what_both_have_seen(house: House, root: Path) -> None:
    """Neither has seen enough alone."""
    alone, together = House(root, []), House(root, [])
    start(house)
    for one in (alone, together):
        one.book.refresh()
    for number in range(24):
        (house if number % 2 else together).serve(f"text {number}", tried=BAD)
    assert house.watch.shown(9)[0][1]["n.canary"] < 12
    house.watch.tend()
    assert status(house) == "running"
    together.watch.tend()
    assert status(house) == "rolled_back"
    house.watch.tend()  # finds it ended
    assert [one.event for one in house.registry.canaries.log()].count("canary_rolled_back") == 1
    for one in (alone, together):
        one.close()


def test_what_was_seen_survives_a_restart(house: House, root: Path) -> None:
    canary = start(house)
    for number in range(12):
        house.serve(f"text {number}", tried=BAD)
    house.watch.tend()
    before = house.evidence.read(canary.id)
    assert before["n.canary"] + before["n.stable"] == 12
    assert status(house) == "running"
    again = House(root, [])
    number = 12
    while status(house) == "running" and number < 200:
        again.serve(f"text {number}", tried=BAD)
        again.watch.tend()
        number += 1
    assert status(house) == "rolled_back"
    fresh = 0  # how long it would have taken from nothing
    start(house)
    while status(house) == "running":
        house.serve(f"fresh {fresh}", tried=BAD)
        house.watch.tend()
        fresh += 1
    assert number - 12 < fresh
    again.close()


def test_a_request_that_is_repeated_counts_once(house: House) -> None:
    canary = start(house)
    for _ in range(200):
        house.serve("the same text", tried=BAD, stable=BAD)
    house.watch.tend()
    sums = house.evidence.read(canary.id)
    assert sums["n.canary" if "n.canary" in sums else "n.stable"] == 1


def test_nothing_is_lost_while_the_registry_is_busy(house: House) -> None:
    canary = start(house)
    for number in range(10):
        house.serve(f"text {number}")

    class Busy:
        def add(self, canary_id: int, more: object) -> dict[str, float]:
            raise RegistryBusyError("busy")

        def read(self, canary_id: int) -> dict[str, float]:
            raise RegistryBusyError("busy")

    real, house.watch._evidence = house.watch._evidence, Busy()
    with pytest.raises(RegistryBusyError):
        house.watch.tend()
    house.serve("text 10")
    house.watch._evidence = real
    house.watch.tend()
    sums = house.evidence.read(canary.id)
    assert sums["n.canary"] + sums["n.stable"] == 11


def test_what_is_seen_of_a_canary_that_begins_meanwhile_is_kept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = type(house.book).running.fget
    assert before is not None

    def then_one_begins(book: CanaryBook) -> list[Canary]:
        running: list[Canary] = before(book)
        if not running:
            start(house)
            house.serve("Monday")
        return running

    monkeypatch.setattr(CanaryBook, "running", property(then_one_begins))
    house.watch.tend()
    house.watch.tend()
    (canary,) = house.registry.canaries.running()
    sums = house.evidence.read(canary.id)
    assert [value for key, value in sums.items() if key.startswith("n.")] == [1]


def test_an_older_look_does_not_replace_a_newer_one(house: House) -> None:
    """One server's threads look at the registry while a canary ends."""
    canary, read = start(house), house.registry.canaries.running

    def slow() -> list[Canary]:
        found = read()
        house.book._read = read
        house.registry.canaries.end(canary.id, "cancelled")
        newer.start()
        newer.join(0.2)  # it has to wait for this look
        return found

    newer = threading.Thread(target=house.book.refresh)
    house.book._read = slow
    house.book.refresh()
    newer.join()
    assert house.book.running == []


def test_a_canary_that_was_ended_elsewhere_is_forgotten(house: House) -> None:
    canary = start(house)
    house.serve("Monday")
    house.registry.canaries.end(canary.id, "cancelled")
    house.book.refresh()
    house.watch.tend()
    assert house.watch.shown(9) == []
    assert house.watch._seen == {}


def arm(canary: Canary, *, tried: bool = True) -> Arm:
    return Arm(canary, tried, b"key", "sha256:good")


def test_texts_say_what_they_say_of_a_version() -> None:
    values = values_of([GOOD, BAD], "sha256:good")
    assert values is not None
    assert set(values) == {signal.name for signal in SIGNALS}
    assert values["log_probability"] == pytest.approx(
        (-0.3 - 3.0) / 2
    )  # a warned one is the lowest
    assert (values["warned"], values["failed"]) == (0.5, 0.0)
    assert values["repetition"] == pytest.approx(0.4)
    assert values["slowness"] == pytest.approx(-8.296, abs=1e-3)  # log2(0.07 s / 22 tokens)


def test_what_an_adapter_is_not_to_blame_for_does_not_count() -> None:
    harmless = replace(GOOD, flags=(Flag.SPLIT, Flag.UNCERTAIN_LANGUAGE, Flag.UNKNOWN_CHARACTERS))
    values = values_of([harmless], "sha256:good")
    assert values is not None
    assert values["warned"] == 0
    for error in (DeadlineError("late"), QueueFullError("full"), TextError("empty")):
        assert values_of([ItemResult(error=error)], "sha256:good") is None
    assert values_of([ItemResult(text=" ")], "sha256:good") is None


@pytest.mark.parametrize(
    "error", [EngineError("e"), AdapterBindingError("b"), CorruptBlobError("c")]
)
def test_what_it_is_to_blame_for_does(error: HubError) -> None:
    values = values_of([ItemResult(error=error), GOOD], "sha256:good")
    assert values is not None
    assert values["failed"] == 0.5
    assert values_of([ItemResult(error=error)], "sha256:good") == {"failed": 1.0}


def test_a_text_that_another_version_had_to_translate_counts_as_warned() -> None:
    values = values_of([replace(GOOD, adapter_digest="")], "sha256:good")
    assert values is not None
    assert values["warned"] == 1


def test_a_canary_is_shown_while_it_runs(house: House) -> None:
    start(house, fraction=0.25)
    for number in range(40):
        house.serve(f"text {number}")
    value = house.metrics.registry.get_sample_value
    both = {"adapter": "shop", "alias": "prod"}
    assert value("hub_canary_fraction", {**both, "version": "2", "stable": "1"}) == 0.25
    served = [
        value("hub_canary_requests", {**both, "arm": name}) or 0 for name in ("stable", "canary")
    ]
    assert sum(served) == 40
    signal = {**both, "arm": "stable", "signal": "log_probability"}
    assert value("hub_canary_signal", signal) == pytest.approx(-0.3)
    evidence = value("hub_canary_evidence", both)
    assert evidence is not None
    assert evidence < 2
    house.registry.canaries.end(1, "cancelled")
    house.book.refresh()
    assert value("hub_canary_evidence", both) is None


class Noted:
    """Takes what is noted of arms."""

    def __init__(self) -> None:
        self.found: dict[int, list[HubError | None]] = {}

    def note(self, arm: Arm, items: Sequence[ItemResult]) -> None:
        self.found[arm.canary.id] = [item.error for item in items]


def test_of_a_call_that_fails_as_a_whole_each_canary_hears_its_own_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts in two languages, each with an adapter of its own, of which one is damaged."""
    canary = start(house)
    errors = [CorruptBlobError("damaged"), DeadlineError("late")]
    nothing: Any = None
    items, outcomes = [], []
    for number, error in enumerate(errors):
        route = Route(PAIR, None, arm=arm(replace(canary, id=number)))
        job = Job(number, "", (1,), (2,), Search(1, 8, 1.0, 1))
        plan = SegmentPlan(0, Segment(0, 1), "a", (1,), job)
        items.append(ItemPlan(number, "a", route, segments=[plan]))
        outcomes.append(Outcome(number, (), error, Timings()))

    async def planned(*_: object) -> list[ItemPlan]:
        return items

    async def run(*_: object) -> AsyncIterator[Outcome]:
        for outcome in outcomes:
            yield outcome

    monkeypatch.setattr(Translator, "_plan", planned)
    monkeypatch.setattr(Translator, "_run", run)
    noted: Any = Noted()
    worker: Any = SimpleNamespace(intake=nothing)
    translator = Translator(
        nothing, nothing, worker, house.metrics, nothing, nothing, canaries=noted
    )
    command = TranslateCommand(("a", "a"), "", "ko")
    with pytest.raises(CorruptBlobError):
        asyncio.run(translator.translate(command))
    assert noted.found == {number: [error] for number, error in enumerate(errors)}
