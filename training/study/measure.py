"""One cell, from its recipe to its figures: trained, decoded by the serving engine, scored.

What `hub train` does beyond that is left out: nothing is published, so no gate starts a process of
its own. What is measured is still what would be served: every score is the serving engine's.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.chrf import chrf
from hub.languages import LanguagePair
from training.corpora.model import segments_fingerprint
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder, DevJudge, spread
from training.loop.examples import encode_corpus, fitting
from training.loop.progress import Silent
from training.recipe import Recipe
from training.runs import RunFolder
from training.study.axes import BASE
from training.study.materials import base_decoder, corpus_spec, opened, sized_corpus, whole_corpus
from training.study.memory import PeakMemory
from training.study.novelty import novelty

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from training.corpora import SentencePair
    from training.loop.trainer import TrainingResult
    from training.study.cells import Cell
    from training.study.file import EarlyStopping, StudyFile
    from training.work import Work

CHRF: Final = "chrf++"


class HopelessError(Exception):
    """The cell was given up, as the study file says when."""


@dataclass(frozen=True)
class Outcome:
    """What a cell came to.

    Attributes:
        facts: Plain data; see `docs/studies/README.md` for the names.
        statistics: chrF++'s sufficient statistics, (items, kinds) int32, compressed.
    """

    facts: dict[str, Any]
    statistics: bytes = field(repr=False)


def pack(statistics: NDArray[Any]) -> bytes:
    """Return statistics of segments as few bytes; they are whole numbers."""
    import numpy as np

    return zlib.compress(np.ascontiguousarray(statistics, dtype="<i4").tobytes(), 6)


def unpack(packed: bytes, items: int) -> NDArray[Any]:
    """Return statistics as (items, kinds) float64."""
    import numpy as np

    flat = np.frombuffer(zlib.decompress(packed), dtype="<i4")
    return flat.reshape(items, -1).astype(float)


def measure(study: StudyFile, cell: Cell, runs: Path) -> Outcome:
    """Run one cell in this process.

    Args:
        study: For what the recipe does not say: data, bases, how scores are decoded.
        cell: One that can be run.
        runs: Where the run folder of a training stands, to go on from after an interruption.

    Raises:
        HopelessError: It was given up.
        HubError: It failed.
    """
    import torch

    torch.set_num_threads(study.execution.threads)
    started = time.perf_counter()
    if cell.point.method == BASE:
        outcome = _measure_base(study, cell)
    else:
        outcome = _measure_trained(study, cell, runs)
    outcome.facts["seconds"] = round(time.perf_counter() - started, 3)
    return outcome


def _measure_base(study: StudyFile, cell: Cell) -> Outcome:
    entry = study.bases[cell.point.base]
    base, tokenizer = opened(entry)
    pair = LanguagePair.parse(cell.point.pair)
    corpus = whole_corpus(corpus_spec(study, cell.point.pair))
    test = fitting(corpus.test, pair, tokenizer, max_positions=base.dimensions.max_positions)
    decoder = base_decoder(entry, study.scoring.quantization, study.scoring.search)
    facts, statistics = _score(decoder, pair, test, BASE_SLOT)
    encoded = encode_corpus(
        corpus.train, pair, tokenizer, max_positions=base.dimensions.max_positions
    )
    facts |= {
        "parameters": base.parameters,
        "unspelt": encoded.unspelt,
        "lengths": _lengths(test, pair.source),
        "kinds": [segment.kind for segment in test],
        "corpus": corpus.name,
    }
    return Outcome(facts, statistics)


def _measure_trained(study: StudyFile, cell: Cell, runs: Path) -> Outcome:
    from training.loop.model import count_trainable
    from training.loop.optimise import adapted_model, run_trainer

    work = open_work(study, cell, runs)
    encoded = encode_corpus(
        work.corpus.train, work.pair, work.tokenizer, max_positions=work.positions
    )
    dev, test = (
        fitting(part, work.pair, work.tokenizer, max_positions=work.positions)
        for part in (work.corpus.dev, work.corpus.test)
    )
    decoder = _decoder(study, cell, work)
    judge = _judge(study, cell, decoder, work, dev)
    memory = PeakMemory()
    model = adapted_model(work)
    trained = run_trainer(work, model, encoded.examples, judge, Silent(), None)
    peak = memory.peak()
    trainable = count_trainable(model)
    assert trainable == cell.trainable, "the arithmetic of budgets holds"
    decoder.place(work.run.best)
    facts, statistics = _score(decoder, work.pair, test, ADAPTER_SLOT)
    facts |= _training_facts(work, trained) | {
        "trainable": trainable,
        "unspelt": encoded.unspelt,
        "novelty": novelty(
            [each.source for each in test],
            (each.source for each in work.corpus.train),
            work.pair.source,
        ),
        "peak_memory_bytes": peak,
    }
    return Outcome(facts, statistics)


def _training_facts(work: Work, trained: TrainingResult) -> dict[str, Any]:
    weights = [path for path in work.run.best.iterdir() if path.suffix == ".safetensors"]
    return {
        "updates": trained.steps,
        "best_update": trained.best_step,
        "dev_chrf++": round(trained.best_score, 4),
        "ended": trained.why,
        "tokens": trained.tokens,
        "train_seconds": round(trained.seconds, 3),
        "adapter_bytes": sum(path.stat().st_size for path in weights),
    }


def open_work(study: StudyFile, cell: Cell, runs: Path) -> Work:
    """Return the cell's recipe with everything in it opened."""
    from training.pieces import settled
    from training.work import Work

    entry = study.bases[cell.point.base]
    base, tokenizer = opened(entry)
    recipe = Recipe.from_json(cell.recipe)
    corpus = sized_corpus(corpus_spec(study, cell.point.pair), cell.point.train)
    assert corpus.fingerprint == recipe.corpus_fingerprint, "the plan read the same corpus"
    run = RunFolder.create(runs, recipe)
    if not run.unfinished:
        run.start_over()
    _, pieces = settled(recipe, base, tokenizer, corpus.train)
    return Work(recipe, corpus.pair, corpus, base, tokenizer, run, None, "", pieces)


