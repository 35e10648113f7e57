"""The use case: from a request to a published adapter with its evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases.vocabulary import adapter_tokens
from hub.errors import InterruptedRunError, TrainingDivergedError
from hub.manifest import AdapterManifest
from training.environment import environment
from training.evidence.decode import (
    Decoder,
    DevJudge,
    Quantization,
    spread,
)
from training.evidence.gather import gather
from training.evidence.golden import golden_lines
from training.evidence.outputs import output_record
from training.gates.checks import check_quality, check_served
from training.gates.equality import EqualityEvidence, end_of, gate_lines, trained_side
from training.loop.examples import encode_corpus, fitting
from training.loop.model import count_trainable
from training.loop.optimise import adapted_model, off_quantized, run_trainer, snapshot, train
from training.loop.progress import Progress, Silent
from training.loop.trackers import Tracked, TrackedRun, tracked
from training.publish import (
    describe,
    publish,
    with_evidence,
    write_evidence,
)
from training.recipe import Recipe
from training.reports.training import score_facts
from training.runs import RunFolder
from training.whole_weights import WholeDecoder
from training.work import TrainRequest, Work, prepare

if TYPE_CHECKING:
    from hub.registry import AdapterVersion
    from training.corpora import SentencePair
    from training.corpora.report import CorpusReport
    from training.loop.batching import Example
    from training.loop.processes import Processes
    from training.loop.trainer import TrainingResult

EQUALITY_LINES: Final = 16


@dataclass(frozen=True)
class TrainOutcome:
    """What came out.

    Attributes:
        folder: The adapter folder, with hub.json and the model card.
        version: As published; None where publishing was not asked for, or no slot can hold it.
        timings: Seconds by stage.
        too_long: Training segments left out because the base has no positions for them.
        unspelt: Share of the target's pieces that the base's vocabulary does not have.
        base_folder: Opens as a base; None for an adapter that is served in a slot.
        data: What reading and cleaning the data did; None for the embedded corpus.
    """

    recipe: Recipe
    manifest: AdapterManifest
    folder: Path
    run_folder: Path
    version: AdapterVersion | None
    training: TrainingResult
    equality: EqualityEvidence
    seconds: float
    timings: Mapping[str, float]
    too_long: int
    unspelt: float
    base_folder: Path | None = None
    data: CorpusReport | None = None


class _Clock:
    """Times the stages and tells the progress listener of each."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._started = time.perf_counter()
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        self._progress.stage(title)
        started = time.perf_counter()
        try:
            yield
        finally:
            self._progress.close()
            spent = time.perf_counter() - started
            self.timings[name] = self.timings.get(name, 0.0) + spent

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started


def train_adapter(
    request: TrainRequest, progress: Progress, processes: Processes | None = None
) -> TrainOutcome:
    """Train an adapter, score it against its base, pass the gates, publish it.

    Everything that can be refused is refused before training starts. The first Ctrl-C while
    training stops at the next update and keeps what is trained.

    Args:
        request: What to train.
        progress: Hears of it.
        processes: Those that share the training, this one first; the others call `help_train`.

    Raises:
        InputError: Pair, budget, method, corpus, name or a setting is bad.
        CorruptBaseError: The base's weights are damaged.
        InterruptedRunError: Ctrl-C; the message says where the adapter lies.
        TrainingDivergedError: The loss stayed non-finite.
        IncompatibleAdapterError: A gate was not passed; nothing was published.
    """
    with tracked(progress, request.track) as listener:
        return _make_adapter(request, listener, processes)


def help_train(request: TrainRequest, processes: Processes) -> None:
    """Compute this process's share of a training that another one leads.

    Nothing is written, scored or published here, and how training ended is the other's to say.
    """
    work = prepare(request, leads=False)
    encoded = encode_corpus(
        work.corpus.train, work.pair, work.tokenizer, max_positions=work.positions
    )
    with suppress(InterruptedRunError, TrainingDivergedError):
        run_trainer(work, adapted_model(work), encoded.examples, _no_score, Silent(), processes)


def _no_score(folder: Path) -> float:
    raise AssertionError("the leading process scores")


