"""The ceiling that adapters are measured against: every weight of the base trained.

    python tests/bench/full_finetuning.py --pair en-ko

Trains on the data, batches and number of updates of `hub train`'s defaults, at each of several
learning rates, scores on the same unseen items with the serving engine in int8, and prints them:
the gap between base and ceiling is what an adapter can close.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from hub.bases import Base, open_base
from hub.bases.tokenizer import load_tokenizer
from hub.languages import LanguagePair
from training.corpora import CorpusSplits, load_corpus
from training.defaults import Overrides, make_recipe
from training.evidence.decode import Decoder, score_system
from training.loop.batching import Position, batches_from
from training.loop.examples import encode_corpus
from training.loop.loss import Layout, collate, smoothed_loss
from training.loop.model import load_base_model, quiet_libraries
from training.loop.schedule import learning_rate
from training.recipe import Recipe


def main() -> None:
    """Train at each rate, print one JSON line for each and the best at the end."""
    words = argparse.ArgumentParser()
    words.add_argument("--pair", default="en-ko")
    words.add_argument("--base", default="embedded")
    words.add_argument("--rates", type=float, nargs="+", default=[3e-4, 1e-3])
    words.add_argument("--max-updates", type=int)
    asked = words.parse_args()
    base, pair = open_base(asked.base), LanguagePair.parse(asked.pair)
    recipe = _recipe(base, pair, asked.max_updates)
    corpus = load_corpus(
        recipe.corpus,
        pair,
        seed=recipe.seed,
        train=recipe.train,
        dev=recipe.dev,
        test=recipe.test,
    )
    print(json.dumps({"system": "base", **_score(base, base, pair, corpus)}), flush=True)
    for rate in asked.rates:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            tuned = _fine_tune(base, replace(recipe, learning_rate=rate), corpus, Path(scratch))
            seconds = round(time.perf_counter() - started, 1)
            facts = {"system": "full", "learning_rate": rate, "updates": recipe.max_updates}
            scores = _score(tuned, base, pair, corpus)
            print(json.dumps({**facts, "seconds": seconds, **scores}), flush=True)


def _recipe(base: Base, pair: LanguagePair, updates: int | None) -> Recipe:
    return make_recipe(
        pair,
        base,
        method_name="bottleneck",
        options={},
        budget=0.01,
        size=None,
        corpus="cldr",
        overrides=Overrides(max_updates=updates),
    )


def _fine_tune(base: Base, recipe: Recipe, corpus: CorpusSplits, folder: Path) -> Base:
    tokenizer = load_tokenizer(base)
    encoded = encode_corpus(
        corpus.train, corpus.pair, tokenizer, max_positions=base.dimensions.max_positions
    )
    model = load_base_model(base, dropout=recipe.dropout).train()
    layout = Layout(tokenizer.pad_id, tokenizer.decoder_start_id, forced=1)
    optimiser = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
    lengths = [example.lengths for example in encoded.examples]
    batches = batches_from(
        lengths, tokens=recipe.tokens_per_batch, seed=recipe.seed, start=Position()
    )
    for update in range(1, recipe.max_updates + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(
                update,
                peak=recipe.learning_rate,
                schedule=recipe.schedule,
                warmup=recipe.warmup,
                max_updates=recipe.max_updates,
            )
        _, indices = next(batches)
        batch = collate([encoded.examples[index] for index in indices], layout)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            loss = smoothed_loss(model, batch, recipe.label_smoothing)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimiser.step()
    with quiet_libraries():
        model.save_pretrained(folder)
    for file in ("vocab.json", "sentencepiece.bpe.model", "tokenizer_config.json"):
        shutil.copy(base.folder / file, folder / file)
    return open_base(str(folder))


def _score(
    base: Base, original: Base, pair: LanguagePair, corpus: CorpusSplits
) -> dict[str, float]:
    decoder = Decoder(base, load_tokenizer(original), "int8")
    found = score_system(decoder, pair, corpus.test, "base")
    return {score.metric: score.value for score in found}


if __name__ == "__main__":
    main()
