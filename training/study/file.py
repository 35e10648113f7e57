"""The study file: what is compared, on what, and what is claimed before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hub.errors import HubError, SettingsError
from training.methods.catalog import METHODS
from training.study.axes import AXES, BASE, FULL

_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,59}$"


def _fraction(value: object) -> object:
    """Read a budget as `--budget` takes it."""
    from hub.budget import check_budget, parse_budget

    try:
        return parse_budget(value) if isinstance(value, str) else check_budget(value)  # type: ignore[arg-type]
    except HubError as error:
        raise ValueError(error.message) from None


def _pair(value: str) -> str:
    from hub.languages import LanguagePair

    try:
        return str(LanguagePair.parse(value))
    except HubError as error:
        raise ValueError(error.message) from None


def _distinct(values: list[Any]) -> list[Any]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f"{value!r} is named twice; name it once")
    return values


Budget = Annotated[float, BeforeValidator(_fraction)]
PairName = Annotated[str, AfterValidator(_pair)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class BaseEntry(_Section):
    """A base model.

    Attributes:
        base: embedded, a folder, or an id of the Hugging Face Hub, as `--base` takes it.
        languages: Of a base that does not say them, as `--languages` takes them.
        dims: Dimensions known by name, so that a base which is not here can be planned.
        get: The command that brings the base, for the message where it is not here.
    """

    base: str
    languages: str = ""
    dims: str = ""
    get: str = ""


class PairData(_Section):
    """Where a pair's text comes from; the file's `corpus` unless given."""

    data: Annotated[list[str], Field(min_length=1)] | None = None
    dev: str | None = None
    test: str | None = None


class CorpusEntry(_Section):
    """What is trained and scored on.

    Attributes:
        data: Sources as `--data` takes them.
        dev: Segments of the dev set at most, and `test` of the test set.
        seed: Draws the corpus: the same for every cell, so that all are scored on the same items.
    """

    data: Annotated[list[str], Field(min_length=1)] = ["cldr"]
    dev: Count = 100
    test: Count = 300
    clean: list[str] = []
    no_clean: bool = False
    seed: int = 1


class MethodEntry(_Section):
    """A method under a name of its own in this study."""

    method: str = ""
    options: dict[str, str | int | bool] = {}


class Training(_Section):
    """What is not left to the defaults of `hub train`."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    schedule: str | None = None
    warmup: Annotated[int, Field(ge=0)] | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    tokens_per_batch: Count | None = None
    max_updates: Count | None = None
    evaluate_every: Count | None = None
    dev_lines: Count | None = None
    patience: Count | None = None
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    accumulate: Count | None = None
    checkpointing: bool | None = None


class Block(_Section):
    """A part of the grid: the product of these axes; an axis that is left out is taken whole."""

    bases: Annotated[list[str], AfterValidator(_distinct)] | None = None
    pairs: Annotated[list[PairName], AfterValidator(_distinct)] | None = None
    methods: Annotated[list[str], AfterValidator(_distinct)] | None = None
    budgets: Annotated[list[Budget], AfterValidator(_distinct)] | None = None
    train: Annotated[list[Count], AfterValidator(_distinct)] | None = None
    seeds: Annotated[list[int], AfterValidator(_distinct)] | None = None


class When(_Section):
    """Which cells are meant: those that agree with every key that is given."""

    bases: list[str] | None = None
    pairs: list[PairName] | None = None
    methods: list[str] | None = None
    budgets: list[Budget] | None = None
    train: list[Count] | None = None
    seeds: list[int] | None = None


class Override(_Section):
    """Settings of some cells; of several that fit a cell, the later ones win."""

    when: When
    set: Training


class Scoring(_Section):
    """How test items are decoded: the same for every cell of a study."""

    search: Literal["base", "greedy"] = "greedy"
    quantization: Literal["float32", "bfloat16", "int8"] = "int8"


class EarlyStopping(_Section):
    """When a cell is given up as hopeless; nothing is where the file has no such section.

    Attributes:
        after: Share of the updates before which no cell is given up.
        gain: chrF++ on the dev set above the untrained base that it must have by then.
    """

    after: Annotated[float, Field(gt=0, le=1)] = 0.5
    gain: float = 0.0


class Claims(_Section):
    """What is tested, said before the study is run.

    Attributes:
        margin: chrF++ within which two systems are on par; also the smallest effect that matters.
        method: The adapter that claims are about, and `budget` its size in claims (a) and (c).
        alpha: Error level of the family of claims.
        power: For the smallest effect that could have been seen.
    """

    margin: Annotated[float, Field(gt=0)] = 1.0
    method: str = "bottleneck"
    budget: Budget = 0.1
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8


class Execution(_Section):
    """How cells are run; decides nothing about what comes out but the order of sums.

    Attributes:
        threads: CPU threads of a cell.
        workers: Cells at a time under Ray.
        keep: Whether run folders with the trained weights are kept.
    """

    threads: Count = 1
    workers: Count = 1
    keep: bool = False


