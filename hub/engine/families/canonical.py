"""A checkpoint's tensors without repetition: ties stored once, what is computed left out.

Published checkpoints hold the shared token table under up to four names, sinusoidal positions,
biases of zeros, and tensors that no code reads any more. What repeats something must equal it;
what differs is used or refused, never dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

import torch
from torch import Tensor

from hub.engine.architecture import Architecture
from hub.engine.families.family import Family
from hub.engine.sinusoids import sinusoids
from hub.errors import CorruptBaseError

_ROWS: Final = 8192
"""Rows that are compared at once, to keep memory small."""
_SINGLE: Final = 1e-3
_HALF: Final = 1e-2
"""Largest distance of stored positions from computed ones: float32, whose angles in the thousands
are exact to four digits, and types of 16 bits."""


def canonical_names(
    family: Family,
    architecture: Architecture,
    names: Collection[str],
    read: Callable[[str], Tensor],
    *,
    untied: bool = False,
) -> dict[str, str]:
    """Return the names of the tensors that make up a model, with those that they are stored by.

    An output table that differs from the token table is kept as an output of its own, whatever
    the config says of tying; transformers 5 does the same.

    Args:
        family: Of the checkpoint.
        architecture: Its shape.
        names: Of the stored tensors.
        read: Returns a stored tensor.
        untied: The config says that the output table is one of its own, even if equal.

    Raises:
        CorruptBaseError: Two tensors differ that must be one, or a stored tensor is not what the
            family computes in its place.
    """
    left = {name for name in names if not name.endswith(family.unused)}
    for name in sorted(left):
        if family.computed and name.endswith(family.computed):
            _check_positions(name, read(name), architecture)
            left.discard(name)
        elif family.zeros and name.endswith(family.zeros):
            _check_zeros(name, read(name), architecture.family)
            left.discard(name)
    if family.output_bias in left and not bool(read(family.output_bias).any()):
        left.discard(family.output_bias)
    return _tables(family, left, read, untied=untied)


def _tables(
    family: Family, names: set[str], read: Callable[[str], Tensor], *, untied: bool
) -> dict[str, str]:
    """Give the token table its one name."""
    copies = [name for name in family.embeddings if name in names]
    if not copies:
        raise CorruptBaseError(f"the checkpoint lacks the tensor {family.embeddings[0]!r}")
    first, others = copies[0], {*copies[1:], family.output} & names
    table = read(first) if others - {first} else None
    for name in copies[1:]:
        if name != family.output and not _equal(table, read(name)):
            raise CorruptBaseError(
                f"{name!r} differs from {first!r}; the family has one token table for source and "
                "target, and a base with two is not served"
            )
    own = family.output in names and first != family.output
    if own and not untied:
        own = not _equal(table, read(family.output))
    found = {name: name for name in names - {*copies, family.output}}
    found[family.embeddings[0]] = first
    return found | ({family.output: family.output} if own else {})


def _equal(one: Tensor | None, other: Tensor) -> bool:
    if one is None or one.shape != other.shape:
        return False
    if one.data_ptr() == other.data_ptr() and one.stride() == other.stride():
        return one.dtype == other.dtype
    parts = (slice(at, at + _ROWS) for at in range(0, len(one), _ROWS))
    return all(torch.equal(one[part].float(), other[part].float()) for part in parts)


def _check_zeros(name: str, tensor: Tensor, family: str) -> None:
    if bool(tensor.any()):
        raise CorruptBaseError(
            f"{name!r} is not zero, and {family} has no such tensor; the checkpoint is of another "
            "family, or was changed"
        )


def _check_positions(name: str, stored: Tensor, architecture: Architecture) -> None:
    """Check stored sinusoids against computed ones, as far as both go."""
    rows = stored[architecture.position_offset :].float()
    computed = sinusoids(architecture)[: len(rows)]
    bound = _SINGLE if stored.dtype in (torch.float32, torch.float64) else _HALF
    wide = stored.dim() == 2 and stored.shape[1] == computed.shape[1]
    if not wide or not bool(((rows[: len(computed)] - computed).abs() <= bound).all()):
        raise CorruptBaseError(
            f"{name!r} holds positions other than the sinusoids that {architecture.family} "
            "computes; a base with learned positions under this name is not served"
        )
