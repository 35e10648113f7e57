"""From points to cells: each with its whole recipe, whose digest is its name, or with a reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from hub.errors import HubError
from hub.languages import LanguagePair
from training.corpora.model import segments_fingerprint
from training.defaults import make_recipe
from training.methods.catalog import METHODS
from training.pieces import settled
from training.study.axes import BASE
from training.study.grid import Point, method_name, points, settings
from training.study.materials import corpus_spec, opened, sized_corpus

if TYPE_CHECKING:
    from training.study.file import StudyFile

UNNAMED: Final = "unresolved:"
"""How the name begins of a cell whose recipe cannot be made here."""


@dataclass(frozen=True)
class Cell:
    """One row of the ledger.

    Attributes:
        name: The digest of its recipe; of the base, that of what is decoded with it.
        point: Where in the grid it stands.
        recipe: Canonical JSON; "" for the base and where it cannot be made.
        trainable: Parameters trained, 0 for the base; None where not even that is known.
        fraction: `trainable` of the base's parameters.
        size: Width, rank or length.
        test: Fingerprint of the test items, the same for all that can be compared.
        reason: Why it cannot be run; "" where it can.
    """

    name: str
    point: Point
    recipe: str
    trainable: int | None
    fraction: float | None
    size: int
    test: str = ""
    reason: str = ""

    def to_json(self) -> str:
        """Return it as text that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a cell back."""
        plain: dict[str, Any] = json.loads(text)
        return cls(**{**plain, "point": Point(**plain["point"])})


def resolve(study: StudyFile) -> tuple[Cell, ...]:
    """Return the cells of a study; nothing is trained and no network is asked.

    Cells whose recipes are equal are one.
    """
    found: dict[str, Cell] = {}
    pairs = list(study.pairs)
    # Pair by pair, so that each corpus is read once.
    for point in sorted(points(study), key=lambda point: pairs.index(point.pair)):
        cell = resolve_point(study, point)
        found.setdefault(cell.name, cell)
    return tuple(sorted(found.values(), key=_together(study)))


def _together(study: StudyFile) -> Any:
    """Order cells so that neighbours share base and corpus, references first within a pair."""
    bases, pairs = list(study.bases), list(study.pairs)
    order = {BASE: 0, "full": 1}

    def key(cell: Cell) -> tuple[Any, ...]:
        at = cell.point
        rank = (order.get(at.method, 2), at.method)
        return (bases.index(at.base), pairs.index(at.pair), rank, at.train, at.budget or 0, at.seed)

    return key


def resolve_point(study: StudyFile, point: Point) -> Cell:
    """Return the cell of a point, with the reason where it cannot be run."""
    try:
        return _base_cell(study, point) if point.method == BASE else _trained_cell(study, point)
    except HubError as error:
        return _blocked(study, point, error.message)


def _base_cell(study: StudyFile, point: Point) -> Cell:
    base, tokenizer = opened(study.bases[point.base])
    pair = LanguagePair.parse(point.pair)
    for language in (pair.source, pair.target):
        tokenizer.target_prefix(language)
    test = _test_of(study, point.pair)
    name = _digest({"system": BASE, "base": base.digest, "pair": point.pair, "test": test})
    return Cell(name, point, "", 0, 0.0, 0, test)


def _trained_cell(study: StudyFile, point: Point) -> Cell:
    base, tokenizer = opened(study.bases[point.base])
    pair = LanguagePair.parse(point.pair)
    for language in (pair.source, pair.target):
        tokenizer.target_prefix(language)
    corpus = sized_corpus(corpus_spec(study, point.pair), point.train)
    recipe = make_recipe(
        pair,
        base,
        method_name=method_name(study, point.method),
        options=_options(study, point.method),
        budget=point.budget,
        size=None,
        corpus=corpus.name if corpus.name == "cldr" else "files",
        overrides=settings(study, point),
    )
    recipe = replace(
        recipe,
        corpus_fingerprint=corpus.fingerprint,
        train=len(corpus.train),
        dev=len(corpus.dev),
        test=len(corpus.test),
    )
    recipe, _ = settled(recipe, base, tokenizer, corpus.train)
    spec = METHODS[recipe.method]
    solved = spec.solve(base.dimensions, recipe.options, budget=None, size=recipe.size)
    return Cell(
        name=recipe.digest,
        point=point,
        recipe=recipe.to_json(),
        trainable=solved.trainable_parameters,
        fraction=solved.realised_fraction,
        size=recipe.size,
        test=_test_of(study, point.pair),
    )


def _options(study: StudyFile, method: str) -> dict[str, str | int | bool]:
    return study.methods[method].options if method in study.methods else {}


def _test_of(study: StudyFile, pair: str) -> str:
    spec = corpus_spec(study, pair)
    return segments_fingerprint(sized_corpus(spec, min(study.train)).test)


def _blocked(study: StudyFile, point: Point, reason: str) -> Cell:
    """Return a cell that cannot be run, with its parameters where the dimensions are known."""
    try:
        trainable, fraction, size = _counted(study, point)
    except HubError as error:  # it fits no base of these dimensions, here or elsewhere
        trainable, fraction, size, reason = None, None, 0, error.message
    name = UNNAMED + _digest({"study": study.study, **asdict(point)})
    return Cell(name, point, "", trainable, fraction, size, reason=" ".join(reason.split()))


def _counted(study: StudyFile, point: Point) -> tuple[int | None, float | None, int]:
    dims = study.bases[point.base].dims
    if not dims:
        return None, None, 0
    if point.method == BASE:
        return 0, 0.0, 0
    spec = METHODS[method_name(study, point.method)]
    options = spec.complete(_options(study, point.method))
    solved = spec.solve(_dimensions(dims), options, budget=point.budget, size=None)
    return solved.trainable_parameters, solved.realised_fraction, solved.size


def _dimensions(name: str) -> Any:
    from hub.dimensions import ModelDimensions
    from training.study.dimensions import known_config

    return ModelDimensions.from_config(known_config(name))


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def runnable(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells that can be run here."""
    return [cell for cell in cells if not cell.reason]
