"""Stored glossaries: versions, limits, two writers at once, the command line."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from hub.cli import run
from hub.errors import CorruptError, GlossaryNotFoundError, InputError, RefError
from hub.glossaries import Glossaries, StoredGlossary, Term
from hub.languages import LanguagePair

PAIR = LanguagePair("en", "ko")
TERMS = [Term("cat", ("고양이",)), Term("dog", ("개", "강아지"))]


@pytest.fixture
def store(tmp_path: Path) -> Glossaries:
    return Glossaries(tmp_path)


def test_versions_count_up_and_do_not_change(store: Glossaries) -> None:
    first = store.put("animals", PAIR, TERMS)
    assert first.ref == store.put("animals", PAIR, TERMS).ref == "animals:1"  # the same again
    second = store.put("animals", PAIR, TERMS[:1])
    assert second.version == 2
    assert store.get("animals").terms == tuple(TERMS[:1])
    assert store.get("animals:1") == first
    assert store.for_pair("animals:1", PAIR).terms == tuple(TERMS)
    assert store.names() == ["animals"]
    store.remove("animals")
    assert store.names() == []
    with pytest.raises(GlossaryNotFoundError, match="no glossary is named 'animals'"):
        store.get("animals")


def test_what_is_not_there_is_told(store: Glossaries) -> None:
    store.put("animals", PAIR, TERMS)
    with pytest.raises(GlossaryNotFoundError, match="there is: animals"):
        store.get("plants")
    for wanted in ("9", "0", "x", "-1"):
        with pytest.raises(GlossaryNotFoundError, match="it has 1 alone"):
            store.get(f"animals:{wanted}")
    with pytest.raises(RefError):
        store.get("../animals")
    with pytest.raises(InputError, match=r"animals:1 is for en-ko, not en-de"):
        store.for_pair("animals", LanguagePair("en", "de"))
    assert store.for_pair("animals", LanguagePair("en-GB", "ko"))


@pytest.mark.parametrize(
    ("terms", "told"),
    [
        ([], "without terms"),
        ([Term("a", ())], "has 0 targets"),
        ([Term("a", ("b",) * 21)], "has 21 targets"),
        ([Term(" ", ("b",))], "not only blanks"),
        ([Term("a", ("",))], "0 characters"),
        ([Term("x" * 201, ("b",))], "201 characters"),
        ([Term(str(i), ("b",)) for i in range(10_001)], "10001 terms"),
        ([Term("a b", ("x",)), Term("c", ("x",)), Term("a  b", ("y",))], "number 1 and number 3"),
    ],
)
def test_bad_terms_are_refused(store: Glossaries, terms: list[Term], told: str) -> None:
    with pytest.raises(InputError, match=told):
        store.put("animals", PAIR, terms)
    assert store.names() == []


def test_an_exact_ref_never_comes_to_mean_other_terms(store: Glossaries, tmp_path: Path) -> None:
    store.put("animals", PAIR, TERMS)
    store.put("animals", PAIR, TERMS[:1])
    store.remove("animals")
    other = Glossaries(tmp_path)  # another process, which has read nothing yet
    assert other.put("animals", PAIR, TERMS[1:]).ref == "animals:3"
    for wanted in ("animals:1", "animals:2"):
        with pytest.raises(GlossaryNotFoundError, match="it has 3 alone"):
            store.get(wanted)
    store.remove("animals")
    assert store.put("animals", PAIR, TERMS).ref == "animals:4"


def test_a_damaged_file_is_told_and_can_be_replaced_or_removed(
    store: Glossaries, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.put("animals", PAIR, TERMS)
    store.put("plants", PAIR, TERMS)
    (tmp_path / "glossaries" / "animals" / "1.json").write_text("{}")
    store = Glossaries(tmp_path)
    with pytest.raises(CorruptError, match="store it again"):
        store.get("animals")
    assert [one.ref for one in store.newest()] == ["plants:1"]
    assert "animals/1.json cannot be read" in caplog.text
    assert store.put("animals", PAIR, TERMS).ref == "animals:2"
    (tmp_path / "glossaries" / "animals" / "2.json").write_text("{}")
    Glossaries(tmp_path).remove("animals")
    assert Glossaries(tmp_path).names() == ["plants"]


@pytest.mark.parametrize("name", ["01.json", "0.json", "1x.json", "\u0661.json"])
def test_files_of_other_names_are_no_versions(store: Glossaries, tmp_path: Path, name: str) -> None:
    store.put("animals", PAIR, TERMS)
    (tmp_path / "glossaries" / "animals" / name).write_text("{}")
    assert store.get("animals").version == 1
    store.remove("animals")
    assert store.names() == []


@pytest.mark.parametrize("name", ["animals:1", " animals", "..", "", "a/b"])
def test_a_glossary_is_removed_by_its_own_name(store: Glossaries, name: str) -> None:
    store.put("animals", PAIR, TERMS)
    with pytest.raises(RefError):
        store.remove(name)
    assert store.names() == ["animals"]


def test_writers_at_once_lose_nothing(store: Glossaries) -> None:
    def put(number: int) -> int:
        return store.put("animals", PAIR, [Term(str(number), ("x",))]).version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(put, range(40)))
    assert sorted(versions) == list(range(1, 41))
    held = {store.get(f"animals:{number}").terms[0].source for number in versions}
    assert held == {str(number) for number in range(40)}


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--registry", str(tmp_path / "registry")]
    tsv, csv = tmp_path / "a.tsv", tmp_path / "b.csv"
    tsv.write_text("\ufeffcat\t고양이\n\ndog\t개\t강아지\n", encoding="utf-8")
    csv.write_text('"cat, big",고양이\n', encoding="utf-8")
    assert run(["glossaries", "add", "animals", str(tsv), "--pair", "en-ko", *where]) == 0
    assert run(["glossaries", "add", "animals", str(csv), "--pair", "en-ko", *where]) == 0
    assert capsys.readouterr().out == "animals:1 2 terms\nanimals:2 1 terms\n"
    assert run(["glossaries", "show", "animals:1", *where]) == 0
    assert capsys.readouterr().out == "cat\t고양이\ndog\t개\t강아지\n"
    assert run(["glossaries", "list", *where]) == 0
    assert "animals\t2\ten-ko\t1" in capsys.readouterr().out
    tsv.write_text("cat\n", encoding="utf-8")
    assert run(["glossaries", "add", "animals", str(tsv), "--pair", "en-ko", *where]) == 64
    assert "a.tsv:1: a term has a source and at least one target" in capsys.readouterr().err
    tsv.write_text("cat\ta\n\ndog\tb\ncat\tc\n", encoding="utf-8")
    assert run(["glossaries", "add", "animals", str(tsv), "--pair", "en-ko", *where]) == 64
    assert "a.tsv:4: term 'cat' is on line 1 already" in capsys.readouterr().err
    csv.write_text('"cat\n big",x\n"open', encoding="utf-8")
    assert run(["glossaries", "add", "animals", str(csv), "--pair", "en-ko", *where]) == 64
    assert "cannot read terms from" in capsys.readouterr().err
    tsv.write_bytes(b"\xff")
    assert run(["glossaries", "add", "animals", str(tsv), "--pair", "en-ko", *where]) == 64
    assert run(["glossaries", "remove", "animals", *where]) == 0
    assert run(["glossaries", "remove", "animals", *where]) == 66


def test_readers_and_writers_do_not_disturb_each_other(store: Glossaries) -> None:
    """Whoever meets a glossary that is just being removed is told that there is none."""
    others = [f"other-{number}" for number in range(4)]
    for name in others:
        store.put(name, PAIR, TERMS)

    def come_and_go() -> None:
        for number in range(60):
            store.put("animals", PAIR, TERMS[number % 2 :])
            with suppress(GlossaryNotFoundError):
                store.remove("animals")

    def read() -> None:
        for _ in range(60):
            assert {one.name for one in store.newest()} >= set(others)
            with pytest.raises(GlossaryNotFoundError):
                store.for_pair("animal", PAIR)
            with suppress(GlossaryNotFoundError):
                store.get("animals")

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for work in (come_and_go, come_and_go, read, read)]:
            done.result()
    assert not [path for path in (store._root).iterdir() if path.name.startswith(".")]


def test_names_that_are_not_allowed_do_not_exist(store: Glossaries) -> None:
    for name in ("mine", "theirs"):
        store.put(name, PAIR, TERMS)

    def own(name: str) -> bool:
        return name.startswith("mine")

    assert [one.name for one in store.newest(own)] == ["mine"]
    assert store.for_pair("mine", PAIR, own).terms == tuple(TERMS)
    said = []
    for name in ("theirs", "nobodys"):
        with pytest.raises(GlossaryNotFoundError) as caught:
            store.for_pair(name, PAIR, own)
        said.append(caught.value.message.replace(name, "NAME"))
    assert said[0] == said[1] == "no glossary is named 'NAME'; there is: mine"


def test_a_version_of_any_length_is_told_as_missing(store: Glossaries) -> None:
    store.put("shop", PAIR, [Term("a", ("eins",))])
    for wanted in ("9" * 5000, "0" * 5000 + "1", "99999999999"):
        with pytest.raises(GlossaryNotFoundError, match="no version"):
            store.get(f"shop:{wanted}")


def test_a_number_that_was_stored_and_removed_meanwhile_is_not_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Glossaries(tmp_path), Glossaries(tmp_path)
    ours.put("shop", PAIR, [Term("a", ("eins",))])
    write = ours._write

    def late(made: StoredGlossary) -> bool:
        monkeypatch.undo()
        assert theirs.put("shop", PAIR, [Term("b", ("zwei",))]).version == made.version == 2
        theirs.remove("shop")
        return write(made)

    monkeypatch.setattr(ours, "_write", late)
    assert ours.put("shop", PAIR, [Term("c", ("drei",))]).version == 3
    assert ours.get("shop").terms == (Term("c", ("drei",)),)
    with pytest.raises(GlossaryNotFoundError):
        ours.get("shop:2")
