"""Byte pieces form valid UTF-8 or nothing: which of them may come next (RFC 3629, section 4).

A vocabulary with byte fallback spells characters that it lacks byte by byte. A weak model may
begin such a character and go on with something else, which prints as U+FFFD. The rule is one of the
search: inside a character only the bytes that can continue it are allowed; outside, none that
cannot begin one. Rows of vocabularies without byte pieces have no rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from hub.engine.devices import upload
from hub.engine.shortlists import EVERY_TOKEN, Columns

START: Final = 0
"""Outside of any character."""

# From a state to the byte ranges that may come, each with the state behind it. Overlong forms,
# surrogates and what lies above U+10FFFF are told by the second byte (states 2, 4, 5 and 7).
_ONE, _AFTER_E0, _TWO, _AFTER_ED, _AFTER_F0, _THREE, _AFTER_F4 = range(1, 8)
_RANGES: Final[tuple[tuple[tuple[int, int, int], ...], ...]] = (
    (
        (0x00, 0x7F, START), (0xC2, 0xDF, _ONE), (0xE0, 0xE0, _AFTER_E0), (0xE1, 0xEC, _TWO),
        (0xED, 0xED, _AFTER_ED), (0xEE, 0xEF, _TWO), (0xF0, 0xF0, _AFTER_F0),
        (0xF1, 0xF3, _THREE), (0xF4, 0xF4, _AFTER_F4),
    ),
    ((0x80, 0xBF, START),),
    ((0xA0, 0xBF, _ONE),),
    ((0x80, 0xBF, _ONE),),
    ((0x80, 0x9F, _ONE),),
    ((0x90, 0xBF, _TWO),),
    ((0x80, 0xBF, _TWO),),
    ((0x80, 0x8F, _TWO),),
)  # fmt: skip
_NEXT: Final[tuple[Mapping[int, int], ...]] = tuple(
    {byte: state for low, high, state in ranges for byte in range(low, high + 1)}
    for ranges in _RANGES
)
_LONGEST: Final = 4
"""Bytes of the longest character."""


def _can_end(state: int, known: Set[int]) -> bool:
    """Return whether a character can be ended from a state with the bytes of a vocabulary.

    A vocabulary that was cut down may have a first byte and none that goes on from it.
    """
    following = _NEXT[state]
    return state == START or any(_can_end(following[byte], known) for byte in following
                                 if byte in known)  # fmt: skip


class Utf8Rule:
    """The rule for one vocabulary."""

    def __init__(self, byte_of_token: Mapping[int, int]) -> None:
        """Take the vocabulary's byte pieces.

        Args:
            byte_of_token: From a token's id to its byte.
        """
        self._byte_of = dict(byte_of_token)
        bytes_here = frozenset(self._byte_of.values())
        self._allowed = [
            [
                token
                for token, byte in self._byte_of.items()
                if byte in following and _can_end(following[byte], bytes_here)
            ]
            for following in _NEXT
        ]
        self.barred_at_start = sorted(self._byte_of.keys() - set(self._allowed[START]))
        """Tokens that cannot come outside of a character: bytes that begin none."""

    @classmethod
    def of(cls, byte_of_token: Mapping[int, int]) -> Utf8Rule | None:
        """Return the rule, None for a vocabulary without byte pieces."""
        return cls(byte_of_token) if byte_of_token else None

    def state(self, tokens: Sequence[int]) -> int:
        """Return where a target stands; START for one that the rule did not make."""
        if not tokens or tokens[-1] not in self._byte_of:
            return START
        found = START
        for token in tokens[-self._unfinished(tokens) :]:
            found = _NEXT[found].get(self._byte_of[token], START)
        return found

    def fits(self, tokens: Sequence[int], token: int) -> bool:
        """Return whether a token may come behind a target."""
        state = self.state(tokens)
        return token in self._allowed[state] or (state == START and token not in self._byte_of)

    def whole(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Return a target without the beginning of a character at its end, where a cut left one."""
        if self.state(tokens) == START:
            return tokens
        return tokens[: -self._unfinished(tokens)]

    def _unfinished(self, tokens: Sequence[int]) -> int:
        """Return how many bytes at the end of a target belong to its last character."""
        for count in range(1, min(_LONGEST, len(tokens)) + 1):
            byte = self._byte_of.get(tokens[-count])
            if byte is None:
                return max(1, count - 1)
            if not 0x80 <= byte <= 0xBF:
                return count
        return 1

    def restrict(
        self, values: Tensor, states: Sequence[int], listed: Columns = EVERY_TOKEN
    ) -> None:
        """Set what may not come to -inf in `(rows, columns)`, in place; NaN stays NaN."""
        at_start = torch.tensor(listed.columns(self.barred_at_start), dtype=torch.int64)
        barred = upload(at_start, values.device)
        outside = [row for row, state in enumerate(states) if state == START]
        if len(outside) == len(states):
            values[:, barred] = -math.inf
        elif outside:
            rows = upload(torch.tensor(outside), values.device)
            values[rows[:, None], barred] = -math.inf
        for row, state in enumerate(states):
            if state != START:
                self._keep_only(values[row], listed.columns(self._allowed[state]))

    @staticmethod
    def _keep_only(row: Tensor, allowed: Sequence[int]) -> None:
        kept = upload(torch.tensor(allowed, dtype=torch.int64), row.device)
        restricted = torch.full_like(row, -math.inf)
        restricted[kept] = row[kept]
        row.copy_(torch.where(row.isnan().any(), row, restricted))


@dataclass(frozen=True, slots=True)
class CharacterRows:
    """Rows of a step with the state of each, where the vocabulary has byte pieces.

    Attributes:
        listed: Which columns the rows' logits have.
    """

    rule: Utf8Rule
    states: Sequence[int]
    listed: Columns = EVERY_TOKEN

    @property
    def inside(self) -> list[int]:
        """Return the rows that are inside a character."""
        return [row for row, state in enumerate(self.states) if state != START]

    @property
    def barred(self) -> list[int]:
        """Return the columns that no row may take which is outside of a character."""
        return self.listed.columns(self.rule.barred_at_start)

    def within(self, rows: Sequence[int]) -> CharacterRows:
        """Return the same for `rows` alone, numbered in their order."""
        return replace(self, states=[self.states[row] for row in rows])

    def restrict(self, values: Tensor, start: int) -> None:
        """Restrict rows `start` and on of `(rows, columns)`, in place."""
        self.rule.restrict(values, self.states[start : start + len(values)], self.listed)
