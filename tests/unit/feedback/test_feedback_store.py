"""The store of post-edits: whole submissions, each once, and what is read of them."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sacrebleu.metrics.ter import TER
from sqlalchemy import create_engine

from hub.errors import InputError, RegistryAccessError, SettingsError
from hub.feedback import schema
from hub.feedback.location import feedback_url, shown
from hub.feedback.records import PostEdit
from hub.feedback.store import FeedbackStore, Wanted
from hub.languages import LanguagePair
from hub.settings import Settings
from hub.ter import changes_of

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
BASE = "sha256:" + "b" * 64
DATABASE = os.environ.get("HUB_TEST_DATABASE", "")
EN_KO = LanguagePair.parse("en-ko")


@pytest.fixture(params=["sqlite", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A SQLite file, and the empty database that HUB_TEST_DATABASE names, where it does."""
    if request.param == "sqlite":
        return str(tmp_path / "odd ? name#.sqlite3")
    if not DATABASE:
        pytest.skip("HUB_TEST_DATABASE names no database")
    engine = create_engine(DATABASE)
    schema.tables.drop_all(engine)
    engine.dispose()
    return DATABASE


@pytest.fixture
def store(place: str) -> Iterator[FeedbackStore]:
    opened = FeedbackStore(place)
    yield opened
    opened.close()


def edit(source: str = "Monday", correction: str = "월요일", **more: object) -> PostEdit:
    given = {"pair": EN_KO, "hypothesis": "화요일", "adapter_digest": DIGEST, "adapter": "a:1"}
    return PostEdit(source=source, correction=correction, **(given | more))  # type: ignore[arg-type]


def put(store: FeedbackStore, name: str, *edits: PostEdit, tenant: str = "t", day: int = 0) -> None:
    store.submit(tenant, name, BASE, edits, NOON + timedelta(days=day))


def test_what_is_stored_comes_back(store: FeedbackStore) -> None:
    receipt = store.submit("acme", "r1", BASE, [edit(), edit("Tuesday", "화요일")], NOON)
    first, second = store.edits()
    assert (first.id, second.id) == receipt.ids
    assert first.edit == edit()
    assert (first.tenant, first.request_id, first.base_digest) == ("acme", "r1", BASE)
    assert first.received_at == NOON
    assert first.hter is None


def test_a_repeated_call_stores_nothing_and_another_one_is_refused(store: FeedbackStore) -> None:
    first = store.submit("acme", "r1", BASE, [edit()], NOON)
    again = store.submit("acme", "r1", BASE, [edit()], NOON + timedelta(hours=1))
    assert (again.ids, again.repeated, first.repeated) == (first.ids, True, False)
    with pytest.raises(InputError, match="'r1' was used for other"):
        store.submit("acme", "r1", BASE, [edit("other")], NOON)
    store.submit("other", "r1", BASE, [edit("other")], NOON)  # ids are each tenant's own
    assert [one.tenant for one in store.edits()] == ["acme", "other"]


def test_threads_that_send_one_call_store_it_once(place: str) -> None:
    stores = [FeedbackStore(place) for _ in range(4)]
    receipts = []

    def send(one: FeedbackStore) -> None:
        receipts.append(one.submit("t", "same", BASE, [edit()], NOON))

    threads = [threading.Thread(target=send, args=(one,)) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].edits()) == 1
    assert sorted(one.repeated for one in receipts) == [False, True, True, True]
    for one in stores:
        one.close()


def test_what_is_wanted(store: FeedbackStore) -> None:
    put(store, "1", edit("a"), tenant="x")
    put(store, "2", edit("b", adapter="a:2", adapter_digest="sha256:" + "c" * 64), day=1)
    put(store, "3", edit("c", pair=LanguagePair.parse("en_GB-ko")), day=2)
    put(store, "4", edit("d", pair=LanguagePair.parse("en-de"), adapter="", adapter_digest=""))
    put(store, "5", edit("e", hypothesis="", adapter="", adapter_digest=""))
    put(store, "6", edit("f", adapter="ab:1"))

    def found(**wanted: object) -> str:
        return "".join(one.edit.source for one in store.edits(Wanted(**wanted)))  # type: ignore[arg-type]

    assert found(pair=EN_KO) == "abcef"
    assert found(pair=LanguagePair.parse("en_GB-ko")) == "c"
    assert found(tenant="x") == "a"
    assert found(adapter="a") == "abc"
    assert found(adapter="a:2") == "b"
    assert found(adapter=DIGEST) == "acf"
    assert found(adapter="base") == "d"
    assert found(since=NOON + timedelta(days=1)) == "bc"
    assert [one.edit.source for one in store.edits(newest=2)] == ["e", "f"]
    assert store.count(Wanted(pair=EN_KO)) == 5


