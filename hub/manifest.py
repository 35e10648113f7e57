"""What an adapter is, and what it was made from: the file hub.json.

The manifest lies beside PEFT's files in the adapter folder and is part of what
the folder's digest covers. It holds nothing that depends on the clock or on the
machine's folders, so the same training gives the same bytes; the environment
that it names is part of what the same training means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from hub.errors import CorruptBlobError, LanguageError
from hub.languages import LanguagePair

MANIFEST_FILE: Final = "hub.json"
SCHEMA_VERSION: Final = 1

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]
Metric = Literal["chrf++", "bleu", "ter", "exact", "comet"]
System = Literal["base", "adapter"]


class _Record(BaseModel):
    """Frozen, strict, and closed: an unknown field is an error, not a guess."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ScoreRecord(_Record):
    """One score of one system on the unseen test items.

    Attributes:
        value: In the metric's own units: 0 to 100, more for a bad TER, about 0 to 1 for COMET.
        signature: sacreBLEU's signature: version, tokenizer, smoothing.
        items: Number of test segments scored.
    """

    metric: Metric
    system: System
    value: float
    signature: str
    items: Count


class ComparisonRecord(_Record):
    """The adapter against another system on the same items, by paired bootstrap resampling.

    Attributes:
        against: "base", or the ref of another adapter.
        delta: The adapter's score less the other's, in the metric's own units.
        low: Lower end of delta's 95 % interval, and `high` the upper: percentiles of the resamples.
        p_value: That such a difference is chance, as sacreBLEU's `--paired-bs` computes it.
        p_worse: One-sided (Koehn 2004): share of resamples in which the adapter is not worse.
        signature: The score's, with the number of resamples and the seed.
    """

    metric: Metric
    against: Name
    delta: float
    low: float
    high: float
    p_value: Annotated[float, Field(ge=0, le=1)]
    p_worse: Annotated[float, Field(ge=0, le=1)]
    signature: str


class LengthScore(_Record):
    """One metric of base and adapter on the items of one source length."""

    metric: Metric
    base: float
    adapter: float
    p_value: Annotated[float, Field(ge=0, le=1)]


class LengthRecord(_Record):
    """Scores of the test items whose source has a certain length.

    Attributes:
        unit: What the length counts; characters where the source writes no spaces.
        low: Shortest length, and `high` the longest, both included; None where there is no end.
    """

    unit: Literal["words", "characters"]
    low: Count
    high: Count | None
    items: Count
    scores: tuple[LengthScore, ...]


class EnvironmentRecord(_Record):
    """What an adapter was trained with, as far as it decides which bytes come out.

    Attributes:
        python: Version of Python.
        libraries: Versions by package, the hub's own included.
        device: "cpu" or "cuda", and `processor` its model.
        threads: Threads of each product on a CPU.
        precision: Of the base's products while training.
        scored_in: The serving engine's numbers while scoring.
    """

    python: Name
    libraries: Mapping[str, str]
    device: Name
    processor: str
    threads: Count
    precision: Name
    scored_in: Name


class BaseReference(_Record):
    """The base model that the adapter belongs to.

    Attributes:
        parameters: Unique parameters of the unquantized base, tied weights once.
        licence: As the base's folder states it; "" where it does not.
    """

    name: Name
    digest: Digest
    parameters: Annotated[int, Field(gt=0)]
    licence: str = ""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _leave_out_empty(write(self), ("licence",))


class SourceRecord(_Record):
    """One source of a corpus of files.

    Attributes:
        name: The file's name without folders.
        weight: How often each segment counted.
        digest: Of its segments as they were read.
        read: Segments read, and `kept` those that cleaning left.
    """

    name: str
    format: Name
    weight: Annotated[float, Field(gt=0)]
    digest: Digest
    read: Count
    kept: Count


class CleaningRecord(_Record):
    """How a corpus was cleaned.

    Attributes:
        settings: By filter; what is not in it was off.
        removed: Segments by the filter that removed them.
        skipped: Entries that the files themselves mark as no translation, by reason.
    """

    settings: Mapping[str, float]
    removed: Mapping[str, Count]
    skipped: Mapping[str, Count]


