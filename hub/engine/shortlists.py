"""Which tokens a row may choose from: a list of its target language's, or the whole vocabulary.

A *shortlist* is a sorted list of token ids. The logits of a row with a shortlist have one column
for each of its tokens; everything that restricts a row by token id asks for columns here.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, Protocol, Self


class Columns(Protocol):
    """Where the logits of tokens are."""

    def columns(self, tokens: Iterable[int]) -> list[int]:
        """Return the columns of those of the tokens that have one, in the order given."""
        ...


class _EveryToken:
    """The whole vocabulary: a token's column is its id."""

    def columns(self, tokens: Iterable[int]) -> list[int]:
        """Return the tokens."""
        return list(tokens)


EVERY_TOKEN: Final[Columns] = _EveryToken()


class Shortlist:
    """Tokens to choose from; equal to any other of the same tokens, and immutable."""

    __slots__ = ("_hash", "_ids", "digest")

    def __init__(self, tokens: Iterable[int]) -> None:
        """Take token ids from 0, in any order.

        Raises:
            ValueError: There are none, or one is negative or above 2^31.
        """
        try:
            self._ids = array("i", sorted(set(tokens)))
        except OverflowError:
            raise ValueError("a token id is above 2^31") from None
        if not self._ids or self._ids[0] < 0:
            raise ValueError("a shortlist has at least one token, and ids from 0")
        self.digest = hashlib.sha256(self._ids.tobytes()).digest()
        self._hash = hash(self.digest)

    @classmethod
    def of_bytes(cls, ids: bytes) -> Self:
        """Return the list that `ids.tobytes()` wrote on this machine."""
        return cls(array("i", ids))

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        """Be pickled without the hash, which other processes compute otherwise."""
        return type(self).of_bytes, (self._ids.tobytes(),)

    @property
    def ids(self) -> array[int]:
        """Return the token ids, ascending; not to be changed."""
        return self._ids

    def columns(self, tokens: Iterable[int]) -> list[int]:
        """Return the columns of those of the tokens that are listed, in the order given."""
        found = ((token, bisect_left(self._ids, token)) for token in tokens)
        size = len(self._ids)
        return [place for token, place in found if place < size and self._ids[place] == token]

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shortlist) and self.digest == other.digest

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"<Shortlist of {len(self)} tokens>"
