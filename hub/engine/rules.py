"""What may come next in a target, beyond what the model says: one row at a time.

The meanings are those of transformers' logits processors, which see the start token and the
forced prefix as part of the target. Rows without rules are never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import Architecture
from hub.engine.devices import upload
from hub.engine.requests import DecodingOptions
from hub.engine.shortlists import EVERY_TOKEN, Columns, Shortlist
from hub.errors import DecodingError


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one request.

    Attributes:
        repetition_penalty: Takes from tokens already in the target (arXiv 1909.05858, eq. 2).
        no_repeat_ngram_size: No n-gram of this length comes twice; 0 for no limit.
        bad_words: Tokens that never come.
        forced_eos_id: What the last token of a target of full length must be.
    """

    repetition_penalty: float
    no_repeat_ngram_size: int
    bad_words: tuple[int, ...]
    forced_eos_id: int | None

    @classmethod
    def of(cls, options: DecodingOptions, architecture: Architecture) -> Rules | None:
        """Return a request's rules, the base's where it has none; None where nothing is asked."""
        base = architecture.decoding
        penalty, size, words = (
            options.repetition_penalty, options.no_repeat_ngram_size, options.bad_words
        )  # fmt: skip
        rules = cls(
            base.repetition_penalty if penalty is None else penalty,
            base.no_repeat_ngram_size if size is None else size,
            base.bad_words if words is None else words,
            _forced_eos(options, architecture),
        )
        return None if rules == _NOTHING else rules


_NOTHING = Rules(1.0, 0, (), None)


def _forced_eos(options: DecodingOptions, architecture: Architecture) -> int | None:
    default = architecture.decoding.forced_eos_id
    if options.forced_eos is None:
        return default
    if not options.forced_eos:
        return None
    return architecture.eos_ids[0] if default is None else default


@dataclass(frozen=True, slots=True)
class RuledRow:
    """One row of logits with rules.

    Attributes:
        row: Its number.
        history: The target so far, start token and forced prefix included.
        last: The next token is the last one that fits.
        inside: The target stands inside a character, whose bytes no ban may cut off.
        listed: Which columns the row has.
    """

    row: int
    rules: Rules
    history: Sequence[int]
    last: bool
    inside: bool = False
    listed: Columns = EVERY_TOKEN

    @property
    def forced(self) -> bool:
        """Return whether the next token is given."""
        return self.last and self.rules.forced_eos_id is not None

    @property
    def acts(self) -> bool:
        """Return whether the rules could change anything at this token."""
        rules = self.rules
        return bool(
            self.forced
            or rules.repetition_penalty != 1.0
            or rules.no_repeat_ngram_size
            or rules.bad_words
        )

    def apply(self, values: Tensor) -> None:
        """Change a row's logits or log-probabilities `(columns,)`, in place."""
        if self.rules.forced_eos_id is not None and self.last:
            given = torch.full_like(values, -math.inf)
            given[self.listed.columns([self.rules.forced_eos_id])] = 0.0
            # A row that is not finite must stay so, to be noticed.
            values.copy_(torch.where(values.isnan().any(), values, given))
            return
        if self.rules.repetition_penalty != 1.0:
            seen = self._columns(set(self.history), values.device)
            found = values[seen]
            penalty = self.rules.repetition_penalty
            values[seen] = torch.where(found < 0, found * penalty, found / penalty)
        size = 0 if self.inside else self.rules.no_repeat_ngram_size
        banned = {*self.rules.bad_words, *repeating(self.history, size)}
        if banned:
            values[self._columns(banned, values.device)] = -math.inf

    def _columns(self, tokens: set[int], device: torch.device) -> Tensor:
        found = self.listed.columns(sorted(tokens))
        return upload(torch.tensor(found, dtype=torch.int64), device)


def repeating(history: Sequence[int], size: int) -> set[int]:
    """Return the tokens that would complete an n-gram which the history holds already.

    Args:
        history: Token ids.
        size: Length of the n-grams; 0 for none.
    """
    if not size or len(history) + 1 < size:
        return set()
    tail = tuple(history[len(history) + 1 - size :])
    return {
        history[end]
        for end in range(size - 1, len(history))
        if tuple(history[end + 1 - size : end]) == tail
    }


def apply_rules(values: Tensor, start: int, ruled: Sequence[RuledRow]) -> None:
    """Apply the rules of rows `start` and on to `(rows, columns)`, in place."""
    for one in ruled:
        if start <= one.row < start + len(values):
            one.apply(values[one.row - start])


def check_shortlist(shortlist: Shortlist, architecture: Architecture) -> None:
    """Check that a list is one of a base's tokens, and that targets can end by it.

    Raises:
        DecodingError: A token is none of the base's, or an end token is missing.
    """
    forced = architecture.decoding.forced_eos_id
    ends = {*architecture.eos_ids, *(() if forced is None else (forced,))}
    if shortlist.ids[-1] >= architecture.vocab_size:
        raise DecodingError(
            f"the list has token {shortlist.ids[-1]}, the base has {architecture.vocab_size} "
            "tokens",
            field="shortlist",
        )
    if len(shortlist.columns(sorted(ends))) < len(ends):
        raise DecodingError(
            f"the list lacks an end token of the base; add {sorted(ends)}", field="shortlist"
        )
