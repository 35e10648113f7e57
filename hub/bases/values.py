"""Reading the values of stored tensors, without mapping their files into memory.

A mapped file's pages count as the process's own for as long as the file stays mapped; a base of
2.5 GB would take that much more while it is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hub.bases.headers import WIDTHS, TensorPlace
from hub.errors import CorruptBaseError

if TYPE_CHECKING:
    import torch


def read_values(place: TensorPlace) -> torch.Tensor:
    """Return a tensor of its own memory, in its stored dtype.

    Raises:
        CorruptBaseError: The dtype is none that weights have, or the file became shorter.
    """
    import torch

    dtypes = {
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "F32": torch.float32,
        "F64": torch.float64,
    }
    if place.dtype not in dtypes:
        raise CorruptBaseError(
            f"{place.file}: tensor {place.name!r} is {place.dtype}; a base's weights are one of "
            f"{', '.join(WIDTHS)}",
            field="base",
        )
    tensor = torch.empty(place.shape, dtype=dtypes[place.dtype])
    target = tensor.reshape(-1).view(torch.uint8).numpy().data
    try:
        _fill(place, target)
    except OSError as error:
        raise CorruptBaseError(
            f"{place.file} cannot be read: {error.strerror or error}; fetch the file again",
            field="base",
        ) from error
    return tensor


def _fill(place: TensorPlace, target: memoryview) -> None:
    with place.file.open("rb", buffering=0) as stream:
        stream.seek(place.begin)
        while target:
            count = stream.readinto(target)
            if not count:
                raise OSError("it became shorter while it was read")
            target = target[count:]