class CorpusReference(_Record):
    """The corpus, its identity and how many pairs each split held.

    Attributes:
        sources: What was read; empty for a corpus that is not read from files.
        cleaning: What cleaning did to it; None where nothing was read.
        test_fingerprint: Identity of the test segments alone; "" where nothing was read.
    """

    name: Name
    fingerprint: Name
    licence: Name
    train: Count
    dev: Count
    test: Count
    sources: tuple[SourceRecord, ...] = ()
    cleaning: CleaningRecord | None = None
    test_fingerprint: str = ""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older manifests do not have, so that theirs keep their bytes."""
        return _leave_out_empty(write(self), ("sources", "cleaning", "test_fingerprint"))


class AdapterManifest(_Record):
    """An adapter's identity card.

    Attributes:
        pair: Language pair such as "en-ko", in canonical spelling.
        size: Width, rank or prefix length, by method; 0 where the method has none.
        budget: Asked fraction of the base's parameters; None where a size was asked.
        trainable_parameters: The realised count, verified again at load.
        realised_fraction: That count over the base's unique parameters; made where not given,
            and refused where it contradicts them.
        recipe_digest: Digest of the training recipe; names the run.
        scores: Evidence; empty for an adapter imported without any.
        comparisons: With its base, metric by metric.
        lengths: The scores by source length.
        environment: What it was trained with; None for an adapter of unknown making.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    pair: str
    method: Name
    size: Count
    budget: Annotated[float, Field(gt=0, le=1)] | None
    trainable_parameters: Annotated[int, Field(gt=0)]
    base: BaseReference
    realised_fraction: Annotated[float, Field(gt=0)] = Field(
        default_factory=lambda known: _fraction(known)
    )
    corpus: CorpusReference
    recipe_digest: Digest
    seed: int
    scores: tuple[ScoreRecord, ...] = ()
    comparisons: tuple[ComparisonRecord, ...] = ()
    lengths: tuple[LengthRecord, ...] = ()
    environment: EnvironmentRecord | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older manifests do not have, so that theirs keep their bytes."""
        return _leave_out_empty(write(self), ("comparisons", "lengths", "environment"))

    @model_validator(mode="after")
    def _fraction_is_of_these_counts(self) -> Self:
        share = self.trainable_parameters / self.base.parameters
        if not math.isclose(self.realised_fraction, share):
            raise ValueError(
                f"realised_fraction {self.realised_fraction!r} is not {self.trainable_parameters} "
                f"of {self.base.parameters}"
            )
        return self

    @field_validator("pair")
    @classmethod
    def _canonical_pair(cls, pair: str) -> str:
        try:
            parsed = str(LanguagePair.parse(pair))
        except LanguageError as error:
            raise ValueError(error.message) from None
        if parsed != pair:
            raise ValueError(f"{pair!r} is not canonical; write {parsed!r}")
        return pair

    @property
    def language_pair(self) -> LanguagePair:
        """Return the pair as an object."""
        return LanguagePair.parse(self.pair)

    def verify(self, *, parameters: int | None = None, base_parameters: int | None = None) -> None:
        """Hold count, fraction and budget against each other and against what was instantiated.

        Args:
            parameters: Values that the adapter holds, counted from it.
            base_parameters: Unique parameters of the base it is loaded for.

        Raises:
            CorruptBlobError: Two of them contradict; the message names both.
        """
        for counted, stated, what in (
            (parameters, self.trainable_parameters, "adapter"),
            (base_parameters, self.base.parameters, "base"),
        ):
            if counted is not None and counted != stated:
                raise CorruptBlobError(
                    f"{MANIFEST_FILE} says that the {what} has {stated:,} parameters, but it has "
                    f"{counted:,}; publish the adapter again from its run folder"
                )
        if self.budget is not None and self.realised_fraction > self.budget:
            raise CorruptBlobError(
                f"{MANIFEST_FILE} states a budget of {self.budget:g}, but the adapter takes "
                f"{self.realised_fraction:.6g} of its base; publish it again from its run folder"
            )

    def score(self, metric: Metric, system: System) -> float | None:
        """Return a score's value, None where it was not measured."""
        found = (s.value for s in self.scores if s.metric == metric and s.system == system)
        return next(found, None)

    def comparison(self, metric: Metric, against: str = "base") -> ComparisonRecord | None:
        """Return how the adapter compares with another system, None where it was not measured."""
        found = (c for c in self.comparisons if c.metric == metric and c.against == against)
        return next(found, None)

    def to_json(self) -> str:
        """Return the canonical text: sorted keys, two spaces, one final newline."""
        plain = self.model_dump(mode="json")
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a manifest.

        Raises:
            CorruptBlobError: The text is not a manifest of a known schema, or its
                budget does not hold; the message names the first field at fault.
        """
        try:
            manifest = cls.model_validate_json(text)
        except ValidationError as error:
            raise CorruptBlobError(_explain(error)) from None
        manifest.verify()
        return manifest


def _leave_out_empty(plain: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value or key not in optional}


def _fraction(known: dict[str, Any]) -> float:
    """Return trainable parameters over the base's, 1 where either was refused already."""
    base, count = known.get("base"), known.get("trainable_parameters")
    return count / base.parameters if base is not None and count is not None else 1.0


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return (
        f"{MANIFEST_FILE} is not a valid manifest: {where}: {first['msg']}{more}; "
        "publish the adapter again from its run folder"
    )
