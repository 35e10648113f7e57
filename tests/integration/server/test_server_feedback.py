"""SubmitPostEdits on a real server: what is stored, measured, refused and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli import build_app
from hub.client import Decoding, HubClient
from hub.commands import register
from hub.errors import (
    AdapterNotFoundError,
    FeedbackOffError,
    HubError,
    InputError,
    LanguageError,
    PairMismatchError,
    QuotaError,
    TextError,
)
from hub.feedback.location import feedback_url
from hub.feedback.records import PostEdit
from hub.feedback.store import FeedbackStore
from hub.keys import KeyFile
from hub.languages import LanguagePair
from hub.ter import changes_of
from server.quality.hter import MAX_WORDS, HterMeter, Measured

SHORT = Decoding(max_output_tokens=4)
EN_KO, EN_DE = LanguagePair.parse("en-ko"), LanguagePair.parse("en-de")


def stored(house: Any) -> list[Any]:
    store = FeedbackStore(feedback_url(house.settings), create=False)
    try:
        return store.edits()
    finally:
        store.close()


def test_a_correction_is_stored_with_what_made_the_translation(house: Any) -> None:
    version = house.publisher.lora("corrected", seed=61)
    reply = house.client.translate(["Monday"], "en", "ko", adapter="corrected", decoding=SHORT)
    item = reply.items[0]
    edit = PostEdit(EN_KO, "Monday", item.text or "x", "월요일", item.adapter_digest)
    sent = house.client.submit_post_edits([edit], request_id="one")
    assert (sent.stored, sent.request_id, sent.repeated_call) == (1, "one", False)
    again = house.client.submit_post_edits([edit], request_id="one")
    assert (again.stored, again.repeated_call) == (1, True)
    house.application.core.feedback.meter.wait()
    (found,) = [one for one in stored(house) if one.request_id == "one"]
    assert (found.edit.adapter, found.edit.adapter_digest) == (version.ref, version.digest)
    assert found.base_digest == house.publisher.base.digest
    assert (found.edit.source, found.edit.correction) == ("Monday", "월요일")
    changes, words = changes_of(edit.hypothesis, "월요일", "ko")
    assert found.hter == changes / words
    labels = {"pair": "en-ko", "adapter": "corrected"}
    assert house.metric("hub_hter_count", **labels) == 1
    assert house.metric("hub_hter_sum", **labels) == changes / words
    assert house.metric("hub_post_edits_total", **labels) == 1


def test_without_an_id_every_call_is_a_new_one(house: Any) -> None:
    edit = PostEdit(EN_DE, "Tuesday", "", "Dienstag")
    first, second = (house.client.submit_post_edits([edit]) for _ in range(2))
    assert first.request_id != second.request_id
    found = [one for one in stored(house) if one.edit.source == "Tuesday"]
    assert [one.request_id for one in found] == [first.request_id, second.request_id]
    assert {(one.edit.adapter, one.hter) for one in found} == {("", None)}


@pytest.mark.parametrize(
    ("change", "error", "field"),
    [
        ({"source": " "}, TextError, "source_text"),
        ({"correction": ""}, TextError, "post_edited_text"),
        ({"hypothesis": "a\0b"}, TextError, "translated_text"),
        ({"correction": "x" * 30_001}, TextError, "post_edited_text"),
        ({"adapter_digest": "sha256:ab"}, InputError, "adapter_digest"),
        ({"adapter_digest": "sha256:" + "0" * 64}, AdapterNotFoundError, ""),
        ({"adapter_digest": "sha256:" + "0" * 64, "hypothesis": ""}, InputError, "adapter_digest"),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is(
    house: Any, change: dict[str, str], error: type[HubError], field: str
) -> None:
    before = len(stored(house))
    good = {"source": "a", "hypothesis": "b", "correction": "c"}
    edits = [PostEdit(EN_KO, **good), PostEdit(EN_KO, **(good | change))]
    with pytest.raises(error) as caught:
        house.client.submit_post_edits(edits)
    assert caught.value.field == (f"post_edits[1].{field}" if field else "")
    assert len(stored(house)) == before


def test_calls_are_bounded(house: Any) -> None:
    with pytest.raises(InputError, match="0 post-edits"):
        house.client.submit_post_edits([])
    with pytest.raises(InputError, match="send 1 to 256"):
        house.client.submit_post_edits([PostEdit(EN_KO, "a", "", "b")] * 257)
    for name in ("with blank", "ü", "x" * 129):
        with pytest.raises(InputError, match="request_id"):
            house.client.submit_post_edits([PostEdit(EN_KO, "a", "", "b")], request_id=name)
    taken = PostEdit(EN_KO, "taken", "", "b")
    house.client.submit_post_edits([taken], request_id="taken")
    with pytest.raises(InputError, match="was used for other"):
        house.client.submit_post_edits([PostEdit(EN_KO, "a", "", "b")], request_id="taken")


def test_a_digest_of_another_pair_and_unknown_languages_are_refused(house: Any) -> None:
    version = house.publisher.lora("korean", seed=62)
    edit = PostEdit(EN_DE, "Monday", "x", "Montag", version.digest)
    with pytest.raises(PairMismatchError, match="translates en-ko, not en-de"):
        house.client.submit_post_edits([edit])

    class Odd:
        source, target = "en", "xx-nowhere-at-all"

    with pytest.raises(LanguageError):
        house.client.submit_post_edits([PostEdit(Odd(), "a", "", "b")])  # type: ignore[arg-type]


def test_an_edit_that_is_too_long_is_stored_and_not_measured(house: Any) -> None:
    long = " ".join(["word"] * (MAX_WORDS + 1))
    before = house.metric("hub_hter_unmeasured_total", reason="too_long")
    house.client.submit_post_edits([PostEdit(EN_DE, "long", long, long)])
    assert house.metric("hub_hter_unmeasured_total", reason="too_long") == before + 1
    assert [one.hter for one in stored(house) if one.edit.source == "long"] == [None]


def test_a_meter_whose_process_dies_starts_another() -> None:
    found: list[Measured] = []
    meter = HterMeter(found.append)
    edit = PostEdit(EN_DE, "a", "das ist ein Haus", "das war ein Haus")
    assert meter.offer(1, edit) == ""
    meter.wait()
    meter._end_child()
    for number in (2, 3):
        meter.offer(number, edit)
    meter.wait()
    meter.close()
    assert {(one.number, one.changes, one.words) for one in found} >= {(1, 1, 4), (3, 1, 4)}
    assert meter._child is None


def test_a_server_may_keep_none(open_house: Callable[..., Iterator[Any]]) -> None:
    houses = open_house(feedback_url="off")
    house = next(houses)
    with pytest.raises(FeedbackOffError, match="'off'"):
        house.client.submit_post_edits([PostEdit(EN_KO, "a", "", "b")])
    houses.close()


def test_tenants_see_their_own_adapters_and_pay_for_their_characters(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    file, _, key = KeyFile().added("acme", ["feedback"])
    file = file.with_tenant("acme", adapters=["acme-*"], characters_per_minute=100)
    file.write(tmp_path / "keys.json")
    store = tmp_path / "store.sqlite3"
    houses = open_house(keys=str(tmp_path / "keys.json"), feedback_url=str(store))
    house = next(houses)
    secret = house.publisher.lora("secret", seed=63)
    with HubClient(house.target, timeout=30, key=key) as client:
        with pytest.raises(AdapterNotFoundError, match="none of your adapters"):
            client.submit_post_edits([PostEdit(EN_KO, "a", "b", "c", secret.digest)])
        client.submit_post_edits([PostEdit(EN_KO, "a" * 90, "", "b")], request_id="mine")
        with pytest.raises(QuotaError):
            client.submit_post_edits([PostEdit(EN_KO, "a" * 90, "", "b")])
    houses.close()
    opened = FeedbackStore(str(store), create=False)
    assert [(one.tenant, one.request_id) for one in opened.edits()] == [("acme", "mine")]
    opened.close()


def test_the_command_line_shows_exports_and_removes(house: Any) -> None:
    version = house.publisher.lora("shown", seed=64)
    edits = [
        PostEdit(EN_KO, f"line {n}\tof text", "번역 하나", f"번역 {n}", version.digest)
        for n in range(3)
    ]
    house.client.submit_post_edits(edits)
    house.application.core.feedback.meter.wait()
    runner, app = CliRunner(), build_app(())
    register(app)

    def hub(*arguments: str) -> str:
        done = runner.invoke(app, ["feedback", *arguments, "--registry", house.settings.registry])
        assert done.exit_code == 0, done.output
        return done.stdout

    (line,) = json.loads(hub("report", "--adapter", "shown", "--json"))
    assert (line["edits"], line["measured"], line["adapter"]) == (3, 3, version.ref)
    assert line["hter"] == 3 / 6
    assert hub("list", "--adapter", "shown:1", "--last", "2").count("\t0.500\t") == 2
    exported = [json.loads(one) for one in hub("export", "--adapter", "shown").splitlines()]
    assert [one["target"] for one in exported] == ["번역 0", "번역 1", "번역 2"]
    assert exported[0]["adapter_digest"] == version.digest
    plain = hub("export", "--adapter", "shown", "--format", "tsv").splitlines()
    assert plain[0] == "line 0 of text\t번역 0"
    hub("remove", "--adapter", "shown")
    assert hub("export", "--adapter", "shown") == ""
    refused = runner.invoke(app, ["feedback", "remove"])
    assert isinstance(refused.exception, InputError)