def test_the_last_correction_of_a_text_counts(store: FeedbackStore) -> None:
    put(store, "1", edit("a", "first"), edit("b", "only"))
    put(store, "2", edit("a", "second"))
    put(store, "3", edit("a", "of another"), tenant="u")
    latest = [one.edit.correction for one in store.iterate(Wanted(), latest=True)]
    assert latest == ["only", "second", "of another"]


def test_more_than_a_page_is_read_in_order(store: FeedbackStore) -> None:
    for part in range(5):
        put(store, str(part), *(edit(f"{part}/{n}") for n in range(250)))
    put(store, "last", edit("last"))
    texts = [one.edit.source for one in store.iterate(Wanted())]
    assert len(texts) == len(set(texts)) == 1251
    assert texts[-1] == "last"


def test_hter_is_summed_up_over_the_words(store: FeedbackStore) -> None:
    put(store, "1", edit("a"), edit("b"), edit("c"), edit("d", adapter="", adapter_digest=""))
    one, two, _, base = store.edits()
    store.note_changes(one.id, 1, 10)
    store.note_changes(two.id, 2, 5)
    store.note_changes(base.id, 3, 0)  # a correction without words has no rate
    assert store.edits()[0].hter == 0.1
    assert store.edits()[3].hter is None
    ours, plain = store.summary()
    assert (ours.adapter, ours.edits, ours.measured, ours.hter) == ("a:1", 3, 2, 3 / 15)
    assert (plain.adapter, plain.edits, plain.hter) == ("base", 1, None)


def test_what_is_removed_stays_removed(store: FeedbackStore) -> None:
    put(store, "1", edit("a"), tenant="x")
    put(store, "2", edit("b"), tenant="y", day=1)
    assert store.remove(Wanted(tenant="x"), before=NOON) == 0
    assert store.remove(Wanted(), before=NOON + timedelta(hours=1)) == 1
    put(store, "1", edit("a"), tenant="x")  # a call that is repeated later brings nothing back
    assert [one.edit.source for one in store.edits()] == ["b"]


def test_a_store_that_is_not_there_is_empty_and_not_made(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite3"
    with_none = FeedbackStore(str(path), create=False)
    assert with_none.edits() == with_none.summary() == with_none.edits(newest=3) == []
    assert not path.exists()


def test_bad_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="feedback_url is no URL"):
        FeedbackStore("post gres://x")
    with pytest.raises(SettingsError, match="install its driver"):
        FeedbackStore("nosuch://host/db")
    with pytest.raises(RegistryAccessError, match="store of post-edits"):
        FeedbackStore(str(tmp_path / "no" / "folder" / "x.sqlite3"))
    with pytest.raises(SettingsError, match="switched off"):
        feedback_url(Settings(feedback_url="off"))
    assert feedback_url(Settings(registry=str(tmp_path))) == str(tmp_path / "feedback.sqlite3")
    assert "hidden" not in shown("postgresql+psycopg://user:hidden@host/db")


def test_a_store_of_another_release_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.sqlite3"
    FeedbackStore(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE feedback_meta SET value = '7'")
    connection.close()
    with pytest.raises(SettingsError, match="schema 7"):
        FeedbackStore(str(path))


@pytest.mark.parametrize(
    ("language", "hypothesis", "correction"),
    [
        ("en", "the cat sat on mat", "the cat sat on the mat"),
        ("de", "auf der Matte saß die Katze", "die Katze saß auf der Matte"),
        ("en", "", "some words"),
        ("ko", "저는 학생 입니다", "저는 학생입니다"),
    ],
)
def test_changes_are_those_of_sacrebleu(language: str, hypothesis: str, correction: str) -> None:
    changes, words = changes_of(hypothesis, correction, language)
    assert 100 * changes / words == pytest.approx(
        TER().corpus_score([hypothesis], [[correction]]).score
    )


def test_scripts_without_spaces_count_characters() -> None:
    assert changes_of("ผมรักคุณ", "ผมรักเธอ", "th") == (3, 8)
    assert changes_of("我爱你", "我爱他", "zh") == (1, 3)
    assert changes_of("今日", "今夜", "ja") == (1, 2)
