"""What `hub eval` prints, and the same as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.console import note
from training.evidence.scoring import tokenizer_remark
from training.evidence.significance import Resampling
from training.reports.training import (
    dump,
    evidence_facts,
    print_lengths,
    print_scores,
    score_facts,
    write_facts,
)

if TYPE_CHECKING:
    from training.evidence.reevaluate import Evaluation, Rival


def evaluation_facts(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data."""
    return {
        "ref": evaluation.version.ref,
        "digest": evaluation.version.digest,
        "pair": evaluation.version.manifest.pair,
        **score_facts(evaluation.scores),
        **evidence_facts(evaluation.evidence),
        "against": [_rival_facts(rival) for rival in evaluation.rivals],
        "recorded": score_facts(evaluation.recorded),
        "signatures": {score.metric: score.signature for score in evaluation.scores},
        "items": evaluation.scores[0].items,
        "same_test_as_published": evaluation.same_test,
    }


def _rival_facts(rival: Rival) -> dict[str, Any]:
    return {
        "ref": rival.version.ref,
        "digest": rival.version.digest,
        "scores": dict(rival.scores),
        "comparisons": [dump(each) for each in rival.comparisons],
        "made_from_other_data": rival.other_data,
    }


def print_evaluation(evaluation: Evaluation) -> None:
    """Print fresh scores beside the base's and other adapters', and by source length."""
    version, evidence = evaluation.version, evaluation.evidence
    which = "" if evaluation.same_test else ", another test set than it was published with"
    note(f"{version.ref} on {evaluation.scores[0].items} unseen items{which}")
    print_scores(evidence.scores, evidence.comparisons)
    for rival in evaluation.rivals:
        print_scores(
            evidence.scores, rival.comparisons, against=rival.version.ref, other=rival.scores
        )
        if rival.other_data:
            note(f"{rival.version.ref} was made from other data, which may hold these test items")
    print_lengths(evidence.lengths)
    note(f"p and interval: paired bootstrap, {Resampling().signature}, p as in sacreBLEU")
    remark = tokenizer_remark(version.manifest.language_pair.target)
    if remark:
        note(remark)
    for score in evidence.scores:
        if score.system == "adapter":
            note(f"{score.metric}: {score.signature}")


def write_evaluation(file: Path, evaluation: Evaluation) -> None:
    """Write an evaluation to a file, or to standard output for `-`."""
    write_facts(file, evaluation_facts(evaluation))
