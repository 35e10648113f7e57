"""What is said of one sentence: language, copies, numbers, z-scores."""

from __future__ import annotations

import math
from concurrent.futures import Future

import pytest

from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from server.messages import Candidate, Flag
from server.quality.judging import Judge, Judgement, is_copy
from server.quality.language import LanguageCheck, language_model
from server.quality.signals import judge, measure

ENGLISH = "The committee meets on Monday and discusses the budget of the coming year."
GERMAN = "Der Ausschuss tritt am Montag zusammen und berät den Haushalt des neuen Jahres."
KOREAN = "위원회는 월요일에 모여 내년도 예산을 논의합니다."
EXPECTED = OutputRecord(
    items=100,
    log_probability=-0.5,
    log_probability_deviation=0.25,
    log_length_ratio=math.log(2),
    log_length_ratio_deviation=0.1,
    signature="by hand",
)


@pytest.fixture(autouse=True, scope="module")
def loaded() -> None:
    language_model().result()


def pair(text: str) -> LanguagePair:
    return LanguagePair.parse(text)


@pytest.mark.parametrize(
    ("text", "languages", "found"),
    [
        (GERMAN, "en-de", ""),
        (ENGLISH, "en-de", "en"),
        (ENGLISH, "de-fr", "en"),
        (GERMAN, "de-fr", "de"),
        (KOREAN, "en-ko", ""),
        (ENGLISH, "en-ko", "script"),
        (KOREAN, "ko-en", "script"),
        ("ok", "en-ko", ""),  # too short to tell
        ("Not so long", "en-de", ""),
        ("1234567890 123 45 67 - 99 / 12345", "en-ko", ""),
        ("Møtet er på mandag, og vi skal drøfte budsjettet.", "en-da", ""),  # too near to tell
        (ENGLISH, "en-kl", ""),  # a language that the identifier does not know
    ],
)
def test_outputs_in_another_language_are_found(text: str, languages: str, found: str) -> None:
    assert LanguageCheck().found_instead("?", text, pair(languages)) == found


def test_a_model_that_cannot_be_loaded_fails_no_translation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken: Future[object] = Future()
    broken.set_exception(MemoryError())
    monkeypatch.setattr("server.quality.language.language_model", lambda: broken)
    assert LanguageCheck().found_instead(ENGLISH, ENGLISH, pair("en-de")) == ""


def test_names_of_the_source_may_stay() -> None:
    check, source = LanguageCheck(), "Install GdkPixbufAnimation and PangoVariant"
    text = "GdkPixbufAnimation과 PangoVariant 설치하기"
    assert check.found_instead(source, text, pair("en-ko")) == ""
    assert check.found_instead("Install these", text, pair("en-ko")) == "script"
    assert check.found_instead(source, source, pair("en-ko")) == "script"


@pytest.mark.parametrize(
    ("source", "text", "copied"),
    [
        (ENGLISH, ENGLISH, True),
        (ENGLISH, ENGLISH.upper() + " ", True),
        (ENGLISH, GERMAN, False),
        ("New York Times", "New York Times", False),
        ("12 34 56 78 90 12", "12 34 56 78 90 12", False),
        ("a b c d e f g h", "a b c d e f g h", False),
    ],
)
def test_copies_of_the_source(source: str, text: str, copied: bool) -> None:
    assert is_copy(source, text) is copied


def judged(source: str, text: str, languages: str = "en-de") -> Judgement:
    made = Candidate((11, 12, 13), 0.0, -1.0, True)
    return Judge(3).judge(source, (21, 22, 23), made, text, pair(languages), None)


def test_a_good_sentence_has_no_flag() -> None:
    assert judged(ENGLISH, GERMAN) == Judgement(judged(ENGLISH, GERMAN).signals, ())


def test_flags_have_their_details() -> None:
    found = judged(f"{ENGLISH} 12", f"{ENGLISH} 21")
    assert set(found.flags) == {Flag.OFF_TARGET, Flag.NUMBER_MISMATCH}
    assert {one.flag: one.subjects for one in found.details} == {
        Flag.OFF_TARGET: ("en",), Flag.NUMBER_MISMATCH: ("12",),
    }  # fmt: skip
    assert found.bad is Flag.OFF_TARGET
    copied = judged(ENGLISH, ENGLISH)
    assert set(copied.flags) == {Flag.COPY, Flag.OFF_TARGET}
    empty = judged(ENGLISH, " ")
    assert (empty.flags, empty.bad) == ((Flag.EMPTY,), Flag.EMPTY)
    assert judged(ENGLISH, GERMAN).bad is None


def candidate(length: int, mean: float) -> Candidate:
    return Candidate(tuple(range(length)), 0.0, mean * (length + 1), True)


def test_z_scores_by_hand() -> None:
    signals = measure(tuple(range(10)), candidate(20, -1.0), EXPECTED)
    assert signals.log_probability_z == pytest.approx(-2)  # (-1 + 0.5) / 0.25
    assert signals.length_ratio_z == pytest.approx(0)  # twice as long, as usual
    longer = measure(tuple(range(10)), candidate(22, -0.5), EXPECTED)
    assert longer.length_ratio_z == pytest.approx(math.log(1.1) / 0.1)
    assert longer.log_probability_z == pytest.approx(0)


def test_without_a_dev_set_there_is_no_z_score() -> None:
    signals = measure((1, 2), candidate(2, -9.0))
    assert (signals.log_probability_z, signals.length_ratio_z) == (None, None)


def test_an_empty_output_has_no_length_to_compare() -> None:
    assert measure((1, 2), Candidate((), 0.0, -1.0, True), EXPECTED).length_ratio_z is None


def test_equal_dev_outputs_do_not_make_everything_an_outlier() -> None:
    expected = EXPECTED.model_copy(update={"log_probability_deviation": 0.0})
    assert measure((1,), candidate(2, -0.51), expected).log_probability_z == pytest.approx(-0.5)


def flags(source: int, made: Candidate, expected: OutputRecord | None = EXPECTED) -> set[Flag]:
    tokens = tuple(range(source))
    return set(judge(tokens, made, measure(tokens, made, expected), expected))


def test_lengths_are_judged_by_those_of_the_adapter() -> None:
    assert flags(10, candidate(20, -0.5)) == set()
    assert flags(10, candidate(10, -0.5)) == {Flag.LENGTH_RATIO}  # half of what is usual
    assert flags(10, candidate(10, -0.5), None) == set()
    assert flags(10, candidate(35, -0.5)) == {Flag.LENGTH_RATIO}
    assert flags(3, candidate(2, -0.5)) == set()  # too short to tell


def test_an_improbable_output_is_flagged() -> None:
    assert flags(10, candidate(20, -1.4)) == set()
    assert flags(10, candidate(20, -1.5)) == {Flag.LOW_PROBABILITY}
