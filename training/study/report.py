"""`hub study report`: a page that needs no network, the same in Markdown, and cells as CSV."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import SettingsError
from training.study.advise import prediction_errors
from training.study.agreement import agreement_table
from training.study.charts import pictures
from training.study.claims import Claim, judge
from training.study.distance import MEASURE, distances
from training.study.drawing import Picture
from training.study.ledger import Ledger, Said
from training.study.results import Results
from training.study.serving import read_bench, serving_table
from training.study.tables import (
    Grid,
    cells_csv,
    claims_table,
    cost_table,
    crossover_table,
    lost_table,
    markdown,
    systems_table,
)

if TYPE_CHECKING:
    from training.study.file import StudyFile

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#111;background:#fff;max-width:1180px;
margin:2em auto;padding:0 1em}
h1{margin-bottom:0}h2{margin-top:2em;border-bottom:1px solid #999}
table{border-collapse:collapse;font-size:13px;margin:.6em 0}
th,td{border-bottom:1px solid #ccc;padding:.2em .6em;text-align:left;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}figcaption{color:#333;max-width:75ch}figure{margin:1em 0}
.supported::before{content:"✓ "}.undecided::before{content:"? "}
.not-supported::before{content:"✗ "}details{margin:.6em 0}
"""
_EXPOSED: Final = "window.vegaEmbed=vegaEmbed;"
"""What the bundle of Vega's libraries leaves to the page's own script."""


@dataclass(frozen=True)
class Report:
    """Everything that a report says.

    Attributes:
        errors: How well left-out pairs are predicted, method by method.
        said: What was claimed and when, as the ledger heard it.
        benches: Figures of `hub bench engine`; empty where none were given.
    """

    study: StudyFile
    results: Results
    claims: Sequence[Claim]
    errors: Grid
    said: Sequence[Said] = ()
    benches: Sequence[Mapping[str, Any]] = ()


def read_results(study: StudyFile, folder: Path) -> Results:
    """Return the finished cells of a study.

    Raises:
        SettingsError: There is no ledger, or nothing in it is done.
    """
    ledger = Ledger.existing(folder)
    try:
        entries = ledger.entries()
    finally:
        ledger.close()
    if not any(entry.state == "done" for entry in entries):
        raise SettingsError(f"no cell of the study in {folder} is done yet; run it first")
    return Results(entries, distances(study.pairs))


def make_report(study: StudyFile, folder: Path, bench: Sequence[Path] = ()) -> Report:
    """Compute what the ledger says.

    Args:
        study: The file.
        folder: Of the ledger.
        bench: Files of `hub bench engine --json`.
    """
    benches, results = read_bench(bench), read_results(study, folder)
    ledger = Ledger.existing(folder)
    try:
        said = ledger.said()
    finally:
        ledger.close()
    errors = prediction_errors(results)
    return Report(study, results, judge(study, results), errors, said, benches)


def beforehand(study: StudyFile, said: Sequence[Said]) -> str:
    """Tell what the claims are, and whether they were said before anything was known.

    Args:
        study: The file as it is now.
        said: What the ledger heard, first to last.
    """
    now = _claimed(study.claims.model_dump())
    told = [_claimed(each.claims) for each in said]
    family = "Holm over all claims that could be tested."
    if told and told[0] == now and said[0].done == 0 and len(told) == 1:
        return f"Said before the run: {now}; {family}"
    if not told:
        return f"Claimed: {now}; {family} When that was said is not in the ledger."
    parts = [f"{each} (when {s.done} cells were done)" for each, s in zip(told, said, strict=True)]
    last = "" if told[-1] == now else "; the file as it is now has never been run with"
    return (
        f"Claimed: {now}; {family} THIS WAS NOT ALL SAID BEFORE THE RUN: "
        f"{', then '.join(parts)}{last}. A claim that is made when figures are known tests nothing."
    )


def _claimed(claims: Mapping[str, Any]) -> str:
    return (
        f"margin {claims['margin']:g} chrF++, method {claims['method']} at "
        f"{100 * claims['budget']:g} %, alpha {claims['alpha']:g}"
    )


def write_report(report: Report, folder: Path, *, png: bool = False) -> list[Path]:
    """Write report.html, report.md and cells.csv, and return their paths.

    Args:
        report: What to write.
        folder: Where.
        png: Write each picture as a file, too.

    Raises:
        SettingsError: The extra `study` is not installed, or a file cannot be written.
    """
    shown = _pictures(report)
    files: dict[str, str | bytes] = {
        "report.html": page(report, shown),
        "report.md": text(report, shown),
        "cells.csv": cells_csv(report.results),
    }
    if png:
        files |= {f"{each.key}.png": rendered(each) for each in shown}
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = folder / name
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(data)
            written.append(path)
    except OSError as error:
        raise SettingsError(f"report in {folder} cannot be written: {error.strerror}") from None
    return written


def _pictures(report: Report) -> list[Picture]:
    try:
        return pictures(report.study, report.results)
    except ImportError:
        raise SettingsError(
            "the report's pictures need Altair: pip install 'adapterhub[study]'"
        ) from None


