"""Segments in few bytes: what a sample of a million of them is kept as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from training.corpora.model import SentencePair


def pack(file: int, line: int, source: str, target: str) -> bytes:
    """Return a segment as bytes; `file` is an index among the names that `unpack` gets."""
    text = source.encode()
    return b"%d %d %d " % (file, line, len(text)) + text + target.encode()


def unpack(packed: bytes, names: Sequence[str]) -> SentencePair:
    """Return the segment; its kind is the file's name, its item the name and line."""
    file, line, size, text = packed.split(b" ", 3)
    name = names[int(file)]
    source, target = text[: int(size)].decode(), text[int(size) :].decode()
    return SentencePair(source, target, name, f"{name}:{int(line)}")


class PackedSegments(Sequence[SentencePair]):
    """A sequence of segments that unpacks each as it is asked for."""

    def __init__(self, packed: Sequence[bytes], names: Sequence[str]) -> None:
        """Take segments as `pack` makes them."""
        self._packed = packed
        self._names = names

    def __len__(self) -> int:
        return len(self._packed)

    def at(self, indices: Sequence[int]) -> PackedSegments:
        """Return the segments at some places."""
        return PackedSegments([self._packed[index] for index in indices], self._names)

    @overload
    def __getitem__(self, index: int) -> SentencePair: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SentencePair]: ...
    def __getitem__(self, index: int | slice) -> SentencePair | Sequence[SentencePair]:
        if isinstance(index, slice):
            return PackedSegments(self._packed[index], self._names)
        return unpack(self._packed[index], self._names)