def _make_adapter(
    request: TrainRequest, progress: Tracked, processes: Processes | None
) -> TrainOutcome:
    clock = _Clock(progress)
    with clock.stage("prepare", "reading base and corpus"):
        work = prepare(request)
        corpus = work.corpus
        encoded = encode_corpus(
            corpus.train, work.pair, work.tokenizer, max_positions=work.positions
        )
        dev, test = (
            fitting(part, work.pair, work.tokenizer, max_positions=work.positions)
            for part in (corpus.dev, corpus.test)
        )
    with clock.stage("load", "loading the base"):
        model = adapted_model(work)
        decoder = _decoder(work, request.quantization)
        if work.spec.in_slots:
            check_served(snapshot(work, model)(), decoder)
    with clock.stage("train", f"training {work.recipe.method} for {work.pair}"):
        judge = DevJudge(decoder, work.pair, dev, work.recipe.dev_lines)
        progress.start(TrackedRun(work.recipe.run_name, work.run.path, work.recipe.to_json()))
        training = train(work, model, encoded.examples, judge, progress, processes)
    manifest = describe(
        work.recipe,
        work.base,
        corpus,
        count_trainable(model),
        environment(work.recipe.precision, scored_in=request.quantization),
        request.domain,
    )
    with clock.stage("gates", "checking the saved adapter in the serving engine"):
        equality = _pass_gates(work, model, manifest, dev)
    with clock.stage("score", "scoring base and adapter on unseen items"):
        decoder.place(work.run.best, manifest)
        evidence = gather(decoder, work.pair, test)
        manifest = with_evidence(manifest, evidence, output_record(decoder, work.pair, dev))
        progress.scored(training.steps, score_facts(manifest.scores))
        count = request.golden if work.spec.in_slots else 0
        golden = golden_lines(decoder, work.pair, dev, count)
        tokens = _tokens(work, encoded.examples)
        folder = write_evidence(work.run, work.recipe, manifest, equality, golden, tokens)
    if request.publish and not work.spec.in_slots:
        check_quality(manifest, force=request.force)
    version = None
    if work.registry is not None:
        with clock.stage("publish", "publishing"):
            version = publish(
                work.registry,
                folder,
                work.name,
                manifest,
                aliases=request.aliases,
                force=request.force,
            )
    outcome = TrainOutcome(
        recipe=work.recipe,
        manifest=manifest,
        folder=folder,
        run_folder=work.run.path,
        version=version,
        training=training,
        equality=equality,
        seconds=clock.seconds,
        timings=clock.timings,
        too_long=encoded.too_long,
        unspelt=encoded.unspelt,
        base_folder=None if work.spec.in_slots else work.as_base(folder),
        data=corpus.report,
    )
    _finish(work.run, outcome)
    return outcome


def _tokens(work: Work, examples: Sequence[Example]) -> tuple[int, ...] | None:
    """Return what translations of an adapter may need; None for a base of its own."""
    if not work.spec.in_slots:
        return None
    targets = (example.target for example in examples)
    return adapter_tokens(work.tokenizer, work.pair.target, targets)


def _decoder(work: Work, quantization: Quantization) -> Decoder:
    if work.spec.in_slots:
        return Decoder(work.base, work.tokenizer, quantization)
    return WholeDecoder(work.base, work.tokenizer, quantization, work.as_base)


def _pass_gates(
    work: Work, model: Any, manifest: AdapterManifest, dev: Sequence[SentencePair]
) -> EqualityEvidence:
    from training.gates.checks import check_budget, check_finite
    from training.gates.fresh_process import FreshCheck, check_in_fresh_process

    check_finite(work.run.best)
    check_budget(manifest, count_trainable(model))
    if work.recipe.quantize != "none":
        model = off_quantized(work, model, dev)
    lines = gate_lines(work.tokenizer, work.pair, spread(dev, EQUALITY_LINES))
    return check_in_fresh_process(
        FreshCheck(
            base=work.base.folder,
            adapter=work.run.best,
            own_base=None if work.spec.in_slots else work.as_base(work.run.best),
            manifest=manifest,
            end=end_of(model),
            lines=lines,
            trained=trained_side(model, lines, work.slots, work.tokenizer.byte_ids),
        )
    )


def _finish(run: RunFolder, outcome: TrainOutcome) -> None:
    """Write the summary; the run is over and leaves no state to go on from."""
    run.summarise(
        {
            "ended": outcome.training.why,
            "updates": outcome.training.steps,
            "best_update": outcome.training.best_step,
            "dev_chrf++": outcome.training.best_score,
            "tokens": outcome.training.tokens,
            "seconds": round(outcome.seconds, 2),
            "timings": {name: round(spent, 2) for name, spent in outcome.timings.items()},
            "scores": [record.model_dump(mode="json") for record in outcome.manifest.scores],
            "digest": outcome.version.digest if outcome.version else None,
            "data": outcome.data.facts() if outcome.data else None,
        }
    )
    run.forget_state()
