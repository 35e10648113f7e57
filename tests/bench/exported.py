"""Exports to CTranslate2 against the engine: the same tokens in float32, the same quality in int8.

hub train --pair en-ko --budget 0.01 --method lora
hub adapters export en-ko.lora --to ctranslate2 --out int8
hub adapters export en-ko.lora --to ctranslate2 --quantization float32 --out float32
python tests/bench/exported.py en-ko.lora int8 float32
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.chrf import chrf
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.registry import Registry
from hub.registry.exchange.ctranslate2 import vocabulary
from hub.settings import load_settings
from training.corpora.cldr import build_corpus

ITEMS = 300
LONGEST = 128


def main(ref: str, *folders: str) -> None:
    with Registry.open(load_settings().registry) as registry:
        version = registry.resolve(ref)
        adapter = registry.folder(version)
    pair = version.manifest.language_pair
    base = open_base(version.manifest.base.name)
    tokenizer = load_tokenizer(base)
    test = build_corpus(pair, seed=0, train=0, dev=0, test=ITEMS).test
    references = [segment.target for segment in test]
    requests = [
        DecodeRequest(
            key, tuple(tokenizer.encode_source(segment.source, pair.source, pair.target)),
            tuple(tokenizer.target_prefix(pair.target)), 1, DecodingOptions(max_new_tokens=LONGEST),
        )
        for key, segment in enumerate(test)
    ]  # fmt: skip
    served = {}
    for numbers, rule in (("float32", True), ("float32", False), ("int8", True)):
        engine = Engine.load(base, quantization=numbers, slots=1, max_rows=64, tokenizer=tokenizer)
        engine._rows._utf8 = engine._utf8 if rule else None
        engine.place(1, engine.read_adapter(adapter, version.manifest))
        found = engine.translate(requests)
        served[numbers, rule] = [one.hypotheses[0].token_ids for one in found]
        texts = [tokenizer.decode(ids) for ids in served[numbers, rule]]
        without = "" if rule else ", byte pieces in any order as in CTranslate2"
        print(f"engine, {numbers:8} chrF++ {chrf(texts, references):.2f}{without}")
    names = vocabulary(base)
    for folder in folders:
        found = translated(Path(folder), requests, names)
        plain = served["float32", False]
        equal = sum(a == b for a, b in zip(found, plain, strict=True))
        texts = [tokenizer.decode(ids) for ids in found]
        print(
            f"{folder}: chrF++ {chrf(texts, references):.2f}, {equal} of {ITEMS} token for token "
            "as the engine in float32 without that rule"
        )


def translated(
    folder: Path, requests: Sequence[DecodeRequest], names: Sequence[str]
) -> list[tuple[int, ...]]:
    """Translate with CTranslate2 itself; return the ids behind the forced prefix."""
    import ctranslate2

    translator: Any = ctranslate2.Translator(str(folder), device="cpu")
    ids = {name: index for index, name in enumerate(names)}
    found = translator.translate_batch(
        [[names[index] for index in one.source_ids] for one in requests],
        target_prefix=[[names[index] for index in one.prefix_ids] for one in requests],
        beam_size=1,
        max_decoding_length=LONGEST + 1,  # the forced prefix counts
    )
    return [
        tuple(ids[token] for token in one.hypotheses[0][len(request.prefix_ids) :])
        for one, request in zip(found, requests, strict=True)
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
