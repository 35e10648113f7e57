"""The tables of a report, as plain rows: the same for the page, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.console import size_text
from training.study.axes import BASE
from training.study.claims import Claim
from training.study.crossover import crossovers
from training.study.results import Results, System

if TYPE_CHECKING:
    from training.study.file import StudyFile


@dataclass(frozen=True)
class Grid:
    """A table with a title; columns that begin with ">" are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str = ""


def claims_table(claims: Sequence[Claim]) -> Grid:
    """Return one row for each part of each claim."""
    rows = []
    for claim in claims:
        head = (f"({claim.letter}) {claim.title}", claim.about, claim.verdict)
        adjusted = "" if claim.adjusted is None else f"{claim.adjusted:.3g}"
        if not claim.parts:
            rows.append((*head, claim.why, "", "", "", ""))
        for part in claim.parts:
            low, high = part.estimate.interval()
            effect, span = f"{part.estimate.value:+.2f}", f"{low:+.2f} to {high:+.2f}"
            rows.append((*head, part.what, effect, span, adjusted, f"{part.visible:.2f}"))
    columns = (
        "claim", "base", "verdict", "what is measured", ">effect", "95 % interval",
        ">adjusted p", ">smallest visible",
    )  # fmt: skip
    return Grid("Claims", columns, tuple(rows))


def systems_table(results: Results) -> Grid:
    """Return every system with its quality and the two sources of chance apart."""
    rows = [
        (
            s.base,
            s.pair,
            s.method,
            "" if s.budget is None else f"{100 * s.budget:g} %",
            f"{100 * s.fraction:.3g} %" if s.trained else "",
            f"{s.train:,}" if s.trained else "",
            str(len(s.seeds)) if s.trained else "",
            f"{s.quality.value:.2f}",
            "{:.2f} to {:.2f}".format(*s.quality.interval()),
            "" if s.seed_deviation is None else f"{s.seed_deviation:.2f}",
            f"{s.item_deviation:.2f}",
            f"{s.score('exact'):.1f}",
        )
        for s in results.systems
    ]
    columns = (
        "base", "pair", "method", ">budget", ">trained", ">segments", ">seeds", ">chrF++",
        "95 % interval", ">between seeds", ">test items", ">exact",
    )  # fmt: skip
    remark = (
        "Between seeds: standard deviation of the seeds' scores. Test items: standard error that "
        "comes of which items were drawn, seeds held fixed. The interval holds both."
    )
    return Grid("Systems", columns, tuple(rows), remark)


def cost_table(results: Results) -> Grid:
    """Return time, memory and stored bytes by base, method and size, over pairs and seeds."""
    groups: dict[tuple[str, str, str], list[System]] = {}
    for system in results.systems:
        if system.trained:
            budget = "" if system.budget is None else f"{100 * system.budget:g} %"
            groups.setdefault((system.base, system.method, budget), []).append(system)
    rows = [
        (
            *key,
            _mean(group, "train_seconds", "{:.1f}"),
            _mean(group, "seconds", "{:.1f}"),
            _bytes(group, "peak_memory_bytes"),
            _bytes(group, "adapter_bytes"),
        )
        for key, group in groups.items()
    ]
    columns = (
        "base", "method", ">budget", ">seconds of updates", ">seconds of the cell", ">peak memory",
        ">stored",
    )  # fmt: skip
    remark = "Means over pairs, data sizes and seeds, on this machine with its other load."
    return Grid("Cost", columns, tuple(rows), remark)


def _values(group: Iterable[System], fact: str) -> list[float]:
    return [value for system in group if (value := system.mean(fact)) is not None]


def _mean(group: Sequence[System], fact: str, form: str) -> str:
    values = _values(group, fact)
    return form.format(sum(values) / len(values)) if values else ""


def _bytes(group: Sequence[System], fact: str) -> str:
    values = _values(group, fact)
    return size_text(round(sum(values) / len(values))) if values else ""


def crossover_table(study: StudyFile, results: Results) -> Grid:
    """Return from which size on full fine-tuning is ahead."""
    found = list(crossovers(study, results))
    sizes = sorted({size for each in found for size, _ in each.gaps})
    rows = [
        (
            each.base,
            each.pair,
            each.method,
            *(f"{dict(each.gaps)[size]:+.2f}" if size in dict(each.gaps) else "" for size in sizes),
            each.said,
        )
        for each in found
    ]
    columns = ("base", "pair", "method", *(f">{size:,}" for size in sizes), "they are equal at")
    remark = "Numbers: full fine-tuning less the adapter in chrF++, by training segments."
    return Grid("Crossovers", columns, tuple(rows), remark)


def lost_table(results: Results) -> Grid:
    """Return what came to nothing, with the reasons."""
    lost = [e for e in results.entries if e.state in ("failed", "stopped", "blocked")]
    reasons = Counter((entry.state, entry.reason) for entry in lost)
    first = {(e.state, e.reason): e.cell.point.title for e in reversed(lost)}
    rows = tuple((key[0], str(n), first[key], key[1]) for key, n in reasons.items())
    return Grid("Without a result", ("state", ">cells", "such as", "reason"), rows)


def cells_csv(results: Results) -> str:
    """Return one line for each cell of the grid, finished or not."""
    stream = io.StringIO()
    names = (
        "cell", "state", "base", "pair", "distance", "method", "budget", "train", "seed", "size",
        "trainable", "fraction", "chrf++", "bleu", "ter", "exact", "items", "dev_chrf++",
        "updates", "best_update", "train_seconds", "seconds", "peak_memory_bytes",
        "adapter_bytes", "unspelt", "signature", "reason",
    )  # fmt: skip
    writer = csv.DictWriter(stream, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for entry in results.entries:
        at, scores = entry.cell.point, entry.facts.get("scores", {})
        row = {
            **entry.facts,
            **scores,
            "cell": entry.cell.name,
            "state": entry.state,
            "base": at.base,
            "pair": at.pair,
            "distance": results.distances.get(at.pair, ""),
            "method": at.method,
            "budget": "" if at.budget is None else f"{at.budget:g}",
            "train": at.train or "",
            "seed": "" if at.method == BASE else at.seed,
            "size": entry.cell.size or "",
            "trainable": entry.cell.trainable,
            "fraction": entry.cell.fraction,
            "reason": entry.reason,
        }
        writer.writerow(row)
    return stream.getvalue()


def markdown(grid: Grid) -> str:
    """Return a table in Markdown."""
    if not grid.rows:
        return ""
    names = [name.removeprefix(">") for name in grid.columns]
    rule = ["---:" if name.startswith(">") else "---" for name in grid.columns]
    lines = [names, rule, *grid.rows]
    body = "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)
    return f"## {grid.title}\n\n{body}\n" + (f"\n{grid.remark}\n" if grid.remark else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
