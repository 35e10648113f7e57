"""What an adapter was made from: corpus, environment, or other adapters.

Every record is frozen, and leaves out what older manifests do not have, so that
theirs keep their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Frozen, strict, and closed: an unknown field is an error, not a guess."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EnvironmentRecord(Record):
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


class SourceRecord(Record):
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


class CleaningRecord(Record):
    """How a corpus was cleaned.

    Attributes:
        settings: By filter; what is not in it was off.
        removed: Segments by the filter that removed them.
        skipped: Entries that the files themselves mark as no translation, by reason.
    """

    settings: Mapping[str, float]
    removed: Mapping[str, Count]
    skipped: Mapping[str, Count]


class CorpusReference(Record):
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
        return leave_out_empty(write(self), ("sources", "cleaning", "test_fingerprint"))


class ParentRecord(Record):
    """One adapter of several that were merged.

    Attributes:
        ref: As it was named in its registry, "name:version".
        weight: Its factor in the combination.
    """

    ref: Name
    digest: Digest
    weight: float


class OriginRecord(Record):
    """Where an adapter comes from that was not trained here.

    Attributes:
        source: Name of the folder without its path, or "org/name@revision"; "" for a merged one.
        digest: Of the files as they came; None for a merged one.
        method: PEFT type that was converted to the adapter's own; "" where none was.
        parents: What was merged; empty for an imported one.
    """

    kind: Literal["imported", "merged"]
    source: Annotated[str, Field(max_length=300)] = ""
    digest: Digest | None = None
    method: Annotated[str, Field(max_length=60)] = ""
    parents: tuple[ParentRecord, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return leave_out_empty(write(self), ("source", "digest", "method", "parents"))

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> Self:
        if self.kind == "imported" and not self.source:
            raise ValueError("an imported adapter has a source")
        if self.kind == "merged" and not self.parents:
            raise ValueError("a merged adapter has parents")
        return self


def leave_out_empty(plain: dict[str, Any], optional: Sequence[str]) -> dict[str, Any]:
    """Return the fields without those optional ones that say nothing."""
    return {key: value for key, value in plain.items() if value or key not in optional}
