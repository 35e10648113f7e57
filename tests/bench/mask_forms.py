"""Which stand-in for a placeholder does a base copy into its translations?

    python tests/bench/mask_forms.py [BASE]

Unseen CLDR phrases are given a stand-in where they had their first number, or behind their first
word where they have none, and translated in three pairs. A form has survived where it comes back
exactly once, in whatever digits. `**` stands for a number of two digits, another one for each
phrase, and so on. `server/translation/placeholders.py` uses the best one.
"""

from __future__ import annotations

import re
import sys
import unicodedata

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.languages import LanguagePair
from training.corpora.cldr import build_corpus

PAIRS = ("en-de", "ko-en", "fr-ja")
FORMS = (
    "{name}", "{0}", "%s", "[0]", "[1]", "(1)", "⟦1⟧", "<1>", "__1__", "#1", "@1", "$1", "%1", "X1",
    "XX1", "X", "Q1", "QZ1", "[X1]", "★", "№1", "7", "27", "34", "71", "739",
    "7391", "739184", "0739", "*", "**", "***", "****",
)  # fmt: skip
PHRASES = 100
_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f]\d+)*")


def form_of(form: str, key: int) -> str:
    """Return the form for one phrase: no multiples of ten, which are worded more often."""
    if set(form) != {"*"}:
        return form
    most = 10 ** len(form)
    number = most // 10 + key * 37 % (most - most // 10)
    return str(number + (number % 10 == 0))


def placed(phrase: str, form: str) -> str:
    if _NUMBER.search(phrase):
        return _NUMBER.sub(lambda _: form, phrase, count=1)
    first, gap, rest = phrase.partition(" ")
    return f"{first} {form}{gap}{rest}"


def main(name: str) -> None:
    base = open_base(name)
    tokenizer = load_tokenizer(base)
    engine = Engine.load(base, quantization="auto", slots=1, max_rows=64)
    print("| form |", " | ".join(PAIRS), "| all |")
    print("|---|" + "---|" * (len(PAIRS) + 1))
    phrases = {
        pair: [
            one.source
            for one in build_corpus(
                LanguagePair.parse(pair), seed=3, train=1, dev=1, test=PHRASES
            ).test
        ]
        for pair in PAIRS
    }
    for form in FORMS:
        kept = [survivors(engine, tokenizer, pair, phrases[pair], form) for pair in PAIRS]
        shares = [own / len(phrases[pair]) for own, pair in zip(kept, PAIRS, strict=True)]
        cells = [f"{share:.0%}" for share in (*shares, sum(shares) / len(shares))]
        print(f"| `{form}` |", " | ".join(cells), "|", flush=True)


def survivors(engine: Engine, tokenizer, pair: str, phrases: list[str], form: str) -> int:  # type: ignore[no-untyped-def]
    source, target = pair.split("-")
    prefix = tuple(tokenizer.target_prefix(target))
    requests = [
        DecodeRequest(
            key,
            tuple(tokenizer.encode_source(placed(phrase, form_of(form, key)), source, target)),
            prefix,
            options=DecodingOptions(max_new_tokens=64),
        )
        for key, phrase in enumerate(phrases)
    ]
    found = [tokenizer.decode(one.hypotheses[0].token_ids) for one in engine.translate(requests)]
    return sum(
        len(re.findall(rf"(?<!\d){re.escape(form_of(form, key))}(?!\d)", _western(text))) == 1
        for key, text in enumerate(found)
    )


def _western(text: str) -> str:
    return "".join(str(unicodedata.digit(one, one)) for one in text)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "embedded")
