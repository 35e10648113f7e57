"""The options of `hub train`, by topic; what is None is left to the defaults."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from typer import Option

if TYPE_CHECKING:
    from training.corpora.plan import CorpusRequest
    from training.defaults import Overrides
    from training.recipe import Option as MethodOption

Quantization = Literal["float32", "bfloat16", "int8"]
SearchName = Literal["base", "greedy"]
VocabularyName = Literal["full", "language"]


@dataclass(frozen=True)
class TaskOptions:
    """What is trained, and how large."""

    title: ClassVar[str] = "What is trained"

    pair: Annotated[str, Option(help="Language pair, source first, such as en-ko.")]
    budget: Annotated[str | None, Option(help="Share of the base's parameters: 0.01 or 1%.")] = None
    method: Annotated[str, Option(help="What is trained; `hub methods` lists them all.")] = (
        "bottleneck"
    )
    width: Annotated[int | None, Option(help="Bottleneck width, instead of --budget.")] = None
    rank: Annotated[int | None, Option(help="LoRA rank, instead of --budget.")] = None
    prefix_length: Annotated[int | None, Option(help="Prefix length, instead of --budget.")] = None
    token_rows: Annotated[
        int | None,
        Option(
            help="Rows of the token table, at most: of method tokens instead of --budget, beside "
            "another method within it."
        ),
    ] = None
    base: Annotated[str | None, Option(help="embedded, a folder or a HF id.")] = None
    languages: Annotated[
        str | None,
        Option(help="Of a base that does not say them: en,de or en=English,de=German."),
    ] = None

    def rows_beside(self) -> dict[str, MethodOption]:
        """Return the rows that are asked for beside another method, as an option of it."""
        if self.token_rows is None or self.method == "tokens":
            return {}
        return {"token_rows": self.token_rows}


@dataclass(frozen=True)
class MethodOptions:
    """Options that go with one method each."""

    title: ClassVar[str] = "Of one method"

    targets: Annotated[str | None, Option(help="LoRA targets: qv, attention or all-linear.")] = None
    rslora: Annotated[
        bool | None, Option("--rslora/--no-rslora", help="LoRA: scale by α/√rank.")
    ] = None
    dora: Annotated[
        bool | None, Option("--dora/--no-dora", help="LoRA: magnitudes of their own.")
    ] = None
    placement: Annotated[str | None, Option(help="Bottleneck: after each layer or sublayer.")] = (
        None
    )
    activation: Annotated[str | None, Option(help="Bottleneck: relu or gelu.")] = None
    norm: Annotated[
        bool | None, Option("--norm/--no-norm", help="Bottleneck: LayerNorm in front.")
    ] = None
    attentions: Annotated[str | None, Option(help="Prefix: all attentions, or decoder.")] = None
    reparametrised: Annotated[
        bool | None,
        Option("--reparametrised/--direct", help="Prefix: made by a network in training."),
    ] = None
    norm_train: Annotated[str | None, Option(help="Norms: weight, or both weight and bias.")] = None

    def given(self) -> dict[str, MethodOption]:
        """Return what was given, by the method's own names."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class DataOptions:
    """What is trained and scored on."""

    title: ClassVar[str] = "Data"

    data: Annotated[
        list[str] | None,
        Option(
            help="cldr, or [WEIGHT@][FORMAT:]PATH[#OPTIONS]; repeatable. See hub corpus formats."
        ),
    ] = None
    train: Annotated[int | None, Option(help="Training segments taken of the corpus.")] = None
    dev: Annotated[
        str | None, Option(help="Dev segments split off the corpus, or a file of them.")
    ] = None
    test: Annotated[
        str | None, Option(help="Test segments split off the corpus, or a file of them.")
    ] = None
    clean: Annotated[
        list[str] | None,
        Option(help="FILTER=VALUE, FILTER=off; repeatable. See hub corpus filters."),
    ] = None
    no_clean: Annotated[bool, Option("--no-clean", help="Use the data as it is.")] = False
    licence: Annotated[str, Option(help="The data's licence, for the model card.")] = ""

    def request(self) -> CorpusRequest:
        """Return the corpus that is asked for."""
        from training.corpora.commands import corpus_request

        return corpus_request(
            self.data,
            dev=self.dev,
            test=self.test,
            clean=self.clean,
            no_clean=self.no_clean,
            licence=self.licence,
        )