def _decoder(study: StudyFile, cell: Cell, work: Work) -> Decoder:
    from training.whole_weights import WholeDecoder

    entry, scoring = study.bases[cell.point.base], study.scoring
    if work.spec.in_slots:
        return base_decoder(entry, scoring.quantization, scoring.search)
    return WholeDecoder(work.base, work.tokenizer, scoring.quantization, work.as_base)


def _judge(
    study: StudyFile, cell: Cell, decoder: Decoder, work: Work, dev: tuple[SentencePair, ...]
) -> Callable[[Path], float]:
    judge = DevJudge(decoder, work.pair, dev, work.recipe.dev_lines)
    rule = study.early_stopping
    if rule is None:
        return judge
    entry, scoring = study.bases[cell.point.base], study.scoring
    plain = base_decoder(entry, scoring.quantization, scoring.search)
    lines = spread(dev, work.recipe.dev_lines)
    sources = [segment.source for segment in lines]
    found = plain.translate(work.pair, sources, BASE_SLOT, greedy=True)
    score = chrf(found, [segment.target for segment in lines])
    return Impatient(
        judge,
        rule,
        every=work.recipe.evaluate_every,
        updates=work.recipe.max_updates,
        base_score=score,
    )


class Impatient:
    """A judge that gives a hopeless cell up."""

    def __init__(
        self,
        judge: Callable[[Path], float],
        rule: EarlyStopping,
        *,
        every: int,
        updates: int,
        base_score: float,
    ) -> None:
        """Look at no score yet.

        Args:
            judge: Scores a saved folder.
            rule: When a cell is hopeless.
            every: Updates between two looks.
            updates: In all.
            base_score: Of the untrained base on the same lines.
        """
        self._judge, self._rule, self._base = judge, rule, base_score
        self._every, self._updates = every, updates
        self._looks = 0

    def __call__(self, folder: Path) -> float:
        """Return the score.

        Raises:
            HopelessError: It is too low for how much of the training is over.
        """
        score = self._judge(folder)
        self._looks += 1
        done = min(1.0, self._looks * self._every / self._updates)
        if self._rule.after <= done < 1 and score < self._base + self._rule.gain:
            raise HopelessError(
                f"given up after {done:.0%} of its updates: dev chrF++ {score:.1f}, the untrained "
                f"base has {self._base:.1f} and early_stopping.gain is {self._rule.gain:g}"
            )
        return score


def _score(
    decoder: Decoder, pair: LanguagePair, test: tuple[SentencePair, ...], slot: int
) -> tuple[dict[str, Any], bytes]:
    """Return scores of the test items, and chrF++'s statistics of each."""
    from training.evidence.scoring import Scorer

    started = time.perf_counter()
    hypotheses = decoder.translate(pair, [each.source for each in test], slot)
    seconds = time.perf_counter() - started
    measures = Scorer([each.target for each in test], pair.target).measure(hypotheses)
    by_name = {found.metric: found for found in measures}
    facts = {
        "scores": {name: round(found.score.value, 4) for name, found in by_name.items()},
        "signature": f"{by_name[CHRF].signature}|{decoder.signature}",
        "items": len(test),
        "test_fingerprint": segments_fingerprint(test),
        "item_names": [_short(each.item) for each in test],
        "decode_seconds": round(seconds, 3),
    }
    return facts, pack(by_name[CHRF].statistics)


def _short(item: str) -> str:
    """Return an item's name in few characters, without the folders of this machine."""
    return hashlib.blake2b(item.encode(), digest_size=6).hexdigest()


def _lengths(test: tuple[SentencePair, ...], language: str) -> dict[str, Any]:
    from training.evidence.lengths import length_of, unit_of

    unit = unit_of(language)
    return {"unit": unit, "of_item": [length_of(each.source, unit) for each in test]}
