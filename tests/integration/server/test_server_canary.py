"""A canary on a running server: who serves what, how it ends, and by whom it may be ended."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from hub.asking import Routing
from hub.canary_calls import end_canary, list_canaries, set_alias, start_canary
from hub.cli import run
from hub.client import Decoding
from hub.errors import (
    AdapterBindingError,
    AliasMovedError,
    CanaryEndedError,
    CanaryRunningError,
    InputError,
)
from hub.registry import AdapterVersion

from .conftest import House, Weights

SHORT = Decoding(max_output_tokens=8)


@pytest.fixture(scope="module")
def house(open_house: Callable[..., Iterator[House]]) -> Iterator[House]:
    """A server of its own: an alias `prod` routes the texts of its pair."""
    yield from open_house(slots=2, max_beam=8)


def spoil(weights: Weights) -> None:
    """Make the adapter one that the engine refuses to bind."""
    for name in weights:
        if name.endswith("up.weight"):
            weights[name] = weights[name] * 1e30


def publish(house: House, name: str, **second: object) -> tuple[AdapterVersion, AdapterVersion]:
    versions = (
        house.publisher.bottleneck(name, seed=1),
        house.publisher.bottleneck(name, **{"seed": 2, **second}),
    )
    house.publisher.registry.set_alias(name, "prod", 1, None)
    return versions


def served(house: House, text: str, adapter: str, routing: Routing | None = None) -> str:
    reply = house.client.translate(
        [text], "en", "ko", adapter=adapter, decoding=SHORT, routing=routing
    )
    return reply.items[0].adapter_digest


def test_traffic_is_split_by_the_text_and_the_reply_names_the_version(house: House) -> None:
    stable, tried = publish(house, "split")
    canary = start_canary(house.client, "split", "prod", 2, 0.5)
    assert (canary.stable, canary.canary, canary.status) == (1, 2, "running")
    found = {text: served(house, text, "split@prod") for text in map(str, range(24))}
    assert set(found.values()) == {stable.digest, tried.digest}
    assert {text: served(house, text, "split@prod") for text in found} == found
    keyed = {served(house, text, "split@prod", Routing(key="document 1")) for text in found}
    assert len(keyed) == 1
    assert served(house, "1", "split:1") == stable.digest
    end_canary(house.client, "split", "prod", promote=False)


def test_a_call_is_served_by_one_version(house: House) -> None:
    publish(house, "whole")
    start_canary(house.client, "whole", "prod", 2, 0.5)
    for number in range(6):
        texts = [f"{number} {word}" for word in ("one", "two", "three", "four", "five")]
        reply = house.client.translate(texts, "en", "ko", adapter="whole@prod", decoding=SHORT)
        assert len({item.adapter_digest for item in reply.items}) == 1
    end_canary(house.client, "whole", "prod", promote=False)


def test_what_was_seen_is_listed_and_lasts(house: House) -> None:
    publish(house, "seen")
    start_canary(house.client, "seen", "prod", 2, 0.5)
    for number in range(12):
        served(house, f"text {number}", "seen@prod")
    house.application.core.translator.canaries.tend()
    (info,) = [one for one in list_canaries(house.client) if one.name == "seen"]
    assert info.arms["stable"].requests + info.arms["canary"].requests == 12
    assert {"log_probability", "warned", "failed"} <= set(info.arms["stable"].means)
    evidence = house.publisher.registry.evidence()
    assert evidence.read(info.id)["n.stable"] == info.arms["stable"].requests
    evidence.close()
    end_canary(house.client, "seen", "prod", promote=False)
    ended = [one for one in list_canaries(house.client, all_of_them=True) if one.name == "seen"]
    assert [one.status for one in ended] == ["cancelled"]
    assert [one for one in list_canaries(house.client) if one.name == "seen"] == []


def test_a_version_that_fails_is_rolled_back_by_itself(house: House) -> None:
    stable, _ = publish(house, "broken", spoil=spoil)
    start_canary(house.client, "broken", "prod", 2, 0.5)
    failed = Counter()
    for number in range(200):
        try:
            failed[not served(house, f"text {number}", "broken@prod")] += 1
        except AdapterBindingError:
            failed[True] += 1
        house.application.core.translator.canaries.tend()
        if not [one for one in list_canaries(house.client) if one.name == "broken"]:
            break
    assert 0 < failed[True] < 15
    assert {served(house, str(number), "broken@prod") for number in range(12)} == {stable.digest}
    told = house.publisher.registry.canaries.log("broken", "prod")[-1]
    assert (told.event, told.actor) == ("canary_rolled_back", "canary rules")
    assert told.reason.startswith("failed is 1, of the version in use 0")
    assert house.metric("hub_canaries_ended_total", outcome="rolled_back") >= 1


def test_calls_are_refused_by_their_reasons(house: House) -> None:
    publish(house, "refused")
    start = start_canary
    with pytest.raises(InputError, match=r"choose 0\.1 % to 90 %"):
        start(house.client, "refused", "prod", 2, 0.95)
    with pytest.raises(AliasMovedError, match="points at version 1"):
        start(house.client, "refused", "prod", 2, 0.1, expected=2)
    with pytest.raises(CanaryEndedError, match="no canary runs"):
        end_canary(house.client, "refused", "prod", promote=True)
    start(house.client, "refused", "prod", 2, 0.1)
    with pytest.raises(CanaryRunningError):
        start(house.client, "refused", "prod", 2, 0.1)
    set_alias(house.client, "refused", "prod", 2, 1)  # a move ends it
    assert [one for one in list_canaries(house.client) if one.name == "refused"] == []


@pytest.fixture
def command(house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line on the server's registry; return what it prints."""

    def call(*arguments: str) -> str:
        assert run([*arguments, "--registry", house.settings.registry]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    return call


@pytest.fixture
def remote(house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run it on the server itself."""

    def call(*arguments: str) -> str:
        assert run([*arguments, "--server", house.target]) == 0, capsys.readouterr()
        return capsys.readouterr().out

    return call


def test_the_command_line_tries_a_version_by_its_digest(
    house: House, command: Callable[..., str]
) -> None:
    _, tried = publish(house, "words")
    told = command("alias", "set", "words@prod", tried.digest, "--canary", "10%")
    assert "words@prod: version 2 serves 10 % of the requests, version 1 the others" in told
    listed = json.loads(command("canary", "list", "--json"))
    (info,) = [one for one in listed if one["name"] == "words"]
    assert (info["name"], info["fraction"], info["canary"]) == ("words", 0.1, 2)
    assert "0.00 of 2" in command("canary", "list")
    told = command("canary", "promote", "words@prod", "--reason", "looks good")
    assert told == "words@prod: canary promoted, the alias points at version 2\n"
    assert command("alias", "set", "words@prod", "1") == "words@prod: 2 → 1\n"
    events = [one["event"] for one in json.loads(command("alias", "log", "words@prod", "--json"))]
    assert events == ["moved", "canary_started", "canary_promoted", "moved", "moved"]


def test_the_command_line_does_the_same_at_a_server(
    house: House, remote: Callable[..., str]
) -> None:
    _, tried = publish(house, "far")
    assert "version 2 serves 25 %" in remote("alias", "set", "far@prod", "2", "--canary", "0.25")
    assert "far@prod" in remote("canary", "list")
    assert "cancelled" in remote("canary", "cancel", "far@prod")
    assert remote("alias", "set", "far@prod", tried.digest) == "far@prod: 1 → 2\n"
    assert remote("alias", "set", "far@next", "1") == "far@next: – → 1\n"
    assert house.publisher.registry.resolve("far@prod").version == 2
