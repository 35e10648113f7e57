"""Resampling is sacreBLEU's own, draw for draw; the one-sided test is Koehn's."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from hub.manifest import ComparisonRecord
from training.evidence.scoring import METRICS, Measure, Scorer
from training.evidence.significance import Resampling, compare, one_sided

WORDS = tuple(f"w{number}" for number in range(15))
SACREBLEU = {"chrf++": "chrF2++", "bleu": "BLEU", "ter": "TER"}


def noisy(text: str, share: float, rng: Random) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text.split())


@pytest.fixture(scope="module")
def texts() -> tuple[list[str], list[str], list[str]]:
    """References, a system, and one that is a little worse."""
    rng = Random(3)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(2, 15))) for _ in range(120)]
    return (
        references,
        [noisy(text, 0.30, rng) for text in references],
        [noisy(text, 0.32, rng) for text in references],
    )


@pytest.fixture(scope="module")
def measures(
    texts: tuple[list[str], list[str], list[str]],
) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
    references, better, worse = texts
    scorer = Scorer(references, "en")
    return scorer.measure(better), scorer.measure(worse)


def by_metric(found: tuple[ComparisonRecord, ...]) -> dict[str, ComparisonRecord]:
    return {each.metric: each for each in found}


def test_p_values_are_those_of_sacrebleu(
    texts: tuple[list[str], list[str], list[str]],
    measures: tuple[tuple[Measure, ...], tuple[Measure, ...]],
) -> None:
    references, better, worse = texts
    theirs = {
        "BLEU": BLEU(references=[references]),
        "chrF2++": CHRF(word_order=2, references=[references]),
        "TER": TER(references=[references]),
    }
    signatures, scores = PairedTest(
        [("worse", worse), ("better", better)], theirs, None, test_type="bs"
    )()
    found = by_metric(compare(*measures, "base"))
    seen = set()
    for metric, name in SACREBLEU.items():
        base, system = scores[name]
        assert base.score != system.score  # type: ignore[union-attr]
        assert found[metric].p_value == pytest.approx(system.p_value, abs=1e-6)  # type: ignore[union-attr]
        assert found[metric].delta == pytest.approx(system.score - base.score, abs=1e-4)  # type: ignore[union-attr]
        assert set(str(signatures[name]).split("|")) == set(found[metric].signature.split("|"))
        seen.add(found[metric].p_value)
    assert len(seen) == 3
    assert max(seen) < 1


def test_intervals_are_percentiles_of_what_sacrebleu_computes(
    texts: tuple[list[str], list[str], list[str]],
    measures: tuple[tuple[Measure, ...], tuple[Measure, ...]],
) -> None:
    references, better, worse = texts
    drawn = np.random.default_rng(12345).choice(120, size=(1000, 120), replace=True)[:40]
    bleu = BLEU()
    by_hand = [
        bleu.corpus_score([better[i] for i in row], [[references[i] for i in row]]).score
        - bleu.corpus_score([worse[i] for i in row], [[references[i] for i in row]]).score
        for row in drawn.tolist()
    ]
    found = by_metric(compare(*measures, "base", Resampling(resamples=40)))["bleu"]
    low, high = np.percentile(by_hand, (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)
    assert found.low < found.delta < found.high
    not_worse = sum(each >= 0 for each in by_hand)
    assert found.p_worse == pytest.approx((not_worse + 1) / 41, abs=1e-6)


def test_lower_is_better_for_ter(texts: tuple[list[str], list[str], list[str]]) -> None:
    references, good, _ = texts
    rng = Random(4)
    scorer = Scorer(references, "en")
    better, worse = (
        scorer.measure(each) for each in (good, [noisy(text, 0.4, rng) for text in good])
    )
    found = by_metric(compare(worse, better, "base"))
    assert found["ter"].delta > 0 > found["chrf++"].delta
    for metric in ("chrf++", "bleu", "ter"):
        assert found[metric].p_worse < 0.05
    turned = by_metric(compare(better, worse, "base"))
    assert all(turned[metric].p_worse > 0.95 for metric in ("chrf++", "bleu", "ter"))


def test_equal_systems_are_never_worse_and_never_different(
    measures: tuple[tuple[Measure, ...], tuple[Measure, ...]],
) -> None:
    found = compare(measures[0], measures[0], "base")
    assert [each.metric for each in found] == list(METRICS)
    assert all(each.p_worse == each.p_value == 1 for each in found)
    assert all((each.delta, each.low, each.high) == (0, 0, 0) for each in found)


def test_draws_do_not_depend_on_how_many_are_held(
    measures: tuple[tuple[Measure, ...], tuple[Measure, ...]],
) -> None:
    how = Resampling(resamples=50)
    plain = compare(*measures, "base", how)
    assert plain == compare(*measures, "base", replace(how, chunk=7 * 120))
    assert plain != compare(*measures, "base", replace(how, seed=1))


def test_one_sided_share_by_hand() -> None:
    assert one_sided(np.array([-1.0, -2.0, 0.0, 3.0])) == pytest.approx(3 / 5)
    assert one_sided(np.array([-1.0] * 99)) == pytest.approx(1 / 100)


@pytest.mark.parametrize("items", [1, 2, 4, 5, 12])
def test_a_few_items_prove_no_more_than_a_sign_test(items: int) -> None:
    references = [" ".join(WORDS[number : number + 4]) for number in range(items)]
    scorer = Scorer(references, "en")
    good, bad = scorer.measure(references), scorer.measure(["nothing of it"] * items)
    found = by_metric(compare(bad, good, "base"))["chrf++"]
    assert found.delta < -90
    assert found.p_worse == pytest.approx(max(0.5**items, 1 / 1001), abs=1e-6)
    assert found.p_value == pytest.approx(max(2 * 0.5**items, 1 / 1001), abs=1e-6)
