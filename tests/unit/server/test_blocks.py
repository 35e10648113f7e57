"""Room in a file: no byte is two pieces', and none is lost between two of them."""

from __future__ import annotations

import random

from server.residency.spill_blocks import BLOCK, Blocks, Run


def test_pieces_lie_where_others_were() -> None:
    blocks = Blocks(4 * BLOCK + 1)
    first, second = blocks.take(1), blocks.take(2 * BLOCK)
    assert (first, second) == (((0, BLOCK),), ((BLOCK, 3 * BLOCK),))
    assert blocks.take(2 * BLOCK) is None, "one block is left"
    third = blocks.take(BLOCK)
    assert third == ((3 * BLOCK, 4 * BLOCK),)
    assert first is not None
    blocks.give(first)
    blocks.give(third)
    assert blocks.take(2 * BLOCK) == ((0, BLOCK), (3 * BLOCK, 4 * BLOCK))
    assert [blocks.fits(size * BLOCK) for size in (4, 5)] == [True, False]


def test_no_byte_is_given_twice() -> None:
    chance, blocks = random.Random(0), Blocks(32 * BLOCK)
    held: list[tuple[Run, ...]] = []
    refused = 0
    for _ in range(2000):
        count = chance.randint(1, 9)
        runs = blocks.take(count * BLOCK)
        if runs is not None:
            held.append(runs)
            assert sum(last - first for first, last in runs) == count * BLOCK
        else:
            refused += 1
            assert _taken(held) + count > 32, "there was room"
            blocks.give(held.pop(chance.randrange(len(held))))
        taken = [byte for one in held for first, last in one for byte in range(first, last, BLOCK)]
        assert len(set(taken)) == len(taken)
        assert max(taken, default=0) < 32 * BLOCK
    assert refused > 100


def _taken(held: list[tuple[Run, ...]]) -> int:
    return sum(last - first for one in held for first, last in one) // BLOCK
