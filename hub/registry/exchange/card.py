"""Model cards of adapters and merged bases, with the front matter that model hubs read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from hub.bases.licence import licence_text
from hub.manifest import AdapterManifest, CorpusReference

PLUGINS: Final[Mapping[str, str]] = {
    "BITFIT": "training.methods.bitfit",
    "BOTTLENECK": "training.methods.bottleneck",
    "KV_PREFIX": "training.methods.prefix",
    "NORMS": "training.methods.norms",
    "CROSS_ATTENTION": "training.methods.cross_attention",
}
"""Kinds that PEFT does not have, with the module that teaches them to it."""

_DATASET: Final = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?", re.ASCII)

_METRICS: Final[Mapping[str, tuple[str, str]]] = {
    "chrf++": ("chrf", "chrF++"),
    "bleu": ("sacrebleu", "BLEU"),
    "ter": ("ter", "TER"),
    "comet": ("comet", "COMET"),
    "exact": ("exact_match", "exact match, %"),
}


def adapter_card(manifest: AdapterManifest, kind: str, base_id: str, ref: str) -> str:
    """Return the card of an adapter in PEFT's layout.

    Args:
        manifest: Its manifest.
        kind: Its `peft_type`.
        base_id: The base as others find it.
        ref: Where it is from.
    """
    front = _front(manifest, base_id) | {
        "library_name": "peft",
        "base_model_relation": "adapter",
        "tags": [f"base_model:adapter:{base_id}", "adapterhub", manifest.method, "translation"],
        "model-index": _model_index(manifest, ref),
    }
    parts = [
        _yaml({key: value for key, value in front.items() if value}),
        f"# {manifest.pair} {manifest.method} adapter for {base_id}\n",
        _facts(manifest, base_id, ref),
        _how_to_load(kind, base_id),
        _scores(manifest),
    ]
    return "\n".join(part for part in parts if part)


def merged_card(manifest: AdapterManifest, ref: str) -> str:
    """Return the card of a base that an adapter was merged into."""
    base_id = manifest.base.name
    front = _front(manifest, base_id) | {
        "library_name": "transformers",
        "base_model_relation": "finetune",
        "tags": [f"base_model:finetune:{base_id}", "adapterhub", "translation"],
    }
    parts = [
        _yaml({key: value for key, value in front.items() if value}),
        f"# {base_id} with {ref}\n",
        "The adapter is merged into the weights, in float32.\n",
        _facts(manifest, base_id, ref),
        _scores(manifest),
    ]
    return "\n".join(part for part in parts if part)


def _front(manifest: AdapterManifest, base_id: str) -> dict[str, Any]:
    pair, corpus = manifest.language_pair, manifest.corpus
    languages = [tag.partition("-")[0] for tag in (pair.source, pair.target)]
    return {
        "license": hub_licence(manifest.base.licence),
        "license_name": _licence_name(manifest.base.licence),
        "base_model": base_id,
        "language": list(dict.fromkeys(languages)),
        "pipeline_tag": "translation",
        "metrics": ["chrf", "sacrebleu"] if manifest.scores else [],
        "datasets": _datasets(corpus) if corpus else [],
    }


def hub_licence(stated: str) -> str:
    """Return a licence by the identifier that the Hub has for it: lower case, or `other`."""
    plain = stated.strip().lower()
    simple = plain and " " not in plain and len(plain) <= 40
    return plain if simple else ("other" if plain else "unknown")


def _licence_name(stated: str) -> str:
    """Return what an `other` licence is called."""
    return stated if hub_licence(stated) == "other" else ""


def _datasets(corpus: CorpusReference) -> list[str]:
    """Return the sources that are datasets of the Hub: read as such, and named by an id."""
    found = (source.name for source in corpus.sources if source.format == "hf")
    return [name for name in found if _DATASET.fullmatch(name)]


def _facts(manifest: AdapterManifest, base_id: str, ref: str) -> str:
    corpus = manifest.corpus
    made = (
        "not known"
        if corpus is None
        else f"{corpus.name} ({corpus.licence}), {corpus.train:,} segments"
    )
    return (
        f"- Translates {manifest.language_pair.source} to {manifest.language_pair.target}\n"
        f"- Base: `{base_id}`, `{manifest.base.digest}`, licence "
        f"{licence_text(manifest.base.licence)}\n"
        f"- Method: {manifest.trained}; "
        f"{manifest.trainable_parameters:,} parameters, {manifest.realised_fraction:.4%} of the "
        "base\n"
        f"- Trained on: {made}\n"
        f"- Exported from `{ref}`\n"
    )


def _how_to_load(kind: str, base_id: str) -> str:
    plugin = PLUGINS.get(kind)
    first = (
        f"import {plugin}  # of the package adapterhub: {kind} is no method of PEFT itself\n"
        if plugin
        else ""
    )
    return (
        "```python\n"
        f"{first}from peft import PeftModel\n"
        "from transformers import AutoModelForSeq2SeqLM\n\n"
        f'base = AutoModelForSeq2SeqLM.from_pretrained("{base_id}")\n'
        'model = PeftModel.from_pretrained(base, "this folder")\n'
        "```\n"
    )


def _scores(manifest: AdapterManifest) -> str:
    if not manifest.scores:
        return ""
    rows = [
        f"| {_METRICS[score.metric][1]} | {score.system} | {score.value:.2f} | {score.items} | "
        f"`{score.signature}` |"
        for score in manifest.scores
    ]
    return "\n".join(
        ["| metric | system | value | items | signature |", "|---|---|---|---|---|", *rows, ""]
    )


def _model_index(manifest: AdapterManifest, ref: str) -> list[dict[str, Any]]:
    """Return the adapter's scores as the Hub's `model-index` has them."""
    found = [
        {
            "type": _METRICS[score.metric][0],
            "value": round(score.value, 4),
            "name": _METRICS[score.metric][1],
            "args": {"signature": score.signature},
        }
        for score in manifest.scores
        if score.system == "adapter"
    ]
    if not found:
        return []
    name = manifest.corpus.name if manifest.corpus else "not known"
    return [
        {
            "name": ref,
            "results": [
                {
                    "task": {"type": "translation", "name": f"Translation {manifest.pair}"},
                    "dataset": {"type": name, "name": name},
                    "metrics": found,
                }
            ],
        }
    ]


def _yaml(facts: Mapping[str, Any]) -> str:
    """Return front matter; JSON on each line is YAML."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()]
    return "\n".join(["---", *lines, "---", ""])
