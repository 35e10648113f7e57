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
from server.residency.spill import Spill
from server.residency.spill_blocks import BLOCK

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


def large(blocks: int, fill: int) -> HostAdapter:
    part = BankPart(
        BankKey("decoder", "fc1"),
        down=torch.full((1, 8, blocks * BLOCK // 16), fill, dtype=torch.int8),
        up=torch.full((1, 8, blocks * BLOCK // 16), -fill, dtype=torch.int8),
    )
    return HostAdapter("mixed", "sha256:base", 99, (part,))


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
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Opens spills, however full this machine's disk is, and closes them in the end."""
    monkeypatch.setattr("server.residency.spill.RESERVE", 0.0)
    spills: list[Spill] = []

    def open_spill(*arguments: Any) -> Spill:
        spills.append(Spill(*arguments))
        return spills[-1]

    yield open_spill
    for spill in spills:
        spill.close()


SIZE = BLOCK


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


def test_a_large_adapter_takes_the_place_of_no_more_than_its_size(opened: Opened) -> None:
    def read(one: Any) -> HostAdapter:
        return large(8, 7) if one.digest == "100" else adapter(int(one.digest))

    spill = opened(read, 32 * SIZE)
    for number in range(32):
        spill(version(number))
    for number in range(1, 32, 2):  # what goes first lies between what stays
        spill(version(number))
    spill(version(100))
    assert len(spill) == 25
    assert_same(spill(version(100)), large(8, 7))
    assert len(spill) == 25, "it was recalled"
    for number in range(1, 32, 2):
        assert_same(spill(version(number)), adapter(number))


def test_a_tenth_of_the_disk_stays_free(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nbytes = adapter(1).nbytes
    free = [11 * nbytes - 1, 11 * nbytes]

    def disk(file: int) -> Any:
        return SimpleNamespace(f_bavail=free.pop(0), f_frsize=1, f_blocks=100 * nbytes)

    monkeypatch.setattr("server.residency.spill.RESERVE", 0.1)
    monkeypatch.setattr("server.residency.spill.os.fstatvfs", disk)
    reader = Reader()
    spill = opened(reader, 10 * SIZE, tmp_path)
    for _ in range(3):
        assert_same(spill(version(1)), adapter(1))
    assert reader.read == ["1", "1"], "the first was not put away, the second was"


def test_a_disk_that_is_full_is_given_back(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reader, write = Reader(), os.pwrite
    room = 300

    def short(file: int, data: Any, offset: int) -> int:
        if offset >= SIZE + room:
            raise OSError(28, "No space left on device")
        return write(file, data[: max(1, min(len(data), SIZE + room - offset))], offset)

    monkeypatch.setattr("server.residency.spill.os.pwrite", short)
    spill = opened(reader, 10 * SIZE)
    spill(version(1))
    assert_same(spill(version(1)), adapter(1))
    assert reader.read == ["1"]
    for number in (2, 3, 1):
        assert_same(spill(version(number)), adapter(number))
    assert reader.read == ["1", "2", "3", "1"]
    assert caplog.text.count("No space left") == 1, "it does not try again"
    assert spill._file is not None
    assert os.fstat(spill._file.fileno()).st_size == 0


def test_closing_waits_for_nobody_and_takes_no_file_away(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, other = os.pwrite, tmp_path / "other"
    spill = opened(Reader(), 2 * SIZE, tmp_path)

    def closed_meanwhile(file: int, data: Any, offset: int) -> int:
        spill.close()
        with other.open("wb"):  # would get the number of the file that was closed
            return write(file, data, offset)

    monkeypatch.setattr("server.residency.spill.os.pwrite", closed_meanwhile)
    assert_same(spill(version(1)), adapter(1))
    assert other.stat().st_size == 0


def test_adapters_of_one_shape_share_their_form(opened: Opened) -> None:
    spill = opened(Reader(), 2 * SIZE)
    for number in (1, 2, 3):
        spill(version(number))
    first, second = spill._kept.values()
    assert first.form is second.form
    del first, second
    spill._read = lambda _: large(2, 1)
    spill(version(4))
    assert len(spill._forms) == 1, "a form goes with its last adapter"
