from __future__ import annotations

from pathlib import Path

import pytest

from hub.bases import open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.errors import GlossaryNotFoundError
from hub.glossaries import Glossaries, Term
from hub.languages import LanguagePair
from server.messages import Flag, GlossaryChoice
from server.translation.glossary import Found, Glossary, GlossaryShelf, TermEncoder, missing


def found(sentence: str, *pairs: tuple[str, str], ignore_case: bool = False) -> list[str]:
    terms = [Term(source, (target,)) for source, target in pairs]
    return [one.written for one in Glossary(terms, ignore_case=ignore_case).find(sentence)]


@pytest.mark.parametrize(
    ("sentence", "terms", "expected"),
    [
        ("A cat and cats.", ["cat"], ["cat"]),
        ("concatenate cat", ["cat"], ["cat"]),
        ("New York is new", ["New", "New York"], ["New York"]),
        ("the-cat, cat's (cat)", ["cat"], ["cat", "cat", "cat"]),
        ("C++ and C#", ["C++", "C#"], ["C++", "C#"]),
        ("cafe\u0301 au lait", ["caf\u00e9"], ["caf\u00e9"]),
        ("two  \n words", ["two words"], ["two words"]),
        ("東京都に住む", ["東京"], ["東京"]),
        ("서울에서 서울", ["서울"], ["서울"]),
        ("Cat", ["cat"], []),
        ("nothing", ["cat"], []),
    ],
)
def test_terms_are_found(sentence: str, terms: list[str], expected: list[str]) -> None:
    assert found(sentence, *((term, "x") for term in terms)) == expected


def test_any_case_where_it_is_asked_for() -> None:
    assert found("CAT Cat cat STRASSE", ("cat", "x"), ("straße", "y"), ignore_case=True) == [
        "CAT", "Cat", "cat", "STRASSE",
    ]  # fmt: skip


def test_the_source_s_case_may_be_the_target_s() -> None:
    glossary = Glossary([Term("cat", ("katze", "kater"))], ignore_case=True)
    assert [one.targets for one in glossary.find("Cat, CAT, cat")] == [
        ("katze", "kater", "Katze", "Kater"),
        ("katze", "kater", "KATZE", "KATER"),
        ("katze", "kater"),
    ]


PAIR = LanguagePair("en", "de")


def test_a_request_s_terms_win_over_stored_ones(tmp_path: Path) -> None:
    store = Glossaries(tmp_path)
    store.put("pets", PAIR, [Term("cat", ("b",)), Term("dog", ("c",)), Term("cat food", ("d",))])
    shelf = GlossaryShelf(store)
    choice = GlossaryChoice(stored="pets", terms=(Term("cat", ("a",)),))
    for _ in range(2):
        found = glossary(shelf, choice).find("a cat, cat food, a dog")
        assert [one.targets[0] for one in found] == ["a", "d", "c"]
    found = glossary(shelf, GlossaryChoice(stored="pets:1")).find("a cat")
    assert [one.targets for one in found] == [("b",)]
    assert shelf.of(GlossaryChoice(), PAIR) is None


def test_a_stored_glossary_is_made_ready_once_and_followed(tmp_path: Path) -> None:
    store = Glossaries(tmp_path)
    store.put("pets", PAIR, [Term("Cat", ("b",))])
    shelf = GlossaryShelf(store)
    first = shelf.of(GlossaryChoice(stored="pets"), PAIR)
    assert shelf.of(GlossaryChoice(stored="pets"), PAIR) is first
    loose = glossary(shelf, GlossaryChoice(stored="pets", ignore_case=True))
    assert [one.written for one in loose.find("cat")] == ["cat"]
    store.put("pets", PAIR, [Term("Cat", ("c",))])
    assert glossary(shelf, GlossaryChoice(stored="pets")).find("Cat")[0].targets[0] == "c"
    store.remove("pets")
    with pytest.raises(GlossaryNotFoundError):
        shelf.of(GlossaryChoice(stored="pets:1"), PAIR)


def glossary(shelf: GlossaryShelf, choice: GlossaryChoice) -> Glossary:
    found = shelf.of(choice, PAIR)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("forms", "output", "there"),
    [
        (("Haus",), "Das Haus steht", True),
        (("Haus",), "Hausboot", False),
        (("Haus", "Hauses"), "des Hauses", True),
        (("18:56",), "土曜日18:56年", True),
        (("ペルー",), "ペルーシェル", True),  # no words are told apart
        (("C++",), "in C++.", True),
        (("caf\u00e9",), "cafe\u0301", True),
    ],
)
def test_misses(forms: tuple[str, ...], output: str, there: bool) -> None:
    told = missing([Found("term", forms)], output)
    assert told == () if there else told[0].flag is Flag.GLOSSARY_MISS
    if not there:
        assert told[0].subjects == (f"term \u2192 {' | '.join(forms)}",)


@pytest.fixture(scope="module")
def tokenizer() -> BaseTokenizer:
    return load_tokenizer(open_base())


@pytest.mark.parametrize(
    ("form", "language"),
    [("Oktober", "de"), ("New York", "de"), ("서울", "ko"), ("東京", "ja"), ("Москва", "ru"),
     ("กรุงเทพ", "th"), ("쀍", "ko")],
)  # fmt: skip
def test_a_form_s_tokens_spell_it(tokenizer: BaseTokenizer, form: str, language: str) -> None:
    encoder = TermEncoder(tokenizer)
    (forms,) = encoder.constraints([Found("x", (form,))], language)
    for ids in forms:
        assert tokenizer.decode(ids) == form
    spaced = language not in ("ja", "th")
    assert bool(encoder.joiners([Found("x", (form,))])) is spaced
    if not spaced:
        assert any(not tokenizer.tokens[ids[0]].startswith("\u2581") for ids in forms)


def test_joiners_are_what_would_go_on_with_a_word(tokenizer: BaseTokenizer) -> None:
    joiners = TermEncoder(tokenizer).joiners([Found("x", ("Haus",))])
    pieces = {tokenizer.tokens[token] for token in joiners}
    assert "s" in pieces
    assert not any(piece.startswith("\u2581") for piece in pieces)
    assert {".", ",", "-"}.isdisjoint(pieces)


@pytest.mark.parametrize("ignore_case", [False, True])
def test_ten_thousand_terms_beside_a_long_text(ignore_case: bool) -> None:
    terms = [Term(f"word{number} thing{number}", ("x",)) for number in range(10_000)]
    text = "word7 thing " * 2000 + "a word5 thing5 here"
    (one,) = Glossary(terms, ignore_case=ignore_case).find(text)
    assert one.written == "word5 thing5"
