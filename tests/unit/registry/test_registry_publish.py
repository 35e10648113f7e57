from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file

from hub.errors import IncompatibleAdapterError, InputError, RefError
from hub.manifest import AdapterManifest
from hub.registry import Registry, folder_digest
from hub.registry.testing import example_manifest

Write = Callable[..., Path]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def leftovers(registry: Registry) -> list[str]:
    return os.listdir(registry.root / "tmp")


def test_digest_is_the_sha256_of_names_and_sha256s(adapter: Write) -> None:
    folder = adapter()
    files = {path.name: sha256(path) for path in folder.iterdir()}
    spelled = "{" + ",".join(f'"{name}":"{files[name]}"' for name in sorted(files)) + "}"

    assert len(files) == 4
    assert folder_digest(folder) == "sha256:" + hashlib.sha256(spelled.encode()).hexdigest()


def test_published_version_says_what_it_is(registry: Registry, adapter: Write) -> None:
    folder = adapter(seed=3)
    version = registry.publish(folder, "en-ko.lora", aliases=["prod", "canary", "prod"])

    assert (version.name, version.version, version.ref) == ("en-ko.lora", 1, "en-ko.lora:1")
    assert version.digest == folder_digest(folder)
    assert version.manifest == example_manifest(seed=3)
    assert version.files == {path.name: sha256(path) for path in folder.iterdir()}
    assert version.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert version.aliases == ("canary", "latest", "prod")
    assert version.created_at.utcoffset() == timedelta(0)
    assert leftovers(registry) == []


def test_what_is_read_back_is_what_was_published(registry: Registry, adapter: Write) -> None:
    folder = adapter(seed=3)
    lent = registry.folder(registry.publish(folder, "a"))

    assert lent != folder
    assert sorted(os.listdir(lent)) == sorted(os.listdir(folder))
    for path in folder.iterdir():
        assert (lent / path.name).read_bytes() == path.read_bytes()
    weights = load_file(lent / "adapter_model.safetensors")
    assert numpy.array_equal(weights["layer.weight"], numpy.full((4, 4), 3, numpy.float32))


def test_versions_count_up_whatever_the_clock_says(registry: Registry, adapter: Write) -> None:
    published = [registry.publish(adapter(seed), "a") for seed in range(3)]

    assert published[0].created_at > published[2].created_at
    assert [version.version for version in published] == [1, 2, 3]
    assert len({version.digest for version in published}) == 3
    assert registry.resolve("a") == published[2]


def test_publishing_again_gives_the_version_there_is(registry: Registry, adapter: Write) -> None:
    first = registry.publish(adapter(1), "a")
    second = registry.publish(adapter(2), "a")
    again = registry.publish(adapter(1), "a", aliases=["prod"])

    assert first.digest != second.digest
    assert (again.version, again.digest) == (first.version, first.digest)
    assert again.aliases == ("prod",)
    assert registry.resolve("a").version == 2
    assert len(registry.versions("a")) == 2


def test_same_files_under_two_names_share_blobs(registry: Registry, adapter: Write) -> None:
    one, two = registry.publish(adapter(), "one"), registry.publish(adapter(), "two")

    assert one.digest == two.digest
    assert len(os.listdir(registry.root / "blobs")) == 4
    assert registry.folder(one) == registry.folder(two)


def test_card_may_be_missing(registry: Registry, adapter: Write) -> None:
    folder = adapter()
    with_card = folder_digest(folder)
    (folder / "README.md").unlink()
    version = registry.publish(folder, "a")

    assert set(version.files) == {"adapter_config.json", "adapter_model.safetensors", "hub.json"}
    assert version.digest != with_card
    assert set(os.listdir(registry.folder(version))) == set(version.files)


def test_manifest_given_is_written_where_the_folder_has_none(
    registry: Registry, adapter: Write
) -> None:
    folder = adapter(seed=5)
    whole = folder_digest(folder)
    (folder / "hub.json").unlink()
    version = registry.publish(folder, "a", example_manifest(seed=5))

    assert version.digest == whole
    assert not (folder / "hub.json").exists()
    text = (registry.folder(version) / "hub.json").read_text()
    assert AdapterManifest.from_json(text) == example_manifest(seed=5)


def test_manifest_given_must_be_the_folders(registry: Registry, adapter: Write) -> None:
    with pytest.raises(IncompatibleAdapterError, match="not the manifest that was given"):
        registry.publish(adapter(seed=5), "a", example_manifest(seed=6))
    assert registry.publish(adapter(seed=5), "a", example_manifest(seed=5)).version == 1


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def link(name: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return replace


def pipe(name: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return replace


def subfolder(name: str) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return replace


def cut(name: str, kept: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / name, kept)


def header(value: object, data: bytes = b"") -> Callable[[Path], None]:
    text = json.dumps(value).encode()
    return write("adapter_model.safetensors", len(text).to_bytes(8, "little") + text + data)


def tensor(begin: int, end: int, shape: list[int]) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}}


