"""The engine by itself on a server's texts: `python -m server.bench.alone`.

The batch is kept full with tokenized texts, and nothing else is done. JSON comes on standard input
and goes to standard output.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.settings import load_settings
from server.access.admission import resolve_search
from server.core import limits_of
from server.messages import SearchChoice

JOINING: Final = 8
"""Texts join when this part of the batch is free: an encoder pass for one costs as for several."""


def main() -> None:
    """Read what to run, run it, print texts and output tokens a second."""
    asked = json.load(sys.stdin)
    settings = load_settings({"base": asked["base"], "threads": asked["threads"]})
    base = open_base(settings.base, cache=settings.cache)
    tokenizer = load_tokenizer(base)
    engine = Engine.load(
        base,
        quantization=settings.quantization,
        slots=1,
        max_rows=settings.max_batch_rows,
        threads=settings.threads,
        device=settings.device,
        tokenizer=tokenizer,
    )
    limits = limits_of(settings, base, tokenizer)
    source, target = asked["pair"]
    prefix = tuple(tokenizer.target_prefix(target))

    def requests() -> Iterator[DecodeRequest]:
        for key, text in zip(itertools.count(1), itertools.cycle(asked["texts"]), strict=False):
            ids = tuple(tokenizer.encode_source(text, source, target))
            search = resolve_search(SearchChoice(), len(ids), limits)
            options = DecodingOptions(
                beam_size=search.beam_size,
                max_new_tokens=search.max_new_tokens,
                length_penalty=search.length_penalty,
                early_stopping=search.early_stopping,
            )
            yield DecodeRequest(key, ids, prefix, 0, options)

    found = list(itertools.islice(requests(), 2000))
    print(json.dumps(run(engine, found, settings.max_batch_rows, asked["seconds"])))


def run(
    engine: Any, requests: Sequence[DecodeRequest], max_rows: int, seconds: float
) -> dict[str, float]:
    """Keep the batch full for some seconds; counted from the first text that ends."""
    rows = requests[0].options.beam_size
    coming, running = itertools.cycle(requests), 0
    keys = itertools.count(1)
    texts = tokens = 0
    began: float | None = None
    while began is None or time.perf_counter() < began + seconds:
        free = max_rows // rows - running
        if free >= max(1, max_rows // rows // JOINING):
            joining = list(itertools.islice(coming, free))
            engine.admit(
                [
                    DecodeRequest(next(keys), one.source_ids, one.prefix_ids, 0, one.options)
                    for one in joining
                ]
            )
            running += len(joining)
        report = engine.step(float("inf"))
        running -= len(report.finished)
        if began is None:
            began = time.perf_counter() if report.finished else None
            continue
        texts += len(report.finished)
        tokens += sum(len(done.hypotheses[0].token_ids) for done in report.finished)
    wall = time.perf_counter() - began
    return {
        "texts_per_second": round(texts / wall, 2),
        "output_tokens_per_second": round(tokens / wall, 1),
    }


if __name__ == "__main__":
    main()
