"""The use case behind `hub advise`: what a user has, what cells say of it, what to type next."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from hub.console import note, print_table
from hub.errors import SettingsError
from hub.languages import LanguagePair
from training.study.advise import (
    BUDGET,
    CLDR,
    DISTANCE,
    Case,
    Features,
    Prediction,
    by_kind,
    cases_of,
    kind_of_text,
    predict,
)
from training.study.distance import MEASURE, distances
from training.study.file import BaseEntry
from training.study.ledger import FILE, Ledger
from training.study.materials import CorpusSpec, base_decoder, opened, whole_corpus
from training.study.results import Results

ITEMS: Final = 100
"""Test items that the base's own score is measured on."""
SEGMENTS: Final = 1_000_000
NEAREST: Final = 3


@dataclass(frozen=True)
class Question:
    """What the user has.

    Attributes:
        data: As `--data` takes it.
        within: chrF++ below full fine-tuning that is still good enough.
        train: Segments taken of the data at most; None for all, and of CLDR, which has no end, for
            as many as the studies have.
    """

    pair: str
    data: tuple[str, ...]
    base: str
    studies: Path
    within: float
    train: int | None = None


@dataclass(frozen=True)
class Offer:
    """What one method at one budget should do.

    Attributes:
        cells: Names of the nearest cells that it rests on, of `total` in all.
    """

    kind: str
    budget: float
    prediction: Prediction
    cells: tuple[str, ...]
    total: int
    pairs: int


@dataclass(frozen=True)
class Advice:
    """The answer.

    Attributes:
        known: What was found out of the pair, the data and the base.
        best: The smallest adapter whose whole interval is good enough; None where there is none.
        why_not: Why nothing is known, in words.
    """

    question: Question
    known: Features
    offers: tuple[Offer, ...]
    best: Offer | None
    why_not: tuple[str, ...]


def advise(question: Question) -> Advice:
    """Return the advice.

    Raises:
        SettingsError: There is no study, or URIEL+ does not know a language.
        CorpusError: The data is bad.
        BaseNotFoundError: The base is not on this machine.
    """
    cases = _cases(question.studies)
    question = replace(question, train=_most(question, cases))
    known = _look(question)
    offers, reasons = [], []
    for kind, own in by_kind(cases).items():
        found, reason = _offers(kind, own, known)
        offers += found
        reasons += [f"{kind}: {reason}"] if reason else []
    offers.sort(key=lambda offer: (offer.budget, offer.prediction.gap))
    good = [offer for offer in offers if offer.prediction.high <= question.within]
    return Advice(question, known, tuple(offers), good[0] if good else None, tuple(reasons))


def _cases(studies: Path) -> list[Case]:
    files = sorted(studies.rglob(FILE)) if studies.is_dir() else []
    found: list[Case] = []
    for file in files:
        ledger = Ledger.existing(file.parent)
        try:
            entries = ledger.entries()
        finally:
            ledger.close()
        pairs = [entry.cell.point.pair for entry in entries]
        found += cases_of(Results(entries, distances(pairs)))
    if not found:
        raise SettingsError(
            f"no finished study is in {studies}; run one (hub study run) or name its folder with "
            "--studies",
            field="studies",
        )
    return found


def _look(question: Question) -> Features:
    """Measure the pair, the data and the base."""
    from hub.chrf import chrf
    from training.evidence.decode import BASE_SLOT
    from training.loop.examples import encode_corpus, fitting

    pair = LanguagePair.parse(question.pair)
    far = distances([str(pair)]).get(str(pair))
    if far is None:
        raise SettingsError(f"{MEASURE} knows no distance for {pair}", field="pair")
    spec = CorpusSpec(str(pair), question.data, "", "", ITEMS, ITEMS, question.train or SEGMENTS, 1)
    corpus = whole_corpus(spec)
    entry = BaseEntry(base=question.base)
    base, tokenizer = opened(entry)
    positions = base.dimensions.max_positions
    test = fitting(corpus.test, pair, tokenizer, max_positions=positions)
    note(f"decoding {len(test)} segments with the base")
    decoder = base_decoder(entry, "int8", "greedy")
    found = decoder.translate(pair, [each.source for each in test], BASE_SLOT)
    encoded = encode_corpus(corpus.train, pair, tokenizer, max_positions=positions)
    return Features(
        budget=1.0,
        segments=len(corpus.train),
        distance=far,
        base_score=chrf(found, [each.target for each in test]),
        parameters=base.parameters,
        unspelt=encoded.unspelt,
        text=kind_of_text(corpus.name),
    )


def _most(question: Question, cases: Sequence[Case]) -> int | None:
    """Return the segments to take; of CLDR, which has no end, as many as the studies have."""
    from training.defaults import SMALL

    if question.train is None and CLDR in question.data:
        own = [case.features.segments for case in cases if case.features.text == CLDR]
        return max(own, default=SMALL.train)
    return question.train


