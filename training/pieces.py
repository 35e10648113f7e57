"""Which rows of the token table a run trains: the most frequent pieces of its target texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hub.languages import LanguagePair
from training.loop.examples import encode_corpus
from training.methods.catalog import ROWS, TOKENS, method

if TYPE_CHECKING:
    from hub.bases import Base
    from hub.bases.tokenizer import BaseTokenizer
    from training.corpora import SentencePair
    from training.recipe import Recipe


def settled(
    recipe: Recipe, base: Base, tokenizer: BaseTokenizer, segments: Sequence[SentencePair]
) -> tuple[Recipe, tuple[int, ...]]:
    """Return the recipe with as many rows as the texts have pieces for, and these pieces.

    What a budget does not spend on rows goes to the method beside them.

    Args:
        recipe: As it was asked; one without rows comes back as it is.
        base: What is trained on.
        tokenizer: Of the base.
        segments: The training texts.

    Raises:
        CorpusError: No segment fits the base's positions, or the base cannot spell the target.
    """
    rows = method(recipe.method).rows(recipe.size, recipe.options)
    if not rows:
        return recipe, ()
    pair = LanguagePair.parse(recipe.pair)
    positions = base.dimensions.max_positions
    examples = encode_corpus(segments, pair, tokenizer, max_positions=positions).examples
    pieces = frequent_pieces((example.target for example in examples), tokenizer)[:rows]
    return (_with_rows(recipe, base, len(pieces)) if len(pieces) < rows else recipe), pieces


def frequent_pieces(targets: Iterable[Sequence[int]], tokenizer: BaseTokenizer) -> tuple[int, ...]:
    """Return the tokens of encoded targets, the most frequent first, equals by id.

    The language's own token is one of them; the end, padding and unknown tokens are not, since
    every language shares them.
    """
    counts: Counter[int] = Counter()
    for target in targets:
        counts.update(target)
    for shared in (
        tokenizer.eos_id,
        tokenizer.pad_id,
        tokenizer.unk_id,
        tokenizer.decoder_start_id,
    ):
        counts.pop(shared, None)
    return tuple(sorted(counts, key=lambda token: (-counts[token], token)))


def _with_rows(recipe: Recipe, base: Base, rows: int) -> Recipe:
    if recipe.method == TOKENS:
        return replace(recipe, size=rows)
    options = {**recipe.options, ROWS: rows}
    if recipe.budget is None:
        return replace(recipe, options=options)
    spec = method(recipe.method)
    solution = spec.solve(base.dimensions, options, budget=recipe.budget, size=None)
    return replace(recipe, options=options, size=solution.size)
