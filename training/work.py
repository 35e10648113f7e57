"""From a request to the work it asks for: everything that it names, opened and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hub.bases import open_base
from hub.bases.languages import remember_languages
from hub.bases.tokenizer import load_tokenizer
from hub.errors import SettingsError
from hub.golden import GOLDEN_LINES, MAX_GOLDEN_LINES
from hub.languages import LanguagePair
from hub.refs import check_alias, check_domain, check_name
from training.corpora.plan import TRAIN_LIMIT, CorpusRequest, plan_corpus
from training.defaults import Overrides, make_recipe
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Quantization
from training.methods.catalog import MethodSpec, method
from training.pieces import settled
from training.publish import default_name
from training.recipe import Option, Recipe
from training.runs import RunFolder
from training.whole_weights import merged_files

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.bases.tokenizer import BaseTokenizer
    from hub.registry import Registry
    from training.corpora import CorpusSplits


@dataclass(frozen=True)
class TrainRequest:
    """What to train and what to do with it.

    Attributes:
        pair: Language pair as the user typed it.
        budget: Fraction of the base's parameters; give this or `size`.
        languages: Of a base that does not say them, as `--languages` takes them.
        name: Published under this; `<pair>.<method>` by default.
        quantization: The serving engine's numbers while scoring.
        resume: Go on with an unfinished run of the same recipe.
        force: Publish even if the adapter is worse than the base.
        domain: What texts the adapter is for; requests without an adapter are routed by it.
        golden: Lines of the dev set that go with the adapter; 0 for none.
        track: Trackers that hear of the run, as `training.loop.trackers` names them.
    """

    pair: str
    method: str = "bottleneck"
    options: Mapping[str, Option] = field(default_factory=dict)
    budget: float | None = None
    size: int | None = None
    base: str = "embedded"
    languages: str = ""
    corpus: CorpusRequest = field(default_factory=CorpusRequest)
    overrides: Overrides = field(default_factory=Overrides)
    registry: str = ""
    runs: Path = Path("runs")
    name: str = ""
    aliases: tuple[str, ...] = ()
    quantization: Quantization = "int8"
    publish: bool = True
    resume: bool = True
    force: bool = False
    domain: str = ""
    golden: int = GOLDEN_LINES
    track: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """A request with everything in it opened and checked.

    Attributes:
        pieces: Tokens whose rows of the token table are trained; empty for none.
    """

    recipe: Recipe
    pair: LanguagePair
    corpus: CorpusSplits
    base: Base
    tokenizer: BaseTokenizer
    run: RunFolder
    registry: Registry | None
    name: str
    pieces: tuple[int, ...] = ()

    @property
    def positions(self) -> int:
        """Return how long a line may be."""
        return self.base.dimensions.max_positions

    @property
    def spec(self) -> MethodSpec:
        """Return the method."""
        return method(self.recipe.method)

    @property
    def slots(self) -> tuple[int, ...]:
        """The rows that the gate compares: the base's too, where the model still is one."""
        whole = self.spec.serving == "a base of its own"
        return (ADAPTER_SLOT,) if whole else (ADAPTER_SLOT, BASE_SLOT)

    def as_base(self, folder: Path) -> Path:
        """Return the base folder that a saved folder stands for; an adapter is merged first."""
        if self.spec.serving == "a base of its own":
            return folder
        return self.run.save_adapter("base", merged_files(self.base, folder, self.recipe))


def prepare(request: TrainRequest, *, leads: bool = True) -> Work:
    """Open and check everything that the request names; nothing costly has happened yet.

    Only the process that leads opens the registry and writes.
    """
    pair = LanguagePair.parse(request.pair)
    base = open_base(request.base)
    if request.languages:
        remember_languages(base, request.languages)
    plan = plan_corpus(request.corpus, pair)
    recipe = make_recipe(
        pair,
        base,
        method_name=request.method,
        options=request.options,
        budget=request.budget,
        size=request.size,
        corpus=plan.corpus,
        overrides=_limited(request.overrides) if plan.sources else request.overrides,
    )
    name = check_name(request.name or default_name(recipe))
    check_domain(request.domain)
    if not 0 <= request.golden <= MAX_GOLDEN_LINES:
        raise SettingsError(
            f"--golden {request.golden} is out of range; choose 0 to {MAX_GOLDEN_LINES}",
            field="golden",
        )
    for alias in request.aliases:
        check_alias(alias)
    spec = method(recipe.method)
    if request.aliases and not spec.in_slots:
        raise SettingsError(
            f"--alias does not go with method {spec.name!r}: it makes {spec.serving}, which is "
            "kept in the run folder and not published",
            field="alias",
        )
    tokenizer = load_tokenizer(base)
    for language in (pair.source, pair.target):
        tokenizer.target_prefix(language)
    publishes = leads and request.publish and spec.in_slots
    registry = _open_registry(request) if publishes else None
    if leads:
        RunFolder.check_root(request.runs)
    corpus = plan.load(seed=recipe.seed, train=recipe.train, dev=recipe.dev, test=recipe.test)
    recipe, pieces = settled(_with_corpus(recipe, corpus), base, tokenizer, corpus.train)
    run = RunFolder(request.runs / recipe.run_name)
    if leads:
        run = RunFolder.create(request.runs, recipe)
        if not (request.resume and run.unfinished):
            run.start_over()
    return Work(recipe, pair, corpus, base, tokenizer, run, registry, name, pieces)


def _limited(overrides: Overrides) -> Overrides:
    """Take of files all that there is, within what memory holds, unless told otherwise."""
    return replace(overrides, train=TRAIN_LIMIT if overrides.train is None else overrides.train)


def _with_corpus(recipe: Recipe, corpus: CorpusSplits) -> Recipe:
    """Name the very segments in the recipe, so that its digest names them."""
    return replace(
        recipe,
        corpus_fingerprint=corpus.fingerprint,
        train=len(corpus.train),
        dev=len(corpus.dev),
        test=len(corpus.test),
    )


def _open_registry(request: TrainRequest) -> Registry:
    from hub.registry import Registry

    return Registry.open(request.registry)
