"""The catalog as tables: what each method is, and the sizes that budgets buy on a base."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.budget import minimum, parse_budget, solve
from hub.console import note, print_table
from hub.errors import BudgetError, SettingsError
from training.methods.catalog import LETTERS, METHODS, MethodSpec

if TYPE_CHECKING:
    from hub.dimensions import ModelDimensions

BUDGETS: Final = "0.001,0.01,0.1"


@dataclass(frozen=True)
class Solved:
    """What one budget buys of one method in one variant.

    Attributes:
        size: Width, rank or length, 0 where the method has none; None where nothing fits.
        trainable_parameters: At that size; the method's minimum where nothing fits.
        realised_fraction: That count over the base's parameters.
        reason: Why nothing fits, "" where something does.
    """

    method: str
    variant: str
    budget: float
    size: int | None
    trainable_parameters: int
    realised_fraction: float
    reason: str = ""


@dataclass(frozen=True)
class SolvedBase:
    """Every method's sizes on one base."""

    base: str
    parameters: int
    pair: str
    budgets: tuple[float, ...]
    rows: tuple[Solved, ...]


def parse_budgets(text: str | None) -> tuple[float, ...]:
    """Read budgets separated by commas; the usual three where there are none.

    Raises:
        BudgetError: One is not a fraction.
    """
    return tuple(parse_budget(part) for part in (text or BUDGETS).split(","))


def solve_all(base_ref: str | None, pair: str | None, budgets: Sequence[float]) -> SolvedBase:
    """Solve every method and variant on a base.

    Raises:
        BaseNotFoundError: There is no such base, or its family is unknown.
        LanguageError: The pair is none, or the base does not have its languages.
    """
    from hub.bases import open_base
    from hub.settings import load_settings

    base = open_base(load_settings({"base": base_ref}).base)
    checked = "" if pair is None else _check_pair(base, pair)
    dims = base.dimensions
    rows = tuple(
        _solve(spec, variant, budget, dims)
        for spec in METHODS.values()
        for variant in spec.variants
        for budget in budgets
    )
    return SolvedBase(base.name, dims.parameters, checked, tuple(budgets), rows)


def _check_pair(base: Any, text: str) -> str:
    from hub.bases.tokenizer import load_tokenizer
    from hub.languages import LanguagePair

    pair = LanguagePair.parse(text)
    tokenizer = load_tokenizer(base)
    for language in (pair.source, pair.target):
        tokenizer.target_prefix(language)
    return str(pair)


def _solve(spec: MethodSpec, variant: str, budget: float, dims: ModelDimensions) -> Solved:
    try:
        found = solve(spec.name, budget, dims, variant)
    except BudgetError as error:
        least = minimum(spec.name, dims, variant)
        needed = error.metadata.get("minimum_fraction", "")
        reason = f"does not fit, at least {needed}" if least else "nothing to train"
        share = least / dims.parameters
        return Solved(spec.name, variant, budget, None, least, share, reason)
    return Solved(
        spec.name,
        variant,
        budget,
        found.size,
        found.trainable_parameters,
        found.realised_fraction,
    )


def show(solved: SolvedBase | None) -> None:
    """Print the catalog, or the sizes on a base."""
    if solved is None:
        _show_catalog()
    else:
        _show_sizes(solved)


def _show_catalog() -> None:
    print_table(
        ("method", "trains", "size", "served", "CTranslate2", "untrained", ">lr", "parameters"),
        [
            (
                spec.name,
                spec.summary,
                f"--{spec.size_option}" if spec.size_option else "fixed",
                spec.serving,
                "by merging" if spec.exports else "no",
                spec.start,
                f"{spec.learning_rate:g}",
                spec.formula,
            )
            for spec in METHODS.values()
        ],
    )
    note(LETTERS)
    note("sizes on a base: hub methods --base embedded --pair en-ko --budgets 0.001,0.01,0.1")


def _show_sizes(solved: SolvedBase) -> None:
    cells: dict[tuple[str, str], list[str]] = {}
    for row in solved.rows:
        cells.setdefault((row.method, row.variant), []).append(_cell(row))
    print_table(
        ("method", "variant", *(f">{budget:g}" for budget in solved.budgets)),
        [(name, variant, *found) for (name, variant), found in cells.items()],
        title=f"{solved.base}: {solved.parameters:,} parameters",
    )
    note(f"fractions are of the {solved.parameters:,} unique parameters of {solved.base}")


def _cell(row: Solved) -> str:
    if row.size is None:
        return row.reason
    name = METHODS[row.method].size_name
    size = f"{name} {row.size}: " if name else ""
    return f"{size}{row.realised_fraction:.4%}, {row.trainable_parameters:,}"


def facts(solved: SolvedBase | None) -> dict[str, Any]:
    """Return catalog and sizes as plain data."""
    catalog = [
        {
            "method": spec.name,
            "trains": spec.summary,
            "parameters": spec.formula,
            "size": spec.size_name,
            "minimum": spec.minimum,
            "variants": list(spec.variants),
            "options": {name: list(spec.choices[name]) for name in spec.options},
            "token_rows_beside": spec.takes_rows,
            "served": spec.serving,
            "ctranslate2_by_merging": spec.exports,
            "untrained": spec.start,
            "learning_rate": spec.learning_rate,
            "learning_rate_small_base": spec.small_base_rate,
        }
        for spec in METHODS.values()
    ]
    return {"letters": LETTERS, "methods": catalog, "solved": asdict(solved) if solved else None}


def write(file: Path, solved: SolvedBase | None) -> None:
    """Write catalog and sizes as JSON to a file, or to standard output for `-`.

    Raises:
        SettingsError: The file cannot be written.
    """
    text = json.dumps(facts(solved), ensure_ascii=False, indent=2) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--json {file} cannot be written: {error.strerror}") from None
