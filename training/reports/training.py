"""What `hub train` prints, and the same as JSON; tables that `hub eval` prints too."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.bases.licence import licence_text
from hub.console import note, print_table
from hub.errors import BudgetError, SettingsError
from hub.manifest import (
    AdapterManifest,
    ComparisonRecord,
    CorpusReference,
    LengthRecord,
    Metric,
    ScoreRecord,
)
from training.evidence.card import span
from training.evidence.scoring import LOWER_IS_BETTER, METRICS, tokenizer_remark
from training.methods.catalog import METHODS, method, size_option

if TYPE_CHECKING:
    from pydantic import BaseModel

    from training.corpora.report import CorpusReport
    from training.evidence.gather import Evidence
    from training.pipeline import TrainOutcome

WORTH_A_WORD: Final = 0.01


def explicit_size(
    method_name: str,
    *,
    width: int | None = None,
    rank: int | None = None,
    length: int | None = None,
    rows: int | None = None,
) -> int | None:
    """Return the size asked for under the method's own word for it.

    Raises:
        SettingsError: The method is unknown.
        BudgetError: The size was given under another method's word.
    """
    wanted = method(method_name).size_name
    given = {"width": width, "rank": rank, "length": length, "rows": rows}
    remedy = f"give --{size_option(wanted)}" if wanted else "it has no size"
    for name, value in given.items():
        if value is not None and name != wanted:
            raise BudgetError(
                f"--{size_option(name)} does not go with method {method_name!r}; {remedy}",
                field=name,
            )
    return given.get(wanted)


def outcome_facts(outcome: TrainOutcome) -> dict[str, Any]:
    """Return the outcome as plain data."""
    manifest = outcome.manifest
    size_name = METHODS[manifest.method].size_name
    return {
        "pair": manifest.pair,
        "method": manifest.method,
        **({size_name: manifest.size} if size_name else {}),
        **({"token_rows": manifest.token_rows} if manifest.token_rows else {}),
        "budget": manifest.budget,
        "trainable_parameters": manifest.trainable_parameters,
        "realised_fraction": manifest.realised_fraction,
        "train_seconds": round(outcome.seconds, 2),
        "updates": outcome.training.steps,
        "timings": {name: round(spent, 2) for name, spent in outcome.timings.items()},
        **score_facts(manifest.scores),
        **evidence_facts(manifest),
        "signatures": {score.metric: score.signature for score in manifest.scores},
        "equality": asdict(outcome.equality),
        "environment": dump(manifest.environment),
        "digest": outcome.version.digest if outcome.version else None,
        "ref": outcome.version.ref if outcome.version else None,
        "folder": str(outcome.folder),
        "base_folder": str(outcome.base_folder) if outcome.base_folder else None,
        "segments_too_long": outcome.too_long,
        "unspelt_pieces": round(outcome.unspelt, 6),
        "segments": _segments(manifest.corpus),
        "data": outcome.data.facts() if outcome.data else None,
    }


def _segments(corpus: CorpusReference | None) -> dict[str, int] | None:
    if corpus is None:
        return None
    return {"train": corpus.train, "dev": corpus.dev, "test": corpus.test}


def score_facts(scores: Sequence[ScoreRecord]) -> dict[str, float]:
    """Return the scores under names such as `chrf_base` and `exact_adapter`."""
    return {f"{score.metric.rstrip('+')}_{score.system}": score.value for score in scores}


def evidence_facts(evidence: AdapterManifest | Evidence) -> dict[str, Any]:
    """Return how the adapter compares with its base, and both by source length."""
    return {
        "comparisons": [dump(each) for each in evidence.comparisons],
        "lengths": [dump(each) for each in evidence.lengths],
    }


def dump(record: BaseModel | None) -> dict[str, Any] | None:
    """Return a record of a manifest as plain data."""
    return record.model_dump(mode="json") if record else None


def print_outcome(outcome: TrainOutcome) -> None:
    """Print the short table and the next command."""
    manifest = outcome.manifest
    ref = outcome.version.ref if outcome.version else str(outcome.folder)
    if outcome.data and manifest.corpus:
        note(data_line(outcome.data, manifest.corpus.train))
    if outcome.too_long:
        note(f"{outcome.too_long} training segments left out: longer than the base's positions")
    if outcome.unspelt > WORTH_A_WORD:
        note(f"{outcome.unspelt:.1%} of the target's pieces are not in the base's vocabulary")
    size_name, rows = METHODS[manifest.method].size_name or "size", manifest.token_rows
    print_table(
        ("pair", "method", f">{size_name}", ">of the base", ">seconds", "adapter"),
        [
            (
                manifest.pair,
                manifest.method + (f", {rows} token rows" if rows else ""),
                str(manifest.size or "–"),
                f"{manifest.realised_fraction:.3%}",
                f"{outcome.seconds:.0f}",
                ref,
            )
        ],
    )
    print_scores(manifest.scores, manifest.comparisons)
    remark = tokenizer_remark(manifest.language_pair.target)
    if remark:
        note(remark)
    note(f"base licence: {licence_text(manifest.base.licence)}")
    if outcome.version:
        note(f"digest {outcome.version.digest}")
        note("next:   hub serve")
        note(f'        hub translate --pair {manifest.pair} --adapter {ref} "2 hours ago"')
    elif outcome.base_folder:
        spec = METHODS[manifest.method]
        note(f"not published: {spec.name} is not served in a slot ({spec.serving})")
        note(f"next:   hub serve --base {outcome.base_folder}")
        note(f'        hub translate --pair {manifest.pair} "2 hours ago"')
    else:
        note(f"not published; the adapter is in {outcome.folder}")


def data_line(report: CorpusReport, train: int) -> str:
    """Say in one line what became of the data, and what its readers noted."""
    gone = {**report.skipped, **report.removed}
    left_out = ", ".join(f"{name} {count:,}" for name, count in gone.items()) or "nothing"
    more = f"; {report.over_limit:,} more were there, see --train" if report.over_limit else ""
    told = "".join(f"\nnote: {text}" for text in report.notes)
    read = f"data: {report.read:,} segments read, left out: {left_out}"
    return f"{read}; {train:,} trained on{more}{told}"


def print_scores(
    scores: Sequence[ScoreRecord],
    comparisons: Sequence[ComparisonRecord],
    *,
    against: str = "base",
    other: Mapping[Metric, float] | None = None,
) -> None:
    """Print the adapter's scores beside another system's.

    Args:
        scores: Of base and adapter.
        comparisons: Of the adapter with that system, metric by metric.
        against: Its name.
        other: Its scores; those of the base when None.
    """
    mine = {score.metric: score.value for score in scores if score.system == "adapter"}
    theirs = other or {score.metric: score.value for score in scores if score.system == "base"}
    by = {found.metric: found for found in comparisons}
    rows = [
        (
            _named(metric),
            number(metric, theirs[metric]),
            number(metric, value),
            number(metric, value - theirs[metric], sign=True),
            *_confidence(by.get(metric)),
        )
        for metric, value in mine.items()
    ]
    print_table(("score", f">{against}", ">adapter", ">change", "95 % interval", ">p"), rows)


def _named(metric: Metric) -> str:
    return f"{metric} (lower is better)" if metric in LOWER_IS_BETTER else metric


def number(metric: Metric, value: float, *, sign: bool = False) -> str:
    """Spell a score with the digits that its scale needs."""
    digits = 4 if metric == "comet" else 1
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def _confidence(found: ComparisonRecord | None) -> tuple[str, str]:
    if found is None:
        return "", ""
    low, high = (number(found.metric, end, sign=True) for end in (found.low, found.high))
    return f"{low} to {high}", f"{found.p_value:.3f}"


def print_lengths(lengths: Sequence[LengthRecord]) -> None:
    """Print chrF++ and BLEU of base and adapter by source length."""
    if not lengths:
        return
    rows = []
    for record in lengths:
        by = {score.metric: score for score in record.scores}
        shown = [by[metric] for metric in METRICS[:2]]
        rows.append(
            (
                span(record),
                str(record.items),
                *(f"{s.base:.1f} → {s.adapter:.1f}" for s in shown),
                f"{shown[0].p_value:.3f}",
            )
        )
    names = [f">{metric}" for metric in METRICS[:2]]
    print_table((f"source {lengths[0].unit}", ">items", *names, f">p of {METRICS[0]}"), rows)


def write_json(file: Path, outcome: TrainOutcome) -> None:
    """Write the outcome to a file, or to standard output for `-`."""
    write_facts(file, outcome_facts(outcome))


def write_facts(file: Path, facts: Mapping[str, Any]) -> None:
    """Write plain data as JSON to a file, or to standard output for `-`.

    Raises:
        SettingsError: The file cannot be written.
    """
    text = json.dumps(facts, ensure_ascii=False, indent=2) + "\n"
    if str(file) == "-":
        sys.stdout.write(text)
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"--json {file} cannot be written: {error.strerror}") from None
