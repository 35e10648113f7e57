"""An adapter in the form that is served, as bytes and back.

Reading an adapter folder hashes it, checks every number and quantizes. What comes of that is a
fourth of the size and needs none of it again: `flatten` takes it apart into its shape, which stays
with the process that made it, and its bytes, which may be put away; `restore` puts them together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.adapters import HostAdapter
from hub.engine.devices import mapped

_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies among the bytes."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ServingForm:
    """An adapter without its numbers.

    Attributes:
        skeleton: The adapter, with places instead of tensors.
        nbytes: How many bytes the numbers take.
    """

    skeleton: HostAdapter
    nbytes: int


def flatten(adapter: HostAdapter) -> tuple[ServingForm, Tensor]:
    """Take an adapter in host memory apart into its form and its bytes `(nbytes,)`, uint8."""
    tensors: list[tuple[_Place, Tensor]] = []
    end = 0

    def put(tensor: Tensor) -> _Place:
        nonlocal end
        place = _Place(end, tuple(tensor.shape), tensor.dtype)
        tensors.append((place, tensor))
        end += -(-place.nbytes // _ALIGNMENT) * _ALIGNMENT
        return place

    skeleton = mapped(adapter, Tensor, put)
    data = torch.zeros(end, dtype=torch.uint8)
    for place, tensor in tensors:
        _view(data, place).copy_(tensor)
    return ServingForm(skeleton, end), data


def restore(form: ServingForm, data: Tensor) -> HostAdapter:
    """Return the adapter, whose tensors are views of `data (nbytes,)`, uint8."""
    assert data.dtype == torch.uint8
    assert data.numel() == form.nbytes
    return mapped(form.skeleton, _Place, lambda place: _view(data, place))


def _view(data: Tensor, place: _Place) -> Tensor:
    own = data[place.offset : place.offset + place.nbytes]
    return own.view(place.dtype).view(place.shape)