class StudyFile(_Section):
    """A study, checked."""

    study: Annotated[str, Field(pattern=_NAME)]
    bases: Annotated[dict[str, BaseEntry], Field(min_length=1)]
    pairs: Annotated[dict[PairName, PairData], Field(min_length=1)]
    methods: Annotated[dict[str, MethodEntry], Field(min_length=1)]
    budgets: Annotated[list[Budget], Field(min_length=1), AfterValidator(_distinct)]
    train: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    seeds: Annotated[list[int], Field(min_length=1), AfterValidator(_distinct)]
    corpus: CorpusEntry = CorpusEntry()
    training: Training = Training()
    grid: Annotated[list[Block], Field(min_length=1)] = [Block()]
    overrides: list[Override] = []
    scoring: Scoring = Scoring()
    early_stopping: EarlyStopping | None = None
    claims: Claims = Claims()
    execution: Execution = Execution()

    @field_validator("pairs", mode="before")
    @classmethod
    def _plain_pairs(cls, value: object) -> object:
        """Take a list of pairs for pairs without data of their own."""
        if isinstance(value, list):
            _distinct(value)
            return {name: {} for name in value}
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value

    @field_validator("methods", mode="before")
    @classmethod
    def _plain_methods(cls, value: object) -> object:
        if isinstance(value, list):
            _distinct(value)
            return {name: {} for name in value}
        return {k: v or {} for k, v in value.items()} if isinstance(value, dict) else value

    @field_validator("methods")
    @classmethod
    def _known_methods(
        cls, value: dict[str, MethodEntry], info: ValidationInfo
    ) -> dict[str, MethodEntry]:
        for name, entry in value.items():
            wanted = entry.method or name
            if wanted not in METHODS:
                raise ValueError(f"{name}: method {wanted!r} is unknown; allowed: {_list(METHODS)}")
            if name in (BASE, FULL) or wanted == FULL:
                raise ValueError(f"{name!r} is in every study as a reference; leave it out here")
            try:
                METHODS[wanted].complete(entry.options)
            except HubError as error:
                raise ValueError(f"{name}: {error.message}") from None
        return value

    @model_validator(mode="after")
    def _references_hold(self) -> Self:
        """Refuse a name that no axis has, with the place that it stands in."""
        for index, block in enumerate(self.grid):
            self._check_names(block, f"grid[{index}]")
        for index, override in enumerate(self.overrides):
            self._check_names(override.when, f"overrides[{index}].when")
        if self.claims.method not in self.methods:
            raise ValueError(
                f"claims.method: {self.claims.method!r} is no method of this study; "
                f"allowed: {_list(self.methods)}"
            )
        if self.claims.budget not in self.budgets:
            raise ValueError(
                f"claims.budget: {self.claims.budget:g} is no budget of this study; "
                f"allowed: {_list(f'{each:g}' for each in self.budgets)}"
            )
        return self

    def _check_names(self, part: Block | When, where: str) -> None:
        for axis in AXES:
            allowed: Any = getattr(self, axis)
            if axis == "methods" and isinstance(part, When):
                allowed = (*allowed, FULL)
            for value in getattr(part, axis) or ():
                if value not in allowed:
                    raise ValueError(
                        f"{where}.{axis}: {value!r} is not in this study; allowed: {_list(allowed)}"
                    )


def _list(values: Any) -> str:
    return ", ".join(str(each) for each in values)


def load_study(path: Path) -> StudyFile:
    """Read a study file.

    Raises:
        SettingsError: It cannot be read or is not one; the message names every key that is wrong,
            its value and what is allowed.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"study {path}: {error.strerror}; name a YAML file") from None
    except UnicodeDecodeError:
        raise SettingsError(f"study {path} is not UTF-8 text; name a YAML file") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"study {path} is not YAML: {' '.join(str(error).split())}") from None
    return parse_study(content, str(path))


def parse_study(content: object, where: str = "study") -> StudyFile:
    """Check the content of a study file.

    Raises:
        SettingsError: See `load_study`.
    """
    if not isinstance(content, Mapping):
        raise SettingsError(f"{where} holds no keys; see docs/studies/README.md", field="study")
    try:
        return StudyFile.model_validate(dict(content))
    except ValidationError as error:
        lines = [_said(each) for each in error.errors()]
        count = f"{len(lines)} keys are" if len(lines) > 1 else "a key is"
        raise SettingsError(
            f"{where}: {count} wrong\n  " + "\n  ".join(lines), field="study"
        ) from None


def _said(found: Mapping[str, Any]) -> str:
    """Tell one error: key, value, what is allowed."""
    key = _key(found["loc"])
    kind, value = found["type"], found["input"]
    if kind == "extra_forbidden":
        return f"{key}: there is no such key; allowed: {_list(_allowed_keys(found['loc']))}"
    if kind == "missing":
        return f"{key}: is missing; it must be given"
    if kind == "value_error":
        said = str(found["ctx"]["error"]) if "ctx" in found else found["msg"]
        return f"{key}: {said}" if key else said
    return (
        f"{key}: is {value!r:.60}; {found['msg'].removeprefix('Input ').replace('should', 'must')}"
    )


def _key(place: tuple[int | str, ...]) -> str:
    text = ""
    for part in place:
        if part == "[key]":
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _allowed_keys(place: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the section that a wrong key stands in."""
    model: type[BaseModel] = StudyFile
    for part in place[:-1]:
        sections = _SECTIONS.get(str(part))
        model = sections or model
    return list(model.model_fields)


_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "bases": BaseEntry,
    "pairs": PairData,
    "methods": MethodEntry,
    "corpus": CorpusEntry,
    "training": Training,
    "grid": Block,
    "overrides": Override,
    "when": When,
    "set": Training,
    "scoring": Scoring,
    "early_stopping": EarlyStopping,
    "claims": Claims,
    "execution": Execution,
}
