"""No byte may change unnoticed, and no malformed weights may come in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import load

from hub.errors import CorruptBlobError, IncompatibleAdapterError
from hub.registry import AdapterVersion, Registry
from hub.registry.testing import write_adapter_folder


@dataclass(frozen=True)
class Held:
    registry: Registry
    version: AdapterVersion
    source: Path


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        source = write_adapter_folder(Path(folder) / "adapter")
        with Registry.open(Path(folder) / "registry") as registry:
            yield Held(registry, registry.publish(source, "a"), source)


def damaged(content: bytes, kind: str, where: float, bit: int) -> bytes:
    i = min(int(where * len(content)), len(content) - 1)
    if kind == "flip":
        return content[:i] + bytes([content[i] ^ 1 << bit]) + content[i + 1 :]
    return content[:i] if kind == "cut" else content[:i] + b"\0" + content[i:]


KINDS = st.sampled_from(["flip", "cut", "insert"])
WHERE = st.floats(0, 1)
BITS = st.integers(0, 7)


@given(name=st.integers(0, 3), kind=KINDS, where=WHERE, bit=BITS)
def test_changed_blob_is_never_lent(
    held: Held, name: int, kind: str, where: float, bit: int
) -> None:
    file = sorted(held.version.files)[name]
    blob = held.registry.root / "blobs" / held.version.files[file]
    sound = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(damaged(sound, kind, where, bit))
    try:
        with pytest.raises(CorruptBlobError, match=file):
            held.registry.folder(held.version)
    finally:
        blob.write_bytes(sound)
    lent = held.registry.folder(held.version)
    assert (lent / file).read_bytes() == (held.source / file).read_bytes()


@given(kind=KINDS, where=WHERE, bit=BITS)
@example(kind="flip", where=0.0, bit=0)
@example(kind="cut", where=0.0, bit=0)
def test_weights_that_are_taken_in_can_be_loaded(
    held: Held, kind: str, where: float, bit: int
) -> None:
    """What the gate lets through, the safetensors library reads whole."""
    weights = held.source / "adapter_model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(changed := damaged(sound, kind, where, bit))
    try:
        version = held.registry.publish(held.source, "fuzzed")
    except IncompatibleAdapterError:
        return
    finally:
        weights.write_bytes(sound)
    assert load(changed)
    path = held.registry.folder(version) / "adapter_model.safetensors"
    assert path.read_bytes() == changed
