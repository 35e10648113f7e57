"""What `hub train` and `hub eval` print, and the same as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.console import note, print_table
from hub.errors import BudgetError, SettingsError
from hub.manifest import ScoreRecord
from training.methods.catalog import METHODS, method, size_option
from training.scoring import METRICS

if TYPE_CHECKING:
    from training.corpora.report import CorpusReport
    from training.pipeline import TrainOutcome
    from training.reevaluate import Evaluation

WORTH_A_WORD: Final = 0.01


def explicit_size(
    method_name: str,
    *,
    width: int | None = None,
    rank: int | None = None,
    length: int | None = None,
) -> int | None:
    """Return the size asked for under the method's own word for it.

    Raises:
        SettingsError: The method is unknown.
        BudgetError: The size was given under another method's word.
    """
    wanted = method(method_name).size_name
    given = {"width": width, "rank": rank, "length": length}
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
        "budget": manifest.budget,
        "trainable_parameters": manifest.trainable_parameters,
        "realised_fraction": manifest.realised_fraction,
        "train_seconds": round(outcome.seconds, 2),
        "updates": outcome.training.steps,
        "timings": {name: round(spent, 2) for name, spent in outcome.timings.items()},
        **score_facts(manifest.scores),
        "signatures": {score.metric: score.signature for score in manifest.scores},
        "digest": outcome.version.digest if outcome.version else None,
        "ref": outcome.version.ref if outcome.version else None,
        "folder": str(outcome.folder),
        "base_folder": str(outcome.base_folder) if outcome.base_folder else None,
        "segments_too_long": outcome.too_long,
        "unspelt_pieces": round(outcome.unspelt, 6),
        "segments": {
            "train": manifest.corpus.train,
            "dev": manifest.corpus.dev,
            "test": manifest.corpus.test,
        },
        "data": outcome.data.facts() if outcome.data else None,
    }


def score_facts(scores: Sequence[ScoreRecord]) -> dict[str, float]:
    """Return the scores under names such as `chrf_base` and `exact_adapter`."""
    short = {"chrf++": "chrf", "bleu": "bleu", "exact": "exact"}
    return {f"{short[score.metric]}_{score.system}": score.value for score in scores}


def print_outcome(outcome: TrainOutcome) -> None:
    """Print the short table and the next command."""
    manifest = outcome.manifest
    ref = outcome.version.ref if outcome.version else str(outcome.folder)
    if outcome.data:
        note(data_line(outcome.data, manifest.corpus.train))
    if outcome.too_long:
        note(f"{outcome.too_long} training segments left out: longer than the base's positions")
    if outcome.unspelt > WORTH_A_WORD:
        note(f"{outcome.unspelt:.1%} of the target's pieces are not in the base's vocabulary")
    size_name = METHODS[manifest.method].size_name or "size"
    print_table(
        ("pair", "method", f">{size_name}", ">of the base", ">seconds", "adapter"),
        [
            (
                manifest.pair,
                manifest.method,
                str(manifest.size or "–"),
                f"{manifest.realised_fraction:.3%}",
                f"{outcome.seconds:.0f}",
                ref,
            )
        ],
    )
    _print_scores(manifest.scores)
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
    """Say in one line what became of the data."""
    gone = {**report.skipped, **report.removed}
    left_out = ", ".join(f"{name} {count:,}" for name, count in gone.items()) or "nothing"
    more = f"; {report.over_limit:,} more were there, see --train" if report.over_limit else ""
    return f"data: {report.read:,} segments read, left out: {left_out}; {train:,} trained on{more}"


def _print_scores(scores: Sequence[ScoreRecord]) -> None:
    by = {(score.metric, score.system): score.value for score in scores}
    rows = [
        (
            metric,
            f"{by[metric, 'base']:.1f}",
            f"{by[metric, 'adapter']:.1f}",
            f"{by[metric, 'adapter'] - by[metric, 'base']:+.1f}",
        )
        for metric in METRICS
    ]
    print_table(("score", ">base", ">adapter", ">change"), rows)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print fresh scores."""
    which = "" if evaluation.same_test else ", another test set than it was published with"
    note(f"{evaluation.version.ref} on {evaluation.scores[0].items} unseen items{which}")
    _print_scores(evaluation.scores)
    for score in evaluation.scores:
        if score.system == "adapter":
            note(f"{score.metric}: {score.signature}")


def write_json(file: Path, outcome: TrainOutcome) -> None:
    """Write the outcome to a file, or to standard output for `-`."""
    write_facts(file, outcome_facts(outcome))


def write_evaluation(file: Path, evaluation: Evaluation) -> None:
    """Write fresh scores to a file, or to standard output for `-`."""
    facts = {
        "ref": evaluation.version.ref,
        "digest": evaluation.version.digest,
        **score_facts(evaluation.scores),
        "recorded": score_facts(evaluation.recorded),
        "signatures": {score.metric: score.signature for score in evaluation.scores},
        "items": evaluation.scores[0].items,
        "same_test_as_published": evaluation.same_test,
    }
    write_facts(file, facts)


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
