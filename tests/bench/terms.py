"""Lexically constrained search on CLDR phrases: are the terms there, and what becomes of chrF++?

One random word of each reference is prescribed. Prints for each pair how many translations lack
their word, free and forced, and chrF++ of both and of forcing only where the word is missing.

    python tests/bench/terms.py [PHRASES] [PAIR …]
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.chrf import chrf
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.languages import LanguagePair
from server.translation.glossary import Found, TermEncoder, missing
from training.corpora.cldr import build_corpus

BEAM = 4


def measure(engine: Engine, pair: LanguagePair, count: int) -> None:
    tokenizer = load_tokenizer(open_base())
    encoder, chance = TermEncoder(tokenizer), random.Random(1)
    segments = build_corpus(pair, seed=3, train=1, dev=1, test=count).test
    free, terms = [], []
    for key, segment in enumerate(segments):
        words = [word.strip(".,;:()") for word in segment.target.split()]
        terms.append([Found("x", (chance.choice([word for word in words if word]),))])
        source = tuple(tokenizer.encode_source(segment.source, pair.source, pair.target))
        options = DecodingOptions(beam_size=BEAM, max_new_tokens=min(120, 48 + 3 * len(source)))
        prefix = tuple(tokenizer.target_prefix(pair.target))
        free.append(DecodeRequest(key, source, prefix, 0, options))
    forced = [
        replace(
            one,
            constraints=encoder.constraints(found, pair.target),
            joiners=encoder.joiners(found),
        )
        for one, found in zip(free, terms, strict=True)
    ]
    texts, seconds = [], []
    for requests in (free, forced):
        began = time.perf_counter()
        ended = engine.translate(requests)
        seconds.append(time.perf_counter() - began)
        texts.append([tokenizer.decode(one.hypotheses[0].token_ids) for one in ended])
    rows = list(zip(terms, *texts, strict=True))
    texts.append([a if not missing(found, a) else b for found, a, b in rows])
    lacking = [sum(bool(missing(found, text)) for found, text in zip(terms, side, strict=True))
               for side in texts]  # fmt: skip
    scores = [chrf(side, [segment.target for segment in segments]) for side in texts]
    print(
        f"{pair}: missing {lacking[0]} free, {lacking[1]} forced of {count}; chrF++ "
        f"{scores[0]:.2f} free, {scores[1]:.2f} forced, {scores[2]:.2f} where missing; "
        f"{seconds[0]:.1f} and {seconds[1]:.1f} s",
        flush=True,
    )


def main() -> None:
    count, *pairs = sys.argv[1:] or ["334", "en-de", "en-ko", "en-ja"]
    engine = Engine.load(open_base(), quantization="int8", slots=1, max_rows=64)
    for pair in pairs or ["en-de", "en-ko", "en-ja"]:
        measure(engine, LanguagePair.parse(pair), int(count))


if __name__ == "__main__":
    main()
