"""Bad translations of routed adapters are made once more: a real base, a damaged adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hub.bases import Base, open_base
from hub.client import Handling, Routing
from hub.engine.shortlists import Shortlist
from hub.registry import AdapterVersion, Registry
from server.batching.intake import Intake
from server.messages import Candidate, Outcome, Timings, TranslateCommand
from server.translation.plans import Planner
from server.translation.second_try import _NO_TIME, SecondTries

SOURCE = "May 3, 2027"


def publish_lora(publisher: Any, base: Base, name: str, scale: float) -> AdapterVersion:
    """Publish a LoRA on the decoder's feed-forward; with a great scale it makes nonsense."""
    chance, width = np.random.default_rng(7), base.dimensions.d_model
    weights, rank = {}, 2
    for layer in range(base.architecture.decoder_layers):
        site = f"base_model.model.model.decoder.layers.{layer}.self_attn.v_proj"
        weights[f"{site}.lora_A.weight"] = chance.standard_normal((rank, width), np.float32)
        made = scale * chance.standard_normal((width, rank), np.float32)
        weights[f"{site}.lora_B.weight"] = made
    config = {
        "peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": rank, "lora_alpha": rank,
        "target_modules": r".*decoder.*self_attn\.v_proj", "bias": "none",
    }  # fmt: skip
    return publisher.publish(name, "en-ko", "lora", rank, config, weights)


