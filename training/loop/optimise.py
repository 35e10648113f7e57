"""From an opened request to a trained model: what the base becomes, and the loop around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from training.defaults import rows_rate
from training.evidence.decode import spread
from training.loop.checkpointing import checkpoint_layers
from training.loop.examples import encode_corpus
from training.loop.interrupt import stop_on_interrupt
from training.loop.model import adapter_files, attach, load_adapter, load_base_model
from training.whole_weights import load_tuned, tuned_files, unfreeze

if TYPE_CHECKING:
    from training.corpora import SentencePair
    from training.loop.batching import Example
    from training.loop.loss import Layout
    from training.loop.processes import Processes
    from training.loop.progress import Progress
    from training.loop.trainer import Judge, TrainingResult
    from training.work import Work

LOSS_LINES: Final = 64


def adapted_model(work: Work) -> Any:
    """Return the base with a fresh adapter in it, or with every parameter trainable."""
    from torch import nn

    from training.loop.devices import training_device

    whole = work.spec.serving == "a base of its own"
    recipe = work.recipe
    quantized = recipe.quantize != "none"
    model = load_base_model(
        work.base,
        dropout=recipe.dropout,
        precision="float32" if quantized else recipe.precision,
        frozen=not whole,
    )
    if quantized:
        from training.loop.quantized import quantize_for

        quantize_for(recipe, model, training_device())
    nn.Module.to(model, training_device())
    adapted: Any = unfreeze(model) if whole else attach(model, work.spec, recipe, work.pieces)
    if recipe.checkpointing:
        checkpoint_layers(adapted)
    return adapted


def snapshot(work: Work, model: Any) -> Callable[[], Mapping[str, bytes]]:
    """Return what makes the files of the adapter, or of the whole base, as it stands."""
    if work.spec.serving == "a base of its own":
        return lambda: tuned_files(model, work.base, work.recipe)
    return lambda: adapter_files(model, work.recipe.base)


def layout_of(work: Work) -> Layout:
    """Return the special ids of the base that the loss must know."""
    from training.loop.loss import Layout

    return Layout(
        pad_id=work.tokenizer.pad_id,
        decoder_start_id=work.tokenizer.decoder_start_id,
        forced=len(work.tokenizer.target_prefix(work.pair.target)),
    )


def train(
    work: Work,
    model: Any,
    examples: Sequence[Example],
    judge: Judge,
    progress: Progress,
    processes: Processes | None,
) -> TrainingResult:
    """Train, and leave the best adapter in the model."""
    result = run_trainer(work, model, examples, judge, progress, processes)
    if work.spec.serving == "a base of its own":
        load_tuned(model, work.run.best)
    else:
        load_adapter(model, work.run.best)
    return result


def run_trainer(
    work: Work,
    model: Any,
    examples: Sequence[Example],
    judge: Judge,
    progress: Progress,
    processes: Processes | None,
) -> TrainingResult:
    """Train the model, and leave it as the last update left it."""
    from training.loop.devices import training_device
    from training.loop.trainer import Trainer

    with stop_on_interrupt() as stop:
        trainer = Trainer(
            model,
            examples,
            work.recipe,
            layout=layout_of(work),
            run=work.run,
            snapshot=snapshot(work, model),
            judge=judge,
            progress=progress,
            stop=stop,
            device=training_device(),
            name_line=lambda line: work.corpus.train[line].item,
            processes=processes,
            rows_rate=rows_rate(work.recipe, work.base.dimensions),
        )
        return trainer.train()


def off_quantized(work: Work, model: Any, dev: Sequence[SentencePair]) -> Any:
    """Return the best adapter in the unquantized base, once it is seen to be as good there.

    Raises:
        EqualityGateError: Its dev loss is too much higher there.
    """
    from training.loop.devices import training_device
    from training.loop.quantized import check_loss, mean_loss

    plain = adapted_model(replace(work, recipe=replace(work.recipe, quantize="none")))
    load_adapter(plain, work.run.best)
    lines = encode_corpus(
        spread(dev, LOSS_LINES), work.pair, work.tokenizer, max_positions=work.positions
    ).examples
    trained, served = (
        mean_loss(each, lines, layout_of(work), training_device()) for each in (model, plain)
    )
    work.run.log({"dev_loss_quantized": round(trained, 4), "dev_loss": round(served, 4)})
    check_loss(trained, served)
    return plain
