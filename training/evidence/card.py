"""The adapter's README.md: a model card with the evidence, the same bytes for the same training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from hub.bases.licence import licence_text
from hub.manifest import (
    AdapterManifest,
    ComparisonRecord,
    CorpusReference,
    LengthRecord,
    Metric,
)
from training.evidence.scoring import METRICS
from training.gates.checks import QUALITY_METRIC, SIGNIFICANT
from training.gates.equality import DRIFT

if TYPE_CHECKING:
    from training.gates.equality import EqualityEvidence
    from training.recipe import Recipe

_NAMES: Final[Mapping[str, str]] = {
    "chrf++": "chrF++",
    "bleu": "BLEU",
    "ter": "TER",
    "exact": "exact match %",
}


def model_card(manifest: AdapterManifest, recipe: Recipe, equality: EqualityEvidence) -> str:
    """Return the card as Markdown with the front matter that model hubs read."""
    made = (
        _front_matter(manifest),
        f"# {manifest.pair} {manifest.method} adapter\n",
        _what(manifest),
        _scores(manifest),
        _lengths(manifest),
        _data(manifest),
        _gates(manifest, equality),
        _recipe(recipe),
        _environment(manifest),
    )
    return "\n".join(part for part in made if part)


def _front_matter(manifest: AdapterManifest) -> str:
    pair = manifest.language_pair
    facts = {
        "base_model": manifest.base.name,
        "language": [pair.source, pair.target],
        "library_name": "peft",
        "license": manifest.corpus.licence if manifest.corpus else "unknown",
        "metrics": ["chrf", "bleu", "ter"],
        "pipeline_tag": "translation",
        "tags": ["adapterhub", manifest.method],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
    return "\n".join(["---", *lines, "---", ""])


def _what(manifest: AdapterManifest) -> str:
    asked = "a stated size" if manifest.budget is None else f"a budget of {manifest.budget:g}"
    return (
        f"Translates {manifest.language_pair.source} to {manifest.language_pair.target} on the "
        f"frozen base `{manifest.base.name}`\n(`{manifest.base.digest}`"
        f"{_licensed(manifest.base.licence)}).\n\n"
        f"- Method: {manifest.trained}, from {asked}\n"
        f"- Trainable parameters: {manifest.trainable_parameters:,} of "
        f"{manifest.base.parameters:,} ({manifest.realised_fraction:.4%})\n"
        f"{_trained_on(manifest.corpus)}"
    )


def _licensed(licence: str) -> str:
    return f", licence {licence_text(licence)}"


def _trained_on(corpus: CorpusReference | None) -> str:
    if corpus is None:
        return "- Corpus: not known\n"
    found = corpus.test_fingerprint
    return (
        f"- Corpus: {corpus.name}, {corpus.train:,} training, "
        f"{corpus.dev:,} development and {corpus.test:,} test segments\n"
        f"  (`{corpus.fingerprint}`, {corpus.licence})\n"
        + (f"- Test set: `{found}`\n" if found else "")
    )


def _scores(manifest: AdapterManifest) -> str:
    """Return scores, how sure the difference is, and the signatures that repeat them."""
    scores = manifest.scores
    if not scores:
        return "## Scores\n\nNot measured.\n"
    by = {(found.metric, found.system): found for found in scores}
    compared = {found.metric: found for found in manifest.comparisons if found.against == "base"}
    metrics = [name for name in METRICS if {(name, "base"), (name, "adapter")} <= by.keys()]
    rows = [
        f"| {_NAMES[name]} | {by[name, 'base'].value:.1f} | {by[name, 'adapter'].value:.1f} "
        f"| {_compared(compared.get(name))} |"
        for name in metrics
    ]
    signatures = [f"- {_NAMES[name]}: `{by[name, 'adapter'].signature}`" for name in metrics]
    head = f"## Scores on {scores[0].items} unseen test segments, decoded by the serving engine\n"
    table = ["| Metric | Base | Adapter | Change, 95 % interval | p |", "|---|---|---|---|---|"]
    return "\n".join([head, *table, *rows, *_how_compared(manifest), "", *signatures, ""])


def _compared(found: ComparisonRecord | None) -> str:
    if found is None:
        return "| "
    return f"{found.delta:+.1f} ({found.low:+.1f} to {found.high:+.1f}) | {found.p_value:.3f}"


def _how_compared(manifest: AdapterManifest) -> list[str]:
    found = manifest.comparison("chrf++")
    if found is None:
        return []
    drawn = found.signature.partition("|bs:")[2].partition("|")[0]
    return [
        "",
        f"Paired bootstrap, {drawn} resamples: p as sacreBLEU's `--paired-bs` computes it. For TER "
        "lower is better.",
        f"One-sided p that chrF++ is worse than the base's: {found.p_worse:.3f}.",
    ]


def _lengths(manifest: AdapterManifest) -> str:
    """Return the scores by source length; empty where they were not measured."""
    if not manifest.lengths:
        return ""
    rows = [
        f"| {span(each)} | {each.items} | {_both(each, 'chrf++')} | {_both(each, 'bleu')} |"
        for each in manifest.lengths
    ]
    unit = manifest.lengths[0].unit
    return "\n".join(
        [
            f"## Scores by source length, in {unit}\n",
            "| Length | Segments | chrF++, base → adapter | p | BLEU, base → adapter | p |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def span(record: LengthRecord) -> str:
    """Return a bucket's limits as they are read: "6–10", "over 40"."""
    if record.high is None:
        return f"over {record.low - 1}"
    return f"up to {record.high}" if record.low == 0 else f"{record.low}–{record.high}"


