"""One frozen description of a training run; its digest names the run.

A recipe holds everything that decides which adapter comes out, and nothing else: no paths, no
dates, no machine. Equal recipes train equal adapters (on the same kind of CPU with the same
threads), so a recipe's digest is the name of its run folder.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from hub.errors import SettingsError
from training.loop.schedule import SCHEDULES

Option = str | int | bool
PRECISIONS: Final = ("float32", "bfloat16")
QUANTIZATIONS: Final = ("none", "nf4", "int8")
RUN_NAME_DIGITS: Final = 12


@dataclass(frozen=True)
class Recipe:
    """Describe a run.

    Attributes:
        pair: Language pair in canonical spelling.
        method: Adapter method, and `options` its options, complete with the defaults.
        size: Width, rank or length, solved from `budget` where that is given; 0 where the method
            has none.
        budget: Asked fraction of the base's parameters; None where the size was asked.
        base: Name of the base model, without a folder, and `base_digest` its identity.
        corpus: "cldr" or "files", and `train`, `dev`, `test` the segments taken of it.
        seed: Seed of the corpus sample, of the adapter's start, of batches and dropout.
        tokens_per_batch: Padded positions per batch, source and target together.
        accumulate: Batches per update, shared out among the processes.
        checkpointing: Whether layers are computed again for their gradients, to save memory.
        quantize: Numbers of the frozen base's linears while training: none, nf4 or int8.
        evaluate_every: Updates between two looks at the dev set.
        dev_lines: Segments of the dev set decoded at each look.
        patience: Looks without a better score before training stops.
        dropout: Of the base's layers while training; attention weights are never dropped.
        languages: What `--languages` said of the base, which decides how it is asked; "" where the
            base itself says its languages.
        corpus_fingerprint: Identity of the segments themselves and of how they were cleaned: by
            content, so that a file may be moved or renamed and a run goes on only on the same data.
    """

    pair: str
    method: str
    options: Mapping[str, Option]
    size: int
    budget: float | None
    base: str
    base_digest: str
    corpus: str
    train: int
    dev: int
    test: int
    seed: int
    learning_rate: float
    schedule: str
    warmup: int
    label_smoothing: float
    weight_decay: float
    dropout: float
    clip: float
    tokens_per_batch: int
    max_updates: int
    evaluate_every: int
    dev_lines: int
    patience: int
    precision: str
    accumulate: int = 1
    checkpointing: bool = False
    quantize: str = "none"
    optimiser: str = "adamw"
    languages: str = ""
    corpus_fingerprint: str = ""
    version: int = 2

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, naming the field, its value and its limits."""
        self._check_positive(
            "train dev test tokens_per_batch accumulate max_updates evaluate_every dev_lines "
            "patience learning_rate clip"
        )
        for name in ("size", "warmup", "weight_decay"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("label_smoothing", "dropout"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        _require(self.schedule in SCHEDULES, "schedule", self.schedule, " or ".join(SCHEDULES))
        _require(self.precision in PRECISIONS, "precision", self.precision, " or ".join(PRECISIONS))
        _require(
            self.quantize in QUANTIZATIONS, "quantize", self.quantize, " or ".join(QUANTIZATIONS)
        )

    def _check_positive(self, names: str) -> None:
        for name in names.split():
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "above 0")

    def to_json(self) -> str:
        """Return the canonical text: sorted keys, no blanks, one final newline."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["options"] = dict(self.options)
        return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe back.

        Raises:
            SettingsError: The text is not a recipe; the message says what is missing or unknown.
        """
        try:
            plain: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"the recipe is not JSON: {error}", field="recipe") from None
        known = {field.name for field in fields(cls)}
        wrong = sorted(known.symmetric_difference(plain)) if isinstance(plain, dict) else ["all"]
        if wrong:
            raise SettingsError(
                f"the recipe has missing or unknown fields: {', '.join(wrong)}", field="recipe"
            )
        return cls(**plain)

    @property
    def digest(self) -> str:
        """Return `sha256:…` of the canonical text."""
        return "sha256:" + hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def run_name(self) -> str:
        """Return the name of the run's folder: pair, method and the digest's first digits."""
        digits = self.digest.removeprefix("sha256:")[:RUN_NAME_DIGITS]
        return f"{self.pair}.{self.method}.{digits}"


# Where a setting's option has another name than its field.
_OPTIONS: Final = {
    "learning_rate": "lr",
    "tokens_per_batch": "tokens",
    "evaluate_every": "eval-every",
}


def _require(holds: bool, name: str, value: object, limit: str) -> None:
    if not holds:
        option = "--" + _OPTIONS.get(name, name).replace("_", "-")
        raise SettingsError(f"{option} is {value}; it must be {limit}", field=name)
