"""The headers of safetensors files: names, dtypes, shapes and places of tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

from hub.bases.weights import WeightFiles
from hub.errors import CorruptBaseError

WIDTHS: Final[Mapping[str, int]] = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
"""Bytes of one number, by the dtypes that weights may have."""
_LONGEST_HEADER: Final = 100_000_000  # the format's own limit
_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies.

    Attributes:
        name: In the file.
        dtype: As the format spells it: "F32".
        begin: First byte in the file.
        end: The byte after its last.
    """

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def bytes(self) -> int:
        """Return the size of the values."""
        return self.end - self.begin


def read_headers(weights: WeightFiles) -> Mapping[str, TensorPlace]:
    """Return every tensor of a model's safetensors files by name; no values are read.

    Raises:
        CorruptBaseError: A header is damaged, a tensor is in two files, or not where the index
            says.
    """
    found: dict[str, TensorPlace] = {}
    for path in weights.files:
        for name, place in read_header(path).items():
            if name in found:
                raise CorruptBaseError(
                    f"tensor {name!r} is in {found[name].file.name} and in {path}; one of the "
                    "shards is of another model",
                    field="base",
                )
            found[name] = place
    for name, path in weights.placed.items():
        if name not in found or found[name].file != path:
            raise CorruptBaseError(
                f"the index places tensor {name!r} in {path}, which does not hold it; fetch the "
                "shards and their index again",
                field="base",
            )
    return found


def read_header(path: Path) -> Mapping[str, TensorPlace]:
    """Return the tensors of one safetensors file by name.

    Raises:
        CorruptBaseError: The header is not one, or does not describe this file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            header, start = _read_header(stream, size)
        places = {
            name: _place(path, name, entry, start)
            for name, entry in header.items()
            if name != "__metadata__"
        }
        _check_layout(places, start, size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBaseError(
            f"{path} cannot be read as safetensors: {error}; fetch the file again", field="base"
        ) from error
    return places


def _read_header(stream: BinaryIO, size: int) -> tuple[Mapping[str, Any], int]:
    length = int.from_bytes(stream.read(_LENGTH), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes, at most {_LONGEST_HEADER} are read")
    if length + _LENGTH > size:
        raise ValueError(f"a header of {length} bytes in a file of {size}")
    header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header, length + _LENGTH


def _place(path: Path, name: str, entry: Mapping[str, Any], start: int) -> TensorPlace:
    begin, end = (_whole(offset) for offset in entry["data_offsets"])
    shape = tuple(_whole(length) for length in entry["shape"])
    dtype = str(entry["dtype"])
    width = WIDTHS.get(dtype)
    if end < begin or (width is not None and end - begin != width * prod(shape)):
        raise ValueError(f"tensor {name!r} has {end - begin} bytes for shape {shape} of {dtype}")
    return TensorPlace(path, name, dtype, shape, start + begin, start + end)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} in the header, expected a whole number")
    return value


def _check_layout(places: Mapping[str, TensorPlace], start: int, size: int) -> None:
    """Check that the tensors fill the file without gaps or overlaps, as the format demands."""
    at = start
    for place in sorted(places.values(), key=lambda place: (place.begin, place.end)):
        if place.begin != at:
            raise ValueError(f"tensor {place.name!r} begins at byte {place.begin}, expected {at}")
        at = place.end
    if at != size:
        raise ValueError(f"the file has {size} bytes, its header describes {at}")
