"""Scores are sacreBLEU's own, with the right tokenizer, and say how they were made."""

from __future__ import annotations

import pytest
import sacrebleu

from training.scoring import bleu_tokenizer, chrf, score

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
    assert score(["ko\u0301d "], ["k\u00f3d"], "pl")[2].value == 100.0
    assert score(["kod"], ["k\u00f3d"], "pl")[2].value == 0.0


@pytest.mark.parametrize(("hypotheses", "references"), [([], []), (["a"], ["a", "b"])])
def test_nothing_to_score(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(ValueError, match="hypotheses for"):
        score(hypotheses, references, "de")