BAD_FOLDERS = {
    "no weights": (remove("adapter_model.safetensors"), "lacks adapter_model.safetensors"),
    "no config": (remove("adapter_config.json"), "lacks adapter_config.json"),
    "no manifest": (remove("hub.json"), "lacks hub.json"),
    "pickle": (write("adapter_model.bin", b"x"), "adapter_model.bin has no place"),
    "code": (write("modeling.py", b"x"), "modeling.py has no place"),
    "hidden": (write(".hub.json.swp", b"x"), "swp has no place"),
    "link": (link("adapter_model.safetensors"), "adapter_model.safetensors .*not followed"),
    "pipe": (pipe("README.md"), "README.md .not a regular file"),
    "folder": (subfolder("hub.json"), "hub.json .not a regular file"),
    "config not JSON": (write("adapter_config.json", b"{"), "adapter_config.json is malformed"),
    "config deep": (write("adapter_config.json", b"[" * 9999), "adapter_config.json is malformed"),
    "config not UTF-8": (write("adapter_config.json", b'"\xff"'), "adapter_config.json is"),
    "config a list": (write("adapter_config.json", b"[]"), "JSON object is wanted, not list"),
    "manifest torn": (cut("hub.json", 40), "hub.json is not a valid manifest"),
    "manifest open": (write("hub.json", b'{"x": 1}'), "hub.json is not a valid manifest"),
    "card too long": (write("README.md", b"x" * (2**20 + 1)), "1048577 bytes, the limit is"),
    "weights empty": (write("adapter_model.safetensors", b""), "safetensors is malformed"),
    "weights torn": (cut("adapter_model.safetensors", 100), "safetensors is malformed"),
    "weights of text": (write("adapter_model.safetensors", b"x" * 99), "safetensors is malformed"),
    "no tensor": (header({}), "holds no tensor"),
    "past the end": (header(tensor(0, 400, [10, 10]), b"\0" * 8), "safetensors is malformed"),
    "shape lies": (header(tensor(0, 8, [10, 10]), b"\0" * 8), "safetensors is malformed"),
    "bytes behind": (header(tensor(0, 8, [2]), b"\0" * 16), "safetensors is malformed"),
    "hole before": (header(tensor(8, 16, [2]), b"\0" * 16), "safetensors is malformed"),
    "size overflows": (header(tensor(0, 8, [2**63, 2**63]), b"\0" * 8), "malformed"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_bad_folder_is_refused_and_leaves_nothing(
    registry: Registry, adapter: Write, case: str
) -> None:
    spoil, message = BAD_FOLDERS[case]
    spoil(folder := adapter())

    with pytest.raises(IncompatibleAdapterError, match=message) as caught:
        registry.publish(folder, "a")
    assert "nothing published" in str(caught.value)
    assert caught.value.field
    assert registry.names() == []
    assert leftovers(registry) == os.listdir(registry.root / "blobs") == []


@pytest.mark.parametrize("place", ["missing", "file", "\0"])
def test_source_must_be_a_readable_folder(registry: Registry, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot read an adapter folder"):
        registry.publish(tmp_path / place, "a")


@pytest.mark.parametrize(
    "name",
    ["", "../a", "a/b", "/etc", "A", ".a", "a b", "a\0", "a@b", "a:1", "x" * 101, "é", "a\n"],
)
def test_names_that_could_become_paths_are_refused(
    registry: Registry, adapter: Write, name: str
) -> None:
    with pytest.raises(RefError):
        registry.publish(adapter(), name)
    with pytest.raises(RefError):
        registry.publish(adapter(), "a", aliases=[name])
    assert registry.names() == []


def test_latest_cannot_be_asked_for(registry: Registry, adapter: Write) -> None:
    with pytest.raises(RefError, match="always means the newest"):
        registry.publish(adapter(), "a", aliases=["latest"])


def test_source_that_changes_while_it_is_read_cannot_split_digest_and_bytes(
    registry: Registry, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is judged, hashed and stored; the source is never opened twice."""
    folder = adapter()
    opened: list[str] = []
    real = os.open

    def spy(path: object, *arguments: object, **options: object) -> int:
        if str(path).startswith(f"{folder}/"):
            opened.append(Path(str(path)).name)
        return real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", spy)
    registry.publish(folder, "a")
    assert sorted(opened) == sorted(os.listdir(folder))
