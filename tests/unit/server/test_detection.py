from __future__ import annotations

import pytest

from hub.errors import LanguageError
from server.messages import Detected
from server.translation.detection import Detector, best

BASE = frozenset(
    ["ar", "cs", "de", "el", "en", "es", "fi", "fr", "hi", "ja", "ko", "nl", "ru", "th", "uk", "zh"]
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(BASE)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hallo Welt, wie geht es dir heute?", "de"),
        ("The quick brown fox jumps over the lazy dog", "en"),
        ("Les sanglots longs des violons de l'automne", "fr"),
        ("안녕하세요", "ko"),
        ("これはテストです", "ja"),
        ("图书馆在哪里", "zh"),
        ("สวัสดีครับ", "th"),
        ("Γειά", "el"),
        ("Добрий день, як у вас справи?", "uk"),
        ("Příliš žluťoučký kůň úpěl ďábelské ódy", "cs"),
    ],
)
def test_languages_are_told_apart(detector: Detector, text: str, language: str) -> None:
    found = detector.detect(text)
    assert found[0].language == language
    assert found[0].confidence > 0.7
    assert sum(one.confidence for one in found) == pytest.approx(1, abs=0.01)


def test_a_script_with_one_language_is_certain(detector: Detector) -> None:
    assert detector.detect("ก") == [Detected("th", 1.0)]


@pytest.mark.parametrize("text", ["", "12:30", "+++", "👍", "\u200b"])
def test_nothing_is_told_of_texts_without_letters(detector: Detector, text: str) -> None:
    assert detector.detect(text) == []
    with pytest.raises(LanguageError, match="cannot be told") as caught:
        best([])
    assert caught.value.field == "source_language_code"


def test_a_script_of_no_language_of_the_base(detector: Detector) -> None:
    assert detector.detect("გამარჯობა") == []


def test_varieties_of_chinese_are_told_by_their_characters() -> None:
    both = Detector(frozenset({"en", "ja", "zh-Hans", "zh-Hant"}))
    assert both.detect("这是一个测试，我们爱学习")[0].language == "zh-Hans"
    assert both.detect("這是一個測試，我們愛學習")[0].language == "zh-Hant"


def test_norwegian_is_bokmaal_where_the_base_says_so() -> None:
    text = "Jeg vet ikke hva det er, men vi skal på skolen i morgen"
    assert Detector(frozenset({"nb", "nn", "de"})).detect(text)[0].language == "nb"
    assert Detector(frozenset({"no", "de"})).detect(text)[0].language == "no"


def test_a_guess_among_many_is_refused() -> None:
    assert best([Detected("en", 0.6), Detected("de", 0.4)]) == Detected("en", 0.6)
    with pytest.raises(LanguageError, match=r"en 0\.15, de 0\.12"):
        best([Detected("en", 0.15), Detected("de", 0.12)])
