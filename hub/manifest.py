"""What an adapter is, and what it was made from: the file hub.json.

The manifest lies beside PEFT's files in the adapter folder and is part of what
the folder's digest covers. It holds nothing that depends on the clock or on the
machine's folders, so the same training gives the same bytes; the environment
that it names is part of what the same training means.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from hub.errors import CorruptBlobError, LanguageError, RefError
from hub.languages import LanguagePair
from hub.provenance import (
    CleaningRecord,
    CorpusReference,
    Count,
    Digest,
    EnvironmentRecord,
    Name,
    OriginRecord,
    ParentRecord,
    Record,
    SourceRecord,
    leave_out_empty,
)
from hub.refs import check_domain

__all__ = [
    "AdapterManifest", "BaseReference", "CleaningRecord", "ComparisonRecord", "CorpusReference",
    "EnvironmentRecord", "LengthRecord", "LengthScore", "Metric", "OriginRecord", "OutputRecord",
    "ParentRecord", "ScoreRecord", "SourceRecord", "System",
]  # fmt: skip

MANIFEST_FILE: Final = "hub.json"
SCHEMA_VERSION: Final = 1

Metric = Literal["chrf++", "bleu", "ter", "exact", "comet"]
System = Literal["base", "adapter"]
_OF_TRAINING: Final = ("corpus", "recipe_digest", "seed")


class ScoreRecord(Record):
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


class ComparisonRecord(Record):
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


class LengthScore(Record):
    """One metric of base and adapter on the items of one source length."""

    metric: Metric
    base: float
    adapter: float
    p_value: Annotated[float, Field(ge=0, le=1)]


class LengthRecord(Record):
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


class BaseReference(Record):
    """The base model that the adapter belongs to.

    Attributes:
        parameters: Unique parameters of the unquantized base, tied weights once.
        licence: As the base's folder states it; "" where it does not.
        languages: What `--languages` said of the base when the adapter was made; "" where the base
            itself says its languages.
    """

    name: Name
    digest: Digest
    parameters: Annotated[int, Field(gt=0)]
    licence: str = ""
    languages: str = ""

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_empty(write(self), ("licence", "languages"))


class OutputRecord(Record):
    """What the adapter's own translations of its dev set look like, sentence by sentence.

    They are what outputs are compared with while serving.

    Attributes:
        items: Dev segments that were decoded.
        log_probability: Mean over them of the mean log-probability per token, in nats.
        log_probability_deviation: Standard deviation of it.
        log_length_ratio: Mean of the logarithm of output tokens per source token.
        log_length_ratio_deviation: Standard deviation of it.
        signature: How they were decoded.
    """

    items: Annotated[int, Field(gt=1)]
    log_probability: float
    log_probability_deviation: Annotated[float, Field(ge=0)]
    log_length_ratio: float
    log_length_ratio_deviation: Annotated[float, Field(ge=0)]
    signature: str


class AdapterManifest(Record):
    """An adapter's identity card.

    Attributes:
        pair: Language pair such as "en-ko", in canonical spelling.
        size: Width, rank, prefix length or token rows, by method; 0 where the method has none.
        budget: Asked fraction of the base's parameters; None where a size was asked.
        trainable_parameters: The realised count, verified again at load.
        realised_fraction: That count over the base's unique parameters; made where not given,
            and refused where it contradicts them.
        corpus: What it was trained on; None where that is not known.
        recipe_digest: Digest of the training recipe; names the run. None where it is not known.
        seed: Of the training; None where it is not known.
        scores: Evidence; empty for an adapter imported without any.
        comparisons: With its base, metric by metric.
        lengths: The scores by source length.
        environment: What it was trained with; None for an adapter of unknown making.
        origin: Where it comes from, if it was not trained here. Only then may the corpus, the
            recipe and the seed be unknown.
        domain: What texts it was made for, such as "medical"; "" for any.
        output: What its translations of its dev set look like; None where that is not known.
        token_rows: Rows of the token table that it has beside its method; 0 for none.
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
    corpus: CorpusReference | None = None
    recipe_digest: Digest | None = None
    seed: int | None = None
    scores: tuple[ScoreRecord, ...] = ()
    comparisons: tuple[ComparisonRecord, ...] = ()
    lengths: tuple[LengthRecord, ...] = ()
    environment: EnvironmentRecord | None = None
    origin: OriginRecord | None = None
    domain: str = ""
    output: OutputRecord | None = None
    token_rows: Count = 0

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what older manifests do not have, so that theirs keep their bytes."""
        absent = (
            "comparisons", "lengths", "environment", "origin", "domain", "output",
            "token_rows",
        )  # fmt: skip
        return leave_out_empty(write(self), absent)

    @model_validator(mode="after")
    def _fraction_is_of_these_counts(self) -> Self:
        share = self.trainable_parameters / self.base.parameters
        if not math.isclose(self.realised_fraction, share):
            raise ValueError(
                f"realised_fraction {self.realised_fraction!r} is not {self.trainable_parameters} "
                f"of {self.base.parameters}"
            )
        return self

    @model_validator(mode="after")
    def _training_is_known_without_an_origin(self) -> Self:
        unknown = [name for name in _OF_TRAINING if getattr(self, name) is None]
        if unknown and self.origin is None:
            raise ValueError(
                f"{unknown[0]} is missing; only an adapter with an origin may leave it out"
            )
        return self

    @field_validator("domain")
    @classmethod
    def _valid_domain(cls, domain: str) -> str:
        try:
            return check_domain(domain)
        except RefError as error:
            raise ValueError(error.message) from None

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
    def table_rows(self) -> int:
        """Return how many rows of the token table the adapter has, alone or beside a method."""
        return self.size if self.method == "tokens" else self.token_rows

    @property
    def trained(self) -> str:
        """Return the method with its size, and what is trained beside it."""
        rows = f", and {self.token_rows:,} rows of the token table" if self.token_rows else ""
        return f"{self.method}, size {self.size}{rows}"

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
