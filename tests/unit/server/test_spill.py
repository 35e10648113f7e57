"""Adapters put away in the form that is served: the same again, or read anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from hub.engine.adapters import HostAdapter
from hub.engine.architecture import Site
from hub.engine.banks import BankKey, BankPart
from hub.engine.forms import flatten, restore
from hub.engine.prefixes import Prefix
from hub.engine.vectors import VectorKey, VectorPart
from server.spill import Spill

Opened = Callable[..., Spill]


def adapter(seed: int) -> HostAdapter:
    draw = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw)

    part = BankPart(
        BankKey("decoder", "fc1"),
        down=(numbers(2, 8, 5) * 40).to(torch.int8),
        up=(numbers(2, 8, 3) * 40).to(torch.int8),
        rank_scale=numbers(2, 8),
        down_sum=torch.arange(16, dtype=torch.int32).view(2, 8),
    )
    vector = VectorPart(VectorKey(Site("encoder", 1, "fc2"), "shift"), numbers(7))
    prefix = Prefix("decoder", "self_attn", numbers(2, 3, 8).bfloat16())
    return HostAdapter("mixed", "sha256:base", 99, (part,), (vector,), (prefix,))


def tensors(one: HostAdapter) -> list[Tensor]:
    parts = [tensor for part in one.parts for tensor in part.tensors.values()]
    return [*parts, *(v.values for v in one.vectors), *(p.rows for p in one.prefixes)]


def assert_same(found: HostAdapter, expected: HostAdapter) -> None:
    for own, other in zip(tensors(found), tensors(expected), strict=True):
        assert own.dtype == other.dtype
        assert torch.equal(own, other)
    assert [part.key for part in found.parts] == [part.key for part in expected.parts]
    assert (found.kind, found.digest, found.parameters) == ("mixed", "sha256:base", 99)
    assert found.nbytes == expected.nbytes


def test_an_adapter_comes_back_from_its_bytes() -> None:
    first, second = adapter(1), adapter(2)
    assert not torch.equal(first.parts[0].down, second.parts[0].down)
    form, data = flatten(first)
    assert_same(restore(form, data), first)
    assert flatten(second)[0] == form, "the form holds no numbers"
    assert_same(restore(form, flatten(second)[1]), second)


class Reader:
    """The registry, with a count."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, version: Any) -> HostAdapter:
        self.read.append(version.digest)
        return adapter(int(version.digest))


def version(number: int) -> Any:
    return SimpleNamespace(digest=str(number))


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens spills and closes them in the end."""
    spills: list[Spill] = []

    def open_spill(*arguments: Any) -> Spill:
        spills.append(Spill(*arguments))
        return spills[-1]

    yield open_spill
    for spill in spills:
        spill.close()


SIZE = flatten(adapter(1))[0].nbytes


def test_it_is_read_from_the_registry_once(opened: Opened, tmp_path: Path) -> None:
    reader = Reader()
    spill = opened(reader, 10 * SIZE, tmp_path)
    for number in (1, 2, 1, 2):
        assert_same(spill(version(number)), adapter(number))
    assert reader.read == ["1", "2"]
    assert list(tmp_path.iterdir()) == [], "the file has no name"
    spill.close()
    assert_same(spill(version(1)), adapter(1))
    assert reader.read == ["1", "2", "1"], "closed, it still reads"


def test_the_least_recently_used_makes_room(opened: Opened) -> None:
    reader = Reader()
    spill = opened(reader, 2 * SIZE)
    for number in (1, 2, 1, 3, 1, 3, 2):
        assert_same(spill(version(number)), adapter(number))
    assert reader.read == ["1", "2", "3", "2"]
    assert len(spill) == 2


def test_bytes_that_changed_on_disk_are_not_served(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    reader = Reader()
    spill = opened(reader, 2 * SIZE)
    spill(version(1))
    assert spill._file is not None
    byte = os.pread(spill._file.fileno(), 1, 5)
    os.pwrite(spill._file.fileno(), bytes([byte[0] ^ 1]), 5)
    assert_same(spill(version(1)), adapter(1))
    assert reader.read == ["1", "1"]
    assert "is not what was written" in caplog.text
    os.truncate(spill._file.fileno(), 3)
    assert_same(spill(version(1)), adapter(1))
    assert reader.read == ["1", "1", "1"]


def test_without_disk_everything_is_read(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    nothing = Reader()
    spill = opened(nothing, 0)
    for _ in range(2):
        spill(version(1))
    assert nothing.read == ["1", "1"]
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    reader = Reader()
    full = opened(reader, SIZE)
    for _ in range(2):
        full(version(1))
    assert reader.read == ["1", "1"]


def test_an_error_of_the_registry_passes_through(opened: Opened) -> None:
    def fail(_: Any) -> HostAdapter:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        opened(fail, SIZE)(version(1))