def rendered(picture: Picture) -> bytes:
    """Return a picture as PNG, drawn without a browser."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(picture.chart.to_json(), scale=1.5))


def text(report: Report, shown: Sequence[Picture]) -> str:
    """Return the report in Markdown; pictures are in the page alone."""
    lines = [f"# Study {report.study.study}", "", *_summary(report), "", "## In sentences", ""]
    lines += [f"- {claim.sentence}" for claim in report.claims]
    tables = "\n".join(found for grid in _grids(report) if (found := markdown(grid)))
    captions = [f"- {each.title}: {each.caption}" for each in shown]
    return "\n".join([*lines, "", tables, "## Pictures in the page", "", *captions, ""])


def _grids(report: Report) -> list[Grid]:
    return [
        claims_table(report.claims),
        crossover_table(report.study, report.results),
        agreement_table(report.study, report.results),
        cost_table(report.results),
        serving_table(report.benches),
        report.errors,
        lost_table(report.results),
        systems_table(report.results),
    ]


def _summary(report: Report) -> list[str]:
    study, results = report.study, report.results
    done = sum(entry.state == "done" for entry in results.entries)
    stopped = sum(entry.state == "stopped" for entry in results.entries)
    bases = ", ".join(f"{b} ({results.parameters(b):,} parameters)" for b in results.bases)
    signatures = sorted({str(run["signature"]) for s in results.systems for run in s.runs})
    lines = [
        f"{done} of {len(results.entries)} cells are done. Bases: {bases}. "
        f"Pairs from close to distant: {', '.join(results.pairs)}.",
        beforehand(study, report.said),
        f"Scores: {'; '.join(signatures)}. Distance: {MEASURE}.",
    ]
    if stopped:
        lines.append(
            f"{stopped} cells were given up as hopeless, as the file says; their systems are left "
            "out with all their seeds, so what is left looks better than all would."
        )
    failed = sum(entry.state == "failed" for entry in results.entries)
    if failed:
        lines.append(
            f"{failed} cells failed; where other seeds of a system are done, it is their mean. The "
            "reasons are in a table below: a training that diverges is no accident of the machine."
        )
    if any(system.trained and len(system.seeds) < 2 for system in results.systems):
        lines.append("Where a system has one seed its interval holds the test items alone.")
    return lines


def page(report: Report, shown: Sequence[Picture]) -> str:
    """Return the whole page: style, script and data are in it, and nothing is fetched."""
    import vl_convert

    name = html.escape(report.study.study)
    sentences = "".join(_sentence(claim) for claim in report.claims)
    figures = "".join(_figure(each) for each in shown)
    claims, *rest = _grids(report)
    tables = "".join(_table(grid) for grid in rest if grid.rows)
    specs = json.dumps({each.key: each.chart.to_dict() for each in shown}).replace("</", "<\\/")
    script = vl_convert.javascript_bundle(_EXPOSED).replace("</script", "<\\/script")
    draw = (
        f"const specs={specs};for(const key in specs)"
        "vegaEmbed('#'+key,specs[key],{renderer:'svg',actions:false});"
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>Study {name}</title><style>{_STYLE}</style><h1>Study {name}</h1>"
        + "".join(f"<p>{html.escape(line)}</p>" for line in _summary(report))
        + f"<h2>Claims</h2><ul>{sentences}</ul>{_table(claims, titled=False)}{figures}{tables}"
        + f"<script type='module'>{script}\n{draw}</script></html>\n"
    )


def _sentence(claim: Claim) -> str:
    kind = claim.verdict.replace(" ", "-")
    return f"<li class='{kind}'>{html.escape(claim.sentence)}</li>"


def _figure(picture: Picture) -> str:
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    return (
        f"<h2>{title}</h2><figure><div class='scroll'><div id='{picture.key}' role='img' "
        f"aria-label='{title}'></div></div><figcaption>{caption}</figcaption></figure>"
    )


def _table(grid: Grid, *, titled: bool = True) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(
            f"<{tag}{_number(column)}>{html.escape(cell)}</{tag}>"
            for column, cell in zip(grid.columns, cells, strict=True)
        )

    head = row([name.removeprefix(">") for name in grid.columns], "th")
    body = "".join(row(cells, "td") for cells in grid.rows)
    title = f"<h2>{html.escape(grid.title)}</h2>" if titled else ""
    remark = f"<p>{html.escape(grid.remark)}</p>" if grid.remark else ""
    return f"{title}<div class='scroll'><table>{head}{body}</table></div>{remark}"


def _number(column: str) -> str:
    return " class='n'" if column.startswith(">") else ""


def facts(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Return claims as plain data."""
    return [
        {
            "letter": claim.letter,
            "claim": claim.title,
            "about": claim.about,
            "verdict": claim.verdict,
            "p_value": claim.p_value,
            "adjusted_p_value": claim.adjusted,
            "adjusted_p_value_against": claim.against,
            "pairs": claim.pairs,
            "why": claim.why,
            "parts": [
                {
                    "what": part.what,
                    "effect": part.estimate.value,
                    "interval": part.estimate.interval(),
                    "p_value": part.p_value,
                    "degrees_of_freedom": None
                    if math.isinf(part.estimate.freedom)
                    else part.estimate.freedom,
                    "smallest_visible_effect": part.visible,
                    "by_pair": dict(part.by_pair),
                }
                for part in claim.parts
            ],
        }
        for claim in claims
    ]
