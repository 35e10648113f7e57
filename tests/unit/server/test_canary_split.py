from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.client import HubClient
from hub.commands.texts import InputText
from hub.commands.translate import _held_together
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.routing_keys import whole_key
from server.messages import ItemResult, TranslateCommand, TranslateResult
from server.quality.canary.split import request_key, takes_canary
from server.translation.long_lists import translate_list, translate_texts

texts = st.lists(st.text(max_size=8), max_size=4)


def key(text: str, tenant: str = "") -> bytes:
    return request_key(tenant, "", "ko", [text])


@given(one=texts, other=texts)
def test_only_the_same_texts_have_the_same_key(one: list[str], other: list[str]) -> None:
    keys = [request_key("t", "", "ko", texts) for texts in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_lone_surrogate_has_a_key() -> None:
    assert key("\ud800") != key("?")


def test_tenants_are_assigned_apart_and_a_callers_own_key_holds_texts_together() -> None:
    assert key("Monday", "a") != key("Monday", "b")
    assert request_key("a", "", "ko", ["x"]) != request_key("a", "", "de", ["x"])
    document = [request_key("a", "document 7", "ko", [text]) for text in ("Monday", "Tuesday")]
    assert document[0] == document[1]
    assert document[0] != request_key("b", "document 7", "ko", ["Monday"])
    assert document[0] != request_key("a", "", "ko", ["document 7"])


def test_the_share_of_the_canary_is_what_was_asked_for() -> None:
    for fraction in (0.001, 0.1, 0.5, 0.9):
        taken = sum(takes_canary("salt", key(str(number)), fraction) for number in range(20_000))
        deviation = (20_000 * fraction * (1 - fraction)) ** 0.5
        assert abs(taken - 20_000 * fraction) < 4 * deviation


@given(fraction=st.floats(0.001, 0.9), more=st.floats(0, 0.1))
def test_a_larger_share_keeps_who_had_the_canary(fraction: float, more: float) -> None:
    for number in range(20):
        if takes_canary("salt", key(str(number)), fraction):
            assert takes_canary("salt", key(str(number)), fraction + more)


def test_two_canaries_do_not_try_the_same_requests() -> None:
    keys = [key(str(number)) for number in range(4000)]
    both = sum(takes_canary("one", one, 0.5) and takes_canary("other", one, 0.5) for one in keys)
    assert abs(both - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5


class Recorder:
    """Takes commands of two texts at most, and notes what they are assigned by."""

    limits = SimpleNamespace(max_contents=2)

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        one = command
        self.keys.append(request_key(one.tenant, one.routing_key, one.target, one.contents))
        return TranslateResult(tuple(map(ItemResult, one.contents)), "en", "ko", 0, {})


def test_a_list_that_is_translated_in_parts_is_assigned_as_a_whole() -> None:
    whole: Any = Recorder()
    command = TranslateCommand(("Monday", "Tuesday", "Friday", "May", "June"), "en", "ko")
    asyncio.run(translate_list(whole, command))
    assert len(whole.keys) == 3
    assert len(set(whole.keys)) == 1
    short: Any = Recorder()
    asyncio.run(translate_list(short, TranslateCommand(("Monday", "Tuesday"), "en", "ko")))
    assert short.keys == [request_key("", "", "ko", ["Monday", "Tuesday"])]  # as any other command


def test_so_is_a_document_of_texts_of_several_kinds() -> None:
    recorder: Any = Recorder()
    texts = [("Monday", "text/plain"), ("<b>May</b>", "text/html"), ("June", "text/plain")]
    command = TranslateCommand((), "en", "ko")
    result = asyncio.run(translate_texts(recorder, command, [*texts, *texts]))
    assert [item.text for item in result.items] == [text for text, _ in [*texts, *texts]]
    assert len(recorder.keys) == 3
    assert len(set(recorder.keys)) == 1


def test_a_client_that_sends_a_list_in_parts_holds_them_together() -> None:
    asked: list[pb.TranslateTextRequest] = []

    def call(_: Any, method: Any, request: pb.TranslateTextRequest, deadline: Any) -> Any:
        asked.append(pb.TranslateTextRequest.FromString(request.SerializeToString()))
        return pb.TranslateTextResponse()

    with pytest.MonkeyPatch.context() as patch, HubClient("127.0.0.1:1") as client:
        patch.setattr(HubClient, "_call", call)
        object.__setattr__(client, "_max_contents", 2)
        client.translate(["Monday", "Tuesday", "Friday"], "en", "ko")
        client.translate(["Monday", "Tuesday"], "en", "ko")
    assert [list(one.contents) for one in asked] == [
        ["Monday", "Tuesday"], ["Friday"], ["Monday", "Tuesday"],
    ]  # fmt: skip
    first, second, single = (one.routing_key for one in asked)
    assert first == second == whole_key("ko", ["Monday", "Tuesday", "Friday"])
    assert single == ""


def test_lines_of_one_input_are_held_together() -> None:
    batches = [[InputText("Monday", 1)], [InputText("Tuesday", 2)]]
    keyed = list(_held_together(iter(batches), "ko"))
    assert [batch for _, batch in keyed] == batches
    assert {key for key, _ in keyed} == {whole_key("ko", ["Monday"])}
