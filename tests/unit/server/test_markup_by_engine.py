"""Markup and placeholders through the real engine and the embedded base."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from queue import SimpleQueue

import pytest

from hub.bases import open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.engine.engine import Engine
from hub.languages import LanguagePair
from server.batching.scheduler import BatchLimits, Scheduler
from server.batching.worker import Worker
from server.messages import Candidate, Job, Outcome, Search
from server.residency.loader import PoolLoader
from server.residency.tables import HostTier, SlotTable
from server.residency.tiers import Stock
from server.telemetry.metrics import Metrics
from server.translation.documents import Document, Rendered, plain_units
from server.translation.markup import html_units
from server.translation.offsets import UnitTranslation, align
from training.corpora.cldr import build_corpus

PAIR = LanguagePair.parse("en-de")
COUNT = 60
NUMBER = re.compile(r"\d+")


class Service:
    """Worker and tokenizer: what a text goes through between its units and their translations."""

    def __init__(self) -> None:
        base = open_base("embedded")
        self.tokenizer: BaseTokenizer = load_tokenizer(base)
        engine = Engine.load(base, quantization="auto", slots=1, max_rows=64)
        metrics = Metrics()
        stock = Stock(engine, SlotTable(1, 1 << 30), HostTier(1 << 30, 1), metrics)
        loader = PoolLoader(lambda digest: digest, lambda version: version, 1)  # type: ignore[arg-type,return-value]
        scheduler = Scheduler(BatchLimits(64, 8192))
        self.worker = Worker(engine, loader, scheduler, stock, metrics, queue_limit=1000)  # type: ignore[type-var]
        self.worker.start()

    def candidates(self, texts: Sequence[str], beam: int = 1, **asked: bool) -> list[Candidate]:
        outcomes: SimpleQueue[Outcome] = SimpleQueue()
        prefix = tuple(self.tokenizer.target_prefix(PAIR.target))
        jobs = [
            Job(key, "", tuple(self.tokenizer.encode_source(text, PAIR.source, PAIR.target)),
                prefix, Search(beam, 64, 1.0, 1), **asked)  # type: ignore[arg-type]
            for key, text in enumerate(texts, start=1)
        ]  # fmt: skip
        self.worker.submit(jobs, outcomes.put)
        found = {outcome.key: outcome for outcome in (outcomes.get(timeout=60) for _ in jobs)}
        assert all(outcome.error is None for outcome in found.values())
        return [found[job.key].candidates[0] for job in jobs]

    def translate(self, documents: Sequence[Document]) -> list[Rendered]:
        texts = [unit.text for document in documents for unit in document.units]
        candidates = iter(self.candidates(texts, align=True))
        return [
            document.render([self.aligned(unit.text, next(candidates)) for unit in document.units])
            for document in documents
        ]

    def aligned(self, text: str, found: Candidate) -> UnitTranslation:
        tokens, source, target = found.token_ids, PAIR.source, PAIR.target
        return align(self.tokenizer, text, source, target, tokens, found.alignment)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    found = Service()
    yield found
    found.worker.stop()


@pytest.fixture(scope="module")
def phrases() -> list[str]:
    """Unseen phrases with a number that comes once."""
    test = build_corpus(PAIR, seed=3, train=1, dev=1, test=2 * COUNT).test
    once = [
        one.source for one in test
        if any(NUMBER.findall(one.source).count(number) == 1
               for number in NUMBER.findall(one.source))
    ]  # fmt: skip
    assert len(once) >= COUNT
    return once[:COUNT]


def number_of(phrase: str) -> str:
    numbers = NUMBER.findall(phrase)
    return next(number for number in numbers if numbers.count(number) == 1)


def marked(phrase: str, begin: str, end: str) -> str:
    number = number_of(phrase)
    return re.sub(rf"(?<!\d){number}(?!\d)", lambda found: begin + found[0] + end, phrase, count=1)


def test_a_number_keeps_its_tags(service: Service, phrases: list[str]) -> None:
    pages = [f"<p>{marked(phrase, '<b>', '</b>')}</p>" for phrase in phrases]
    inside = same = 0
    for phrase, rendered in zip(
        phrases, service.translate([html_units(page) for page in pages]), strict=True
    ):
        assert rendered.text.startswith("<p>")
        assert rendered.text.count("<b>") == rendered.text.count("</b>") == 1
        text = re.sub("<[^>]+>", "", rendered.text)
        if NUMBER.findall(text).count(number_of(phrase)) == 1:
            same += 1
            inside += f"<b>{number_of(phrase)}</b>" in rendered.text
    assert same >= COUNT // 2
    assert inside >= 0.9 * same


def test_placeholders_come_back_and_most_without_repair(
    service: Service, phrases: list[str]
) -> None:
    texts = [phrase.replace(number_of(phrase), "{n}", 1) for phrase in phrases]
    rendered = service.translate([plain_units(text) for text in texts])
    assert all(one.text.count("{n}") == 1 for one in rendered)
    assert sum(not one.details for one in rendered) >= 0.6 * len(rendered)


@pytest.mark.parametrize("beam", [1, 3])
def test_candidates_carry_what_was_asked_for(
    service: Service, phrases: list[str], beam: int
) -> None:
    plain = service.candidates(phrases[:8], beam)
    asked = service.candidates(phrases[:8], beam, align=True, token_scores=True)
    for one, other in zip(plain, asked, strict=True):
        assert (one.alignment, one.token_log_probabilities) == ((), ())
        assert one.token_ids == other.token_ids
        assert len(other.alignment) == len(other.token_ids)
        assert len(other.token_log_probabilities) == other.length
        assert sum(other.token_log_probabilities) == pytest.approx(one.log_probability, abs=1e-3)