def _offers(kind: str, cases: Sequence[Case], known: Features) -> tuple[list[Offer], str]:
    """Return what a method should do at every budget of the cells, or why it is not known."""
    found = []
    other = sorted({case.features.text for case in cases})
    cases = [case for case in cases if case.features.text == known.text]
    if not cases:
        return [], f"its cells are of {' and '.join(map(_text, other))}, not of {_text(known.text)}"
    for budget in sorted({round(case.features.budget, 6) for case in cases}):
        features = Features(**{**asdict(known), "budget": budget})
        prediction = predict(cases, features)
        if prediction is None:
            return [], "its cells are of too few pairs to know the error"
        if prediction.why_not:
            return [], "; ".join(prediction.why_not)
        pairs = len({case.pair for case in cases})
        near = _nearest(cases, features)
        found.append(Offer(kind, budget, prediction, near, len(cases), pairs))
    return found, ""


def _text(kind: str) -> str:
    return "CLDR's phrases" if kind == CLDR else "files"


def _nearest(cases: Sequence[Case], features: Features) -> tuple[str, ...]:
    """Return the cells whose pair and budget are closest."""

    def far(case: Case) -> float:
        own, new = case.features.numbers(), features.numbers()
        return sum(abs(own[name] - new[name]) for name in (DISTANCE, BUDGET))

    chosen = sorted(cases, key=far)[:NEAREST]
    return tuple(case.cells[0].removeprefix("sha256:")[:12] for case in chosen)


def print_advice(advice: Advice) -> None:
    """Print the answer, what it rests on, and the next command."""
    known, asked = advice.known, advice.question
    note(
        f"{asked.pair}: {known.segments:,} segments, {MEASURE} {known.distance:.2f}; the base has "
        f"chrF++ {known.base_score:.1f} and cannot spell {known.unspelt:.1%} of the target's pieces"
    )
    if advice.offers:
        print_table(
            ("method", ">of the base", ">below full fine-tuning", "90 % interval", ">pairs",
             ">systems", "nearest cells"),
            list(_rows(advice.offers)),
        )  # fmt: skip
    for reason in advice.why_not:
        note(f"I do not know: {reason}")
    best = advice.best
    if best is not None:
        note(
            f"take {best.kind} at {best.budget:.3%}: expected {best.prediction.gap:+.1f} chrF++ "
            f"below full fine-tuning, at most {best.prediction.high:+.1f}"
        )
        note(f"next:   {_command(asked, best.kind, best.budget)}")
        return
    if advice.offers:
        note(f"I do not know of an adapter that is certain to come within {asked.within:g} chrF++")
    _offer_probe(advice)


def _rows(offers: Sequence[Offer]) -> Iterator[tuple[str, ...]]:
    for offer in offers:
        found = offer.prediction
        yield (
            offer.kind,
            f"{offer.budget:.3%}",
            f"{found.gap:+.1f}",
            f"{found.low:+.1f} to {found.high:+.1f}",
            str(offer.pairs),
            str(offer.total),
            " ".join(offer.cells),
        )


def _offer_probe(advice: Advice) -> None:
    """Offer the runs that would tell: the cheapest likely adapter, and full fine-tuning."""
    asked = advice.question
    likely = [o for o in advice.offers if o.prediction.gap <= asked.within]
    kind, budget = (likely[0].kind, likely[0].budget) if likely else ("bottleneck", 0.01)
    note("these two runs would tell:")
    note(f"        {_command(asked, kind, budget)} --no-publish")
    note(f"        {_command(asked, 'full', None)} --no-publish")


def _command(asked: Question, kind: str, budget: float | None) -> str:
    method, *options = kind.split()
    words = [f"hub train --pair {asked.pair}"]
    words += [f"--data {each}" for each in asked.data if each != CLDR]
    words += [f"--train {asked.train}"] if asked.train is not None else []
    words.append(f"--base {asked.base} --method {method}")
    words += [_flag(each) for each in options]
    if budget is not None and _has_size(method):
        words.append(f"--budget {_enough(budget):g}")
    return " ".join(words)


def _enough(budget: float) -> float:
    """Return a budget in three digits that buys no less."""
    unit = 10.0 ** (math.floor(math.log10(budget)) - 2)
    return min(1.0, math.ceil(budget / unit - 1e-9) * unit)


def _has_size(method: str) -> bool:
    from training.methods.catalog import METHODS

    return bool(METHODS[method].size_name)


def _flag(option: str) -> str:
    name, _, value = option.partition("=")
    word = name.replace("_", "-")
    plain = {"True": f"--{word}", "False": f"--no-{word}"}
    return plain.get(value, f"--{word} {value}")


def advice_facts(advice: Advice) -> dict[str, Any]:
    """Return the advice as plain data."""
    best = advice.best
    return {
        "pair": advice.question.pair,
        "within": advice.question.within,
        "known": {k: v for k, v in asdict(advice.known).items() if k != "budget"},
        "answer": None if best is None else {"method": best.kind, "budget": best.budget},
        "offers": [asdict(offer) for offer in advice.offers],
        "unknown": list(advice.why_not),
    }