@dataclass(frozen=True)
class LearningOptions:
    """How the adapter learns."""

    title: ClassVar[str] = "Learning"

    seed: Annotated[int | None, Option(help="Of sample, start, batches, dropout.")] = None
    lr: Annotated[float | None, Option(help="Peak learning rate.")] = None
    schedule: Annotated[str | None, Option(help="inverse-sqrt, cosine, linear or constant.")] = None
    warmup: Annotated[int | None, Option(help="Updates until the peak.")] = None
    label_smoothing: Annotated[float | None, Option(help="From 0 to below 1.")] = None
    dropout: Annotated[float | None, Option(help="Of the base's layers.")] = None
    tokens: Annotated[
        int | None, Option(help="Tokens per batch, source and target, padding counted.")
    ] = None
    accumulate: Annotated[
        int | None, Option(help="Batches per update; several processes share them.")
    ] = None
    max_updates: Annotated[int | None, Option(help="Updates at most.")] = None
    eval_every: Annotated[int | None, Option(help="Updates between dev scores.")] = None
    patience: Annotated[
        int | None, Option(help="Dev scores without a better one before stopping.")
    ] = None


@dataclass(frozen=True)
class MachineOptions:
    """What the training model costs."""

    title: ClassVar[str] = "Time and memory of training"

    precision: Annotated[str | None, Option(help="auto, float32 or bfloat16 products.")] = None
    checkpointing: Annotated[
        bool | None,
        Option(
            "--checkpointing/--no-checkpointing",
            help="Compute layers twice and keep less of them in memory.",
        ),
    ] = None
    quantize: Annotated[
        str | None, Option(help="The frozen base in training: none, nf4 or int8.")
    ] = None


@dataclass(frozen=True)
class OutcomeOptions:
    """What is done with the adapter."""

    title: ClassVar[str] = "Scoring and publishing"

    quantization: Annotated[
        Quantization, Option(help="The serving engine's numbers while scoring.")
    ] = "int8"
    name: Annotated[str, Option(help="Name to publish under.")] = ""
    alias: Annotated[
        list[str] | None, Option(help="Alias to move to the new version; repeatable.")
    ] = None
    domain: Annotated[
        str, Option(help="What texts it is for, as medical; routes requests that name no adapter.")
    ] = ""
    golden: Annotated[
        int, Option(help="Lines of the dev set that go with it, to be looked at when it is served.")
    ] = 32
    publish: Annotated[bool, Option(help="Put the adapter into the registry.")] = True
    force: Annotated[bool, Option("--force", help="Publish even if worse.")] = False


@dataclass(frozen=True)
class RunOptions:
    """Where things are kept and told."""

    title: ClassVar[str] = "The run"

    resume: Annotated[bool, Option(help="Go on with an unfinished run of the same recipe.")] = True
    registry: Annotated[str | None, Option(help="Registry folder.")] = None
    runs: Annotated[Path | None, Option(help="Folder that keeps runs.")] = None
    track: Annotated[
        list[str] | None,
        Option(help="tensorboard[:DIR], wandb[:PROJECT] or mlflow[:URI]; repeatable."),
    ] = None
    json_file: Annotated[
        Path | None, Option("--json", help="Write the result to this file, - for stdout.")
    ] = None

    def check(self) -> None:
        """Refuse a result file that could not be written, before minutes are spent.

        Raises:
            SettingsError: Its folder is not there, or it is a folder itself.
        """
        check_result_file(self.json_file)


def check_result_file(file: Path | None) -> None:
    """Refuse a file that could not be written; `-` is standard output.

    Raises:
        SettingsError: Its folder is not there, or it is a folder itself.
    """
    from hub.errors import SettingsError

    if file is None:
        return
    if not file.parent.is_dir():
        raise SettingsError(f"--json {file}: there is no folder {file.parent}")
    if file.is_dir():
        raise SettingsError(f"--json {file} is a folder; name a file in it")


def overrides(data: DataOptions, learning: LearningOptions, machine: MachineOptions) -> Overrides:
    """Return what the recipe shall have instead of the defaults."""
    from training.corpora.commands import held_out_number
    from training.defaults import Overrides

    return Overrides(
        train=data.train,
        dev=held_out_number(data.dev),
        test=held_out_number(data.test),
        seed=learning.seed,
        learning_rate=learning.lr,
        schedule=learning.schedule,
        warmup=learning.warmup,
        label_smoothing=learning.label_smoothing,
        dropout=learning.dropout,
        tokens_per_batch=learning.tokens,
        accumulate=learning.accumulate,
        max_updates=learning.max_updates,
        evaluate_every=learning.eval_every,
        patience=learning.patience,
        precision=machine.precision,
        checkpointing=machine.checkpointing,
        quantize=machine.quantize,
    )
