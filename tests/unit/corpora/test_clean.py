"""Each filter removes what it says and nothing near it."""

from __future__ import annotations

import pytest

from hub.errors import CorpusError
from hub.languages import LanguagePair
from hub.scripts import LetterTable, script_of, scripts_of
from training.corpora.clean import FILTERS, Cleaning, normal

EN_KO = LanguagePair.parse("en-ko")


def removed_by(name: str, source: str, target: str, pair: str = "en-ko", value: str = "on") -> bool:
    built = dict(Cleaning.parse([f"{name}={value}"]).build(LanguagePair.parse(pair)))
    return built[name](source, target)


@pytest.mark.parametrize(
    ("name", "removed", "kept"),
    [
        ("control", ("a\x00b", "나"), ("a\tb\u2028c\u0085\x0b\x0c", "나")),
        ("control", ("a", "나\ufffd"), ("a\u200db", "나")),
        ("control", ("a\x9b", "나"), ("a\xa0b", "나")),
        ("max-length", ("x" * 1001, "나"), ("x" * 1000, "나")),
        # (20 + 10) against (110 + 10), and one more.
        ("ratio", ("x" * 111, "나" * 20), ("x" * 110, "나" * 20)),
        ("ratio", ("x" * 20, "나" * 111), ("Yes, of course I do.", "네")),
        ("identical", ("CAFÉ  x", "cafe\u0301 x".ljust(7)), ("a", "b")),
        ("identical", ("BBC", "bbc"), ("BBC", "비비시")),
        ("script", ("안녕하세요", "hello"), ("hello", "안녕하세요")),
        ("script", ("hello", "hello there"), ("BBC World", "BBC 월드 뉴스")),
        ("script", ("hello", "здравствуйте"), ("123 !?", "456")),
        ("numerals", ("10 minutes", "5분"), ("10 minutes", "십 분")),
        ("numerals", ("10 minutes", "5분"), ("30,000 won", "3만 원")),
        ("numerals", ("in 2021", "1998년"), ("in ２０２１", "2021년")),
        ("numerals", ("1 2 3", "4 5 6"), ("00", "0")),
    ],
)
def test_a_filter_removes_what_it_says(name, removed, kept) -> None:
    assert removed_by(name, *removed)
    assert not removed_by(name, *kept)


def test_settings_change_a_filter() -> None:
    assert removed_by("max-length", "x" * 11, "나", value="10")
    assert not removed_by("ratio", "x" * 111, "나" * 20, value="5")
    assert removed_by("min-length", "a", "나다", value="2")
    assert Cleaning.parse(["numerals=off"]).settings.keys() == Cleaning().settings.keys() - {
        "numerals"
    }
    assert Cleaning.parse(["ratio=3"]).settings["ratio"] == 3
    assert Cleaning.parse([]) == Cleaning()
    assert Cleaning.none().build(EN_KO) == ()


@pytest.mark.parametrize("word", ["magic=1", "ratio=much", "ratio=-1", "ratio=nan", "ratio=0", ""])
def test_unknown_settings_are_refused(word: str) -> None:
    with pytest.raises(CorpusError, match="--clean"):
        Cleaning.parse([word])


def test_every_filter_says_why_and_they_are_unlike() -> None:
    assert all(len(each.reason) > 15 for each in FILTERS)
    assert len({each.name for each in FILTERS}) == len(FILTERS)
    assert [each.name for each in FILTERS if each.default is None] == ["language"]


# Scripts of characters from Unicode's Scripts.txt.
@pytest.mark.parametrize(
    ("characters", "name"),
    [
        ("aZéßĐＡ", "LATIN"), ("жЫ", "CYRILLIC"), ("가힣", "HANGUL"), ("漢字豈", "CJK"),
        ("ひ", "HIRAGANA"), ("カｱ", "KATAKANA"), ("αΩ", "GREEK"), ("ع", "ARABIC"),
        ("अ", "DEVANAGARI"), ("ก", "THAI"), ("1,! ー々µ𝐀ª", ""),
    ],
)  # fmt: skip
def test_scripts_of_characters(characters: str, name: str) -> None:
    assert {script_of(character) for character in characters} == {name}


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("en", "LATIN"), ("ko", "HANGUL CJK"), ("ja", "HIRAGANA KATAKANA CJK"), ("ru", "CYRILLIC"),
        ("sr", "CYRILLIC LATIN"), ("sr-Latn", "LATIN"), ("zh", "CJK BOPOMOFO"),
        ("zh-Hant", "CJK BOPOMOFO"), ("crh", "LATIN CYRILLIC"), ("ar", "ARABIC"),
        ("hi", "DEVANAGARI"),
    ],
)  # fmt: skip
def test_scripts_of_languages(language: str, names: str) -> None:
    found = scripts_of(language)
    assert found
    assert found <= set(names.split())


def test_every_language_of_the_tables_has_a_script() -> None:
    from hub.language_tables import FLORES_200, M2M_100, MBART_50
    from hub.languages import canonical

    codes = {canonical(code) for table in (FLORES_200, M2M_100, MBART_50) for code in table.split()}
    assert len(codes) > 190
    assert {code for code in codes if not scripts_of(code)} == set()


def test_share_of_letters() -> None:
    table = LetterTable(scripts_of("ko"))
    assert table.share("가나다 abc 123") == 0.5
    assert table.share("가나다") == 1.0
    assert table.share("123") == 1.0
    assert table.share("abc") == 0.0


def test_normal_form() -> None:
    assert normal("  Caf\u00e9\u2003au  LAIT\n") == normal("cafe\u0301 au lait") == "café au lait"
    assert normal("a") != normal("b")


def test_language_identification_is_an_extra() -> None:
    pytest.importorskip("py3langid")
    german = "Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter."
    english = "This is quite an ordinary English sentence about the weather."
    french = "Ceci est une phrase française tout à fait ordinaire sur le temps."
    assert removed_by("language", english, french, "en-de", "0.5")
    assert not removed_by("language", english, german, "en-de", "0.5")
    assert not removed_by("language", "Yes.", "Oui.", "en-de", "0.5")


def test_language_identification_asks_for_its_library(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(CorpusError, match=r"install adapterhub\[langid\]"):
        Cleaning.parse(["language=on"]).build(EN_KO)
