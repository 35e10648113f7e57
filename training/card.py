"""The adapter's README.md: a model card with the evidence, the same bytes for the same training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from hub.manifest import AdapterManifest, ScoreRecord
from training.scoring import METRICS

if TYPE_CHECKING:
    from training.gates import EqualityEvidence
    from training.recipe import Recipe

_NAMES: Final[Mapping[str, str]] = {"chrf++": "chrF++", "bleu": "BLEU", "exact": "exact match %"}


def model_card(manifest: AdapterManifest, recipe: Recipe, equality: EqualityEvidence) -> str:
    """Return the card as Markdown with the front matter that model hubs read."""
    made = (
        _front_matter(manifest),
        f"# {manifest.pair} {manifest.method} adapter\n",
        _what(manifest),
        _scores(manifest.scores),
        _data(manifest),
        _gates(manifest, equality),
        _recipe(recipe),
    )
    return "\n".join(part for part in made if part)


def _front_matter(manifest: AdapterManifest) -> str:
    pair = manifest.language_pair
    facts = {
        "base_model": manifest.base.name,
        "language": [pair.source, pair.target],
        "library_name": "peft",
        "license": manifest.corpus.licence,
        "metrics": ["chrf", "bleu"],
        "pipeline_tag": "translation",
        "tags": ["adapterhub", manifest.method],
    }
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
    return "\n".join(["---", *lines, "---", ""])


def _what(manifest: AdapterManifest) -> str:
    asked = "a stated size" if manifest.budget is None else f"a budget of {manifest.budget:g}"
    return (
        f"Translates {manifest.language_pair.source} to {manifest.language_pair.target} on the "
        f"frozen base `{manifest.base.name}`\n(`{manifest.base.digest}`).\n\n"
        f"- Method: {manifest.method}, size {manifest.size}, from {asked}\n"
        f"- Trainable parameters: {manifest.trainable_parameters:,} of "
        f"{manifest.base.parameters:,} ({manifest.realised_fraction:.4%})\n"
        f"- Corpus: {manifest.corpus.name}, {manifest.corpus.train:,} training, "
        f"{manifest.corpus.dev:,} development and {manifest.corpus.test:,} test segments\n"
        f"  (`{manifest.corpus.fingerprint}`, {manifest.corpus.licence})\n"
    )


def _scores(scores: Sequence[ScoreRecord]) -> str:
    if not scores:
        return "## Scores\n\nNot measured.\n"
    by = {(found.metric, found.system): found for found in scores}
    rows = [
        f"| {_NAMES[metric]} | {by[metric, 'base'].value:.1f} | {by[metric, 'adapter'].value:.1f} "
        f"| `{by[metric, 'adapter'].signature}` |"
        for metric in METRICS
        if (metric, "base") in by and (metric, "adapter") in by
    ]
    head = f"## Scores on {scores[0].items} unseen test segments, decoded by the serving engine\n"
    return "\n".join(
        [head, "| Metric | Base | Adapter | Signature |", "|---|---|---|---|", *rows, ""]
    )


def _data(manifest: AdapterManifest) -> str:
    """Return what was read and what cleaning removed; empty where no files were read."""
    corpus = manifest.corpus
    if corpus.cleaning is None:
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
    budget = "none asked" if manifest.budget is None else f"holds, at most {manifest.budget:g}"
    return (
        "## Gates\n\n"
        "- Every value is finite, every tensor binds in the serving engine\n"
        f"- Budget: {budget}\n"
        f"- Equality: in a mixed batch of {equality.rows} rows the serving engine (float32) "
        f"reproduced the\n  training model's greedy decoding: {equality.tokens} tokens equal, "
        f"{equality.ties} rows parted at a tie of logits\n"
    )


def _recipe(recipe: Recipe) -> str:
    text = json.dumps(json.loads(recipe.to_json()), sort_keys=True, indent=2, ensure_ascii=False)
    return f"## Recipe\n\n`{recipe.digest}`\n\n```json\n{text}\n```\n"