@pytest.fixture(scope="module")
def rescued(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server on the embedded base; en-ko is routed to an adapter that makes nonsense."""
    folder = tmp_path_factory.mktemp("rescued")
    base = open_base()
    registry = Registry.open(str(folder / "registry"))
    from .conftest import Publisher

    publisher = Publisher(registry, base, folder / "scratch")
    broken = publish_lora(publisher, base, "broken", 500.0)
    publish_lora(publisher, base, "still", 0.0)
    registry.set_alias("broken", "prod", 1, None)
    registry.close()
    routes = folder / "routes.toml"
    routes.write_text(
        '[[route]]\npair = "en-ko"\ndomain = "ladder"\nadapter = "broken@prod"\nrungs = ["still"]\n'
    )
    houses = open_house(
        base="embedded", registry=str(folder / "registry"), routes=str(routes), max_beam=4,
        second_try=True,
    )  # fmt: skip
    house = next(houses)
    yield SimpleNamespace(
        client=house.client,
        broken=broken,
        metric=house.metric,
        target=house.target,
        planner=house.application.core.translator.planner,
    )
    houses.close()


def only(reply: Any) -> Any:
    (item,) = reply.items
    return item


def test_the_base_takes_over_and_it_is_said(rescued: Any) -> None:
    client = rescued.client
    plain = only(client.translate([SOURCE], "en", "ko", adapter="base"))
    bad = only(client.translate([SOURCE], "en", "ko", adapter="broken"))
    assert set(bad.warnings) & {"OFF_TARGET", "REPETITION", "EMPTY"}
    assert bad.text != plain.text
    assert (bad.second_try, bad.fallback) == (None, "")  # who names an adapter gets it
    labels = {"pair": "en-ko", "adapter": "broken", "outcome": "kept"}
    before = rescued.metric("hub_second_tries_total", **labels)
    item = only(client.translate([SOURCE], "en", "ko"))
    assert item.text == plain.text
    assert (item.adapter_version, item.adapter_digest, item.fallback) == ("", "", "QUALITY")
    assert item.requested_adapter == "broken@prod"
    made = item.second_try
    assert made.reason in bad.warnings
    assert (made.adapter_version, made.segments, made.kept) == ("", 1, 1)
    assert not set(item.warnings) & {"OFF_TARGET", "REPETITION", "EMPTY"}
    assert rescued.metric("hub_second_tries_total", **labels) == before + 1


def test_the_next_rung_goes_before_the_base(rescued: Any) -> None:
    item = only(rescued.client.translate([SOURCE], "en", "ko", routing=Routing(domain="ladder")))
    plain = only(rescued.client.translate([SOURCE], "en", "ko", adapter="base"))
    assert (item.adapter_version, item.fallback) == ("still:1", "QUALITY")
    assert item.second_try.adapter_digest == item.adapter_digest != ""
    assert item.text == plain.text  # that rung changes nothing


def test_who_requires_the_adapter_gets_it(rescued: Any) -> None:
    routing = Routing(require_adapter=True)
    item = only(rescued.client.translate([SOURCE], "en", "ko", routing=routing))
    assert item.adapter_version == rescued.broken.ref
    assert item.second_try is None


def test_each_sentence_of_a_stream_is_made_again_before_it_is_sent(rescued: Any) -> None:
    text = f"{SOURCE}\n\n2 hours ago"
    *parts, item = rescued.client.stream(text, "en", "ko")
    assert "".join(parts) == item.text
    assert (item.second_try.segments, item.second_try.kept) == (2, 2)
    whole = only(rescued.client.translate([text], "en", "ko"))
    assert whole.text == item.text
    handling = Handling(mime_type="text/html")
    marked = only(rescued.client.translate([f"<b>{SOURCE}</b>"], "en", "ko", handling=handling))
    assert marked.fallback == "QUALITY"


def test_a_second_try_that_is_as_bad_is_not_returned(rescued: Any) -> None:
    labels = {"pair": "en-ko", "adapter": "broken", "outcome": "discarded"}
    before = rescued.metric("hub_second_tries_total", **labels)
    text = "Monday, May 3, 2027"
    plain = only(rescued.client.translate([text], "en", "ko", adapter="base"))
    assert "OFF_TARGET" in plain.warnings  # the embedded base says the weekday in Turkish
    bad = only(rescued.client.translate([text], "en", "ko", adapter="broken"))
    assert "OFF_TARGET" in bad.warnings
    item = only(rescued.client.translate([text], "en", "ko"))
    assert item.second_try.kept == 0
    assert (item.text, item.adapter_version, item.fallback) == (bad.text, "broken:1", "")
    assert rescued.metric("hub_second_tries_total", **labels) == before + 1


def test_it_may_be_switched_off(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path, rescued: Any
) -> None:
    assert rescued.target  # the registry is not shared: another one is made
    base, registry = open_base(), Registry.open(str(tmp_path / "registry"))
    from .conftest import Publisher

    publish_lora(Publisher(registry, base, tmp_path / "scratch"), base, "broken", 500.0)
    registry.set_alias("broken", "prod", 1, None)
    registry.close()
    houses = open_house(base="embedded", registry=str(tmp_path / "registry"), second_try=False)
    house = next(houses)
    item = only(house.client.translate([SOURCE], "en", "ko"))
    assert (item.adapter_version, item.second_try) == ("broken:1", None)
    houses.close()


def test_a_call_is_noted_without_what_its_second_try_takes(
    rescued: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forecast adds what comes after the engine to each call, so a second try is none of it."""
    noted: list[tuple[str, float]] = []
    jobs: list[int] = []
    make = Planner.for_another

    def slow(*arguments: Any) -> Any:
        jobs.append(1)
        return make(*arguments)

    def note(intake: Intake, before: float, after: float) -> None:
        noted.append((len(jobs), after))

    monkeypatch.setattr(Planner, "for_another", slow)
    monkeypatch.setattr(Intake, "note_call", note)
    only(rescued.client.translate(["Monday, May 3, 2027"], "en", "ko"))
    assert (len(jobs), [made for made, _ in noted]) == (1, [0])
    *_, item = rescued.client.stream(SOURCE, "en", "ko")
    assert (item.second_try.kept, len(jobs), len(noted)) == (1, 2, 2)


def test_it_chooses_from_the_tokens_of_its_own_languages(
    rescued: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter of a variety goes to the base, which has the language."""
    planner: Planner = rescued.planner
    lists = {"en": Shortlist([1, 2]), "ko": Shortlist([1, 3])}
    monkeypatch.setattr(planner, "shortlist", lists.__getitem__)
    command = TranslateCommand((SOURCE,), "en", "ko", "base")
    (item,) = planner.routes(command)
    planner.split([item], command)
    (plan,) = item.segments
    assert plan.job.shortlist == lists["ko"]
    route = planner.router.route("ko", "en", "base")
    assert planner.for_another(plan, route, None).shortlist == lists["en"]


@pytest.mark.parametrize(
    ("left", "took", "expected"),
    [(10.0, 1.0, 108.0), (1.9, 1.0, _NO_TIME), (-1.0, 0.0, _NO_TIME), (None, 1.0, None)],
)
def test_there_must_be_time_for_it(left: float | None, took: float, expected: float) -> None:
    nothing: Any = None
    tries = SecondTries(
        nothing, nothing, nothing, nothing, nothing, True, lambda: False, 1, clock=lambda: 100.0
    )
    deadline = None if left is None else 100.0 + left
    command = TranslateCommand(("a",), "en", "ko", deadline=deadline)
    timings = Timings(accepted_at=50.0, ended_at=50.0 + took)
    plan: Any = SimpleNamespace(outcome=Outcome(1, (Candidate((1,), 0, 0, True),), None, timings))
    assert tries._deadline(plan, command) == expected