def _both(record: LengthRecord, metric: Metric) -> str:
    found = next(score for score in record.scores if score.metric == metric)
    return f"{found.base:.1f} → {found.adapter:.1f} | {found.p_value:.3f}"


def _environment(manifest: AdapterManifest) -> str:
    found = manifest.environment
    if found is None:
        return ""
    libraries = ", ".join(f"{name} {release}" for name, release in found.libraries.items())
    return (
        "## Environment\n\n"
        f"- Python {found.python}; {libraries}\n"
        f"- {found.device.upper()}: {found.processor}, {found.threads} threads\n"
        f"- Trained with {found.precision} products of the base, scored in {found.scored_in}\n"
    )


def _data(manifest: AdapterManifest) -> str:
    """Return what was read and what cleaning removed; empty where no files were read."""
    corpus = manifest.corpus
    if corpus is None or corpus.cleaning is None:
        return ""
    sources = [
        f"| {_cell(each.name)} | {each.format} | {each.weight:g} | {each.read:,} | {each.kept:,} "
        f"| `{each.digest}` |"
        for each in corpus.sources
    ]
    gone = {**corpus.cleaning.skipped, **corpus.cleaning.removed}
    removed = [f"| {name} | {count:,} |" for name, count in gone.items()] or ["| none | 0 |"]
    settings = ", ".join(f"{name} {value:g}" for name, value in corpus.cleaning.settings.items())
    return "\n".join(
        [
            f"## Data\n\nLicence as stated by who trained: {corpus.licence}\n",
            "| Source | Format | Weight | Read | Kept | Content |",
            "|---|---|---|---|---|---|",
            *sources,
            f"\nFilters: {settings or 'none'}\n",
            "| Left out by | Segments |",
            "|---|---|",
            *removed,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _gates(manifest: AdapterManifest, equality: EqualityEvidence) -> str:
    where = ", reading the folder in a process of its own," if equality.fresh else ""
    budget = "none asked" if manifest.budget is None else f"holds, at most {manifest.budget:g}"
    return (
        "## Gates\n\n"
        "- Every value is finite, every tensor binds in the serving engine\n"
        f"- Budget: {budget}\n"
        f"- Equality: in a mixed batch of {equality.rows} rows the serving engine "
        f"(float32){where}\n"
        f"  reproduced the training model's greedy decoding: {equality.tokens} tokens equal, "
        f"{equality.ties} rows parted at a tie of logits,\n"
        f"  log-probabilities within {DRIFT:g} a token\n"
        f"- Quality: {_quality(manifest)}\n"
    )


def _quality(manifest: AdapterManifest) -> str:
    found = manifest.comparison(QUALITY_METRIC)
    if found is None:
        return "not measured"
    worse = found.p_worse < SIGNIFICANT
    verdict = "**significantly worse than the base**" if worse else "not worse than the base"
    return f"{verdict} at p < {SIGNIFICANT:g} (chrF++, one-sided p {found.p_worse:.3f})"


def _recipe(recipe: Recipe) -> str:
    text = json.dumps(json.loads(recipe.to_json()), sort_keys=True, indent=2, ensure_ascii=False)
    return f"## Recipe\n\n`{recipe.digest}`\n\n```json\n{text}\n```\n"
