"""Scores are sacreBLEU's own, with the right tokenizer, and say how they were made."""

from __future__ import annotations

import pytest
import sacrebleu

from hub.chrf import chrf
from training.evidence.scoring import bleu_tokenizer, score, tokenizer_remark

REFERENCES = ["2시간 전", "2004년 11월 4일", "카메룬 및 라트비아", "41%"]
HYPOTHESES = ["3시간 전", "2004년 11월 4일", "카메룬, 라트비아", "41 %"]


def test_equals_sacrebleu() -> None:
    found = {one.metric: one for one in score(HYPOTHESES, REFERENCES, "ko")}
    expected_chrf = sacrebleu.corpus_chrf(HYPOTHESES, [REFERENCES], word_order=2).score
    expected_bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES], tokenize="ko-mecab").score
    plain_bleu = sacrebleu.corpus_bleu(HYPOTHESES, [REFERENCES]).score
    assert found["chrf++"].value == expected_chrf == chrf(HYPOTHESES, REFERENCES)
    assert found["bleu"].value == expected_bleu != plain_bleu
    assert found["exact"].value == 25.0


def test_signatures_say_metric_and_tokenizer() -> None:
    found = {one.metric: one.signature for one in score(HYPOTHESES, REFERENCES, "ko")}
    assert "nw:2" in found["chrf++"]
    assert "tok:ko-mecab" in found["bleu"]
    assert f"version:{sacrebleu.__version__}" in found["bleu"]


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("ko", "ko-mecab"), ("zh", "zh"), ("zh-Hant", "zh"), ("th", "char"), ("de", "13a")],
)
def test_tokenizer_by_language(language: str, tokenizer: str) -> None:
    assert bleu_tokenizer(language) == tokenizer


def test_japanese_is_cut_by_something_that_is_installed() -> None:
    assert bleu_tokenizer("ja") in ("ja-mecab", "char")
    assert score(["フランス"], ["フランス"], "ja")[1].value > 0


def test_exact_ignores_composition_and_outer_blanks() -> None:
    assert score(["ko\u0301d "], ["k\u00f3d"], "pl")[3].value == 100.0
    assert score(["kod"], ["k\u00f3d"], "pl")[3].value == 0.0


@pytest.mark.parametrize(("hypotheses", "references"), [([], []), (["a"], ["a", "b"])])
def test_nothing_to_score(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(ValueError, match="hypotheses for"):
        score(hypotheses, references, "de")


def test_ter_equals_sacrebleu_and_knows_asian_scripts() -> None:
    references, hypotheses = ["東京は日本の首都です"], ["京都は日本の首都です"]
    found = {one.metric: one for one in score(hypotheses, references, "ja")}["ter"]
    expected = sacrebleu.corpus_ter(
        hypotheses, [references], normalized=True, asian_support=True
    ).score
    as_one_word = sacrebleu.corpus_ter(hypotheses, [references]).score
    assert found.value == pytest.approx(expected) != as_one_word
    assert "asian:yes" in found.signature
    assert f"version:{sacrebleu.__version__}" in found.signature
    english = {one.metric: one for one in score(["a b c"], ["a b d"], "en")}["ter"]
    assert english.value == pytest.approx(100 / 3)


def test_ter_of_scripts_without_spaces_is_by_character_and_says_so() -> None:
    found = {one.metric: one for one in score(["กขค"], ["กขง"], "th")}["ter"]
    assert found.value == pytest.approx(100 / 3)
    assert found.signature.endswith("|pieces:characters")


@pytest.mark.parametrize(("language", "missing"), [("ko", "mecab_ko"), ("ja", "MeCab")])
def test_a_tokenizer_that_is_not_installed_is_replaced_and_named(
    monkeypatch: pytest.MonkeyPatch, language: str, missing: str
) -> None:
    from importlib.util import find_spec

    def find(name: str) -> object:
        return None if name == missing else find_spec(name)

    bleu_tokenizer.cache_clear()
    monkeypatch.setattr("training.evidence.scoring.find_spec", find)
    try:
        assert bleu_tokenizer(language) == "char"
        assert "pip install mecab" in tokenizer_remark(language)
        assert "tok:char" in score(["나는"], ["나는"], language)[1].signature
    finally:
        bleu_tokenizer.cache_clear()


@pytest.mark.parametrize("language", ["ko", "ja", "zh", "yue", "th", "lo", "km", "my", "bo", "dz"])
def test_scripts_that_13a_cannot_cut_never_get_it(language: str) -> None:
    assert bleu_tokenizer(language) != "13a"


def test_remarks() -> None:
    assert tokenizer_remark("de") == tokenizer_remark("zh") == ""
    assert "th count characters" in tokenizer_remark("th")
