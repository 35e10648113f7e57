"""What judging outputs costs, and how often it raises an alarm about good translations.

    python tests/bench/signals.py cost
    python tests/bench/signals.py cldr en-ko en-de en-hi
    python tests/bench/signals.py adapter REF --registry REGISTRY

`cost` times the judgement of one sentence. `cldr` judges human translations: every alarm is a false
one; then it changes one digit of each and counts what is noticed. `adapter` decodes an adapter's
own test set, and says how its flags and z-scores go with chrF++.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from hub.registry import Registry
from server.messages import Candidate
from server.quality.judging import Judge
from server.quality.language import language_model
from server.quality.numbers import disagreeing
from training.corpora import load_corpus
from training.evidence.decode import Decoder
from training.evidence.scoring import chrf

DIGIT = re.compile(r"\d")
EXPECTED = OutputRecord(
    items=200,
    log_probability=-0.5,
    log_probability_deviation=0.3,
    log_length_ratio=0.0,
    log_length_ratio_deviation=0.3,
    signature="",
)
TEXTS = {
    "short": ("2 hours ago", "vor 2 Stunden"),
    "sentence": (
        "The committee meets on Monday at nine and will discuss the budget for the coming year.",
        "Der Ausschuss tritt am Montag um neun zusammen und berät den Haushalt für das neue Jahr.",
    ),
}


def cost() -> None:
    tokenizer, pair = load_tokenizer(open_base()), LanguagePair.parse("en-de")
    judge = Judge(tokenizer.unk_id)
    for name, (source, text) in TEXTS.items():
        tokens = tuple(tokenizer.encode_source(source, "en", "de"))[1:-1]
        made = Candidate(tuple(tokenizer.encode_source(text, "de", "en"))[1:-1], -1, -9.0, True)
        for expected in (None, EXPECTED):
            times = []
            for _ in range(2000):
                began = time.perf_counter()
                judge.judge(source, tokens, made, text, pair, expected)
                times.append(time.perf_counter() - began)
            known = "with" if expected else "without"
            print(f"{name}, {known} a dev set: {1e6 * statistics.median(times):.0f} µs (median)")


def cldr(pairs: Sequence[str]) -> None:
    tokenizer = load_tokenizer(open_base())
    judge = Judge(tokenizer.unk_id)
    for name in pairs:
        pair = LanguagePair.parse(name)
        corpus = load_corpus("cldr", pair, seed=1, train=3000, dev=300, test=700)
        segments = [*corpus.train, *corpus.dev, *corpus.test]
        flags: Counter[str] = Counter()
        for one in segments:
            made = Candidate((10, 11, 12), 0.0, -1.0, True)
            found = judge.judge(one.source, (10, 11, 12), made, one.target, pair, None)
            flags.update(flag.value for flag in found.flags)
        told = ", ".join(f"{n} {100 * k / len(segments):.2f} %" for n, k in flags.items())
        noticed, changed = _noticed([(s.source, s.target) for s in segments], pair)
        print(f"{name}: {len(segments)} references; alarms: {told or 'none'}")
        print(f"    one digit changed: {100 * noticed / changed:.1f} % of {changed} noticed")


def _noticed(texts: Sequence[tuple[str, str]], pair: LanguagePair) -> tuple[int, int]:
    chance, languages = random.Random(0), (pair.source, pair.target)
    noticed = changed = 0
    for source, target in texts:
        places = [found.start() for found in DIGIT.finditer(target)]
        if not places or not DIGIT.search(source) or disagreeing(source, target, languages):
            continue
        place = chance.choice(places)
        other = chance.choice([digit for digit in range(10) if digit != int(target[place])])
        changed += 1
        wrong = f"{target[:place]}{other}{target[place + 1 :]}"
        noticed += bool(disagreeing(source, wrong, languages))
    return noticed, changed


def adapter(ref: str, location: str) -> None:
    with Registry.open(location) as registry:
        version = registry.resolve(ref)
        folder = registry.folder(version)
    manifest = version.manifest
    assert manifest.corpus is not None
    base = open_base(manifest.base.name)
    tokenizer, pair = load_tokenizer(base), manifest.language_pair
    corpus, sizes = manifest.corpus, manifest.corpus
    test = load_corpus(
        corpus.name, pair, seed=manifest.seed or 0, train=0, dev=0, test=sizes.test
    ).test
    decoder = Decoder(base, tokenizer)
    decoder.place(folder, manifest)
    judge, empty = Judge(tokenizer.unk_id), tokenizer.encode_source("", pair.source, pair.target)
    rows = []
    for segment, (made, _) in zip(
        test, decoder.outputs(pair, [one.source for one in test]), strict=True
    ):
        text = tokenizer.decode(made.token_ids)
        source = tokenizer.encode_source(segment.source, pair.source, pair.target)
        tokens = tuple(source[1 : len(source) - len(empty) + 1])
        found = Candidate(made.token_ids, 0.0, made.log_probability, made.finished)
        judged = judge.judge(segment.source, tokens, found, text, pair, manifest.output)
        rows.append((judged, chrf([text], [segment.target])))
    _tell(rows)


def _tell(rows: Sequence[tuple]) -> None:  # type: ignore[type-arg]
    print(f"{len(rows)} test outputs, mean chrF++ {statistics.fmean(s for _, s in rows):.1f}")
    for flag in sorted({flag for judged, _ in rows for flag in judged.flags}, key=str):
        scores = [score for judged, score in rows if flag in judged.flags]
        share = 100 * len(scores) / len(rows)
        print(f"  {flag.value}: {share:.1f} %, their chrF++ {statistics.fmean(scores):.1f}")
    ordered = sorted((judged.signals.log_probability_z or 0.0, score) for judged, score in rows)
    for part in range(4):
        own = ordered[part * len(ordered) // 4 : (part + 1) * len(ordered) // 4]
        print(
            f"  z {own[0][0]:6.2f} to {own[-1][0]:5.2f}: chrF++ "
            f"{statistics.fmean(score for _, score in own):.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "cldr", "adapter"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--registry", default="")
    given = parser.parse_args()
    language_model().result()
    if given.what == "cost":
        cost()
    elif given.what == "cldr":
        cldr(given.names)
    else:
        adapter(given.names[0], given.registry)


if __name__ == "__main__":
    main()
