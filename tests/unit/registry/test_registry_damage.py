"""Damaged files are detected, named, never served, and mended by publishing again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import CorruptBlobError, CorruptError
from hub.golden import GOLDEN_FILE, GoldenLine, GoldenLines, GoldenSearch
from hub.registry import AdapterVersion, Registry
from hub.registry.blobs import ALLOWED_FILES, LocalBlobStore
from hub.vocabulary import VOCABULARY_FILE, vocabulary_json

Write = Callable[..., Path]

GOLDEN = GoldenLines(
    pair="en-ko",
    score=100.0,
    signature="made by hand",
    numbers="int8",
    search=GoldenSearch(beam_size=1, max_new_tokens=8, length_penalty=1.0, early_stopping=False),
    lines=(GoldenLine(source="a", reference="b", translation="b"),),
)


def rewrite(path: Path, content: bytes) -> None:
    """Change a read-only file in place: every hard link to it changes too."""
    path.chmod(0o644)
    path.write_bytes(content)


def flip(path: Path) -> None:
    content = path.read_bytes()
    rewrite(path, content[:-1] + bytes([content[-1] ^ 1]))


def blob(registry: Registry, version: AdapterVersion, name: str) -> Path:
    return registry.root / "blobs" / version.files[name]


@pytest.mark.parametrize("lent_before", [True, False])
@pytest.mark.parametrize("name", sorted(ALLOWED_FILES))
def test_flipped_bit_in_any_blob_is_detected_and_named(
    registry: Registry, adapter: Write, name: str, lent_before: bool
) -> None:
    folder = adapter()
    (folder / GOLDEN_FILE).write_text(GOLDEN.to_json())
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", [1, 2, 3]))
    version = registry.publish(folder, "a")
    if lent_before:
        registry.folder(version)
    flip(blob(registry, version, name))

    for _ in range(2):
        with pytest.raises(
            CorruptBlobError, match=f"{name} is damaged: blob {version.files[name]}"
        ):
            registry.folder(version)


def test_one_damaged_adapter_does_not_stop_another(registry: Registry, adapter: Write) -> None:
    bad, good = registry.publish(adapter(1), "bad"), registry.publish(adapter(2), "good")
    flip(blob(registry, bad, "adapter_model.safetensors"))

    assert sorted(os.listdir(registry.folder(good))) == sorted(good.files)
    with pytest.raises(CorruptBlobError):
        registry.folder(bad)


@pytest.mark.parametrize("spoil", [Path.unlink, flip, lambda path: rewrite(path, b"")])
def test_publishing_again_restores_a_blob(
    registry: Registry, adapter: Write, spoil: Callable[[Path], None]
) -> None:
    version = registry.publish(adapter(), "a")
    registry.folder(version)
    spoil(blob(registry, version, "adapter_model.safetensors"))
    assert registry.fsck().exit_code == 4

    assert registry.publish(adapter(), "a") == version
    content = (registry.folder(version) / "adapter_model.safetensors").read_bytes()
    assert content == (adapter() / "adapter_model.safetensors").read_bytes()
    assert registry.fsck().exit_code == 0


def test_missing_blob_is_named(registry: Registry, adapter: Write) -> None:
    version = registry.publish(adapter(), "a")
    path = blob(registry, version, "hub.json")
    path.unlink()
    with pytest.raises(CorruptBlobError, match=f"{path} is missing"):
        registry.folder(version)


def test_blob_that_became_a_link_is_not_followed(
    registry: Registry, adapter: Write, tmp_path: Path
) -> None:
    version = registry.publish(adapter(), "a")
    path = blob(registry, version, "README.md")
    shutil.move(path, tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptBlobError):
        registry.folder(version)
    assert registry.fsck().exit_code == 4


def spoil_replace(folder: Path) -> None:
    (folder / "hub.json").unlink()
    (folder / "hub.json").write_text("{}")


def spoil_link(folder: Path) -> None:
    (folder / "README.md").rename(folder.parent.parent / "README.md")
    (folder / "README.md").symlink_to(folder.parent.parent / "README.md")


def spoil_whole(folder: Path) -> None:
    folder.rename(folder.parent.parent / "moved")
    folder.symlink_to(folder.parent.parent / "moved")


def spoil_file(folder: Path) -> None:
    folder.rename(folder.parent.parent / "moved")
    folder.write_text("not a folder")


SPOILERS: dict[str, Callable[[Path], object]] = {
    "file missing": lambda folder: (folder / "README.md").unlink(),
    "file added": lambda folder: (folder / "pytorch_model.bin").write_bytes(b"x"),
    "file replaced": spoil_replace,
    "file a link": spoil_link,
    "folder a link": spoil_whole,
    "folder a file": spoil_file,
}


@pytest.mark.parametrize("case", SPOILERS)
def test_unsound_folder_is_rebuilt_before_it_is_lent(
    registry: Registry, adapter: Write, case: str
) -> None:
    version = registry.publish(adapter(), "a")
    SPOILERS[case](registry.folder(version))
    assert registry.fsck().exit_code == 4

    folder = registry.folder(version.digest)
    assert not folder.is_symlink()
    for path in adapter().iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert sorted(os.listdir(folder)) == sorted(version.files)
    assert registry.fsck().exit_code == 0
    assert os.listdir(registry.root / "tmp") == []


def test_version_with_another_list_of_files_is_not_served(
    registry: Registry, adapter: Write
) -> None:
    """Somebody who can write the catalog still cannot make a digest mean other bytes."""
    one, two = registry.publish(adapter(1), "a"), registry.publish(adapter(2), "a")
    with registry._database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE files SET sha256 = ? WHERE version_id = 1 AND name = 'hub.json'",
            (two.files["hub.json"],),
        )
    with pytest.raises(CorruptError, match="does not have the digest"):
        registry.folder(one.digest)
    assert registry.folder(two).is_dir()
    assert registry.fsck().exit_code == 4


def test_blobs_are_copied_where_links_are_not_to_be_had(
    registry: Registry, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    version = registry.publish(adapter(), "a")
    monkeypatch.setattr(os, "link", refuse)
    folder = registry.folder(version)
    assert (folder / "hub.json").stat().st_nlink == 1
    assert (folder / "hub.json").read_bytes() == (adapter() / "hub.json").read_bytes()


@pytest.mark.parametrize("name", ["../catalog.sqlite3", "A" * 64, "a" * 63, "", "a" * 64 + "\n"])
def test_a_blobs_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptBlobError, match="is not a sha256"):
        LocalBlobStore(tmp_path).path(name)


def test_fsck_of_a_sound_registry(registry: Registry, adapter: Write) -> None:
    registry.folder(registry.publish(adapter(1), "a"))
    registry.publish(adapter(2), "a")
    report = registry.fsck()
    assert (report.exit_code, report.findings) == (0, ())
    assert (report.versions, report.blobs) == (2, 6)  # config and card are the same


def test_fsck_removes_leftovers_only_when_asked(registry: Registry, adapter: Write) -> None:
    version = registry.publish(adapter(), "a")
    orphan = registry.root / "blobs" / ("e" * 64)
    stray = registry.root / "blobs" / "notes.txt"
    scratch = registry.root / "tmp" / "stage-x"
    orphan.write_bytes(b"never referred to")
    stray.write_text("mine")
    scratch.mkdir()
    (scratch / "README.md").write_text("half")

    seen = registry.fsck()
    assert seen.exit_code == 0
    assert [f.severity for f in seen.findings] == ["leftover"] * 4  # the orphan is damaged too
    assert orphan.exists()
    assert scratch.exists()

    assert registry.fsck(repair=True).exit_code == 1
    assert not orphan.exists()
    assert not scratch.exists()
    assert stray.read_text() == "mine"
    assert registry.folder(version).is_dir()
    assert registry.fsck().exit_code == 0


def test_fsck_puts_damage_in_quarantine(registry: Registry, adapter: Write) -> None:
    version = registry.publish(adapter(), "a")
    path = blob(registry, version, "adapter_model.safetensors")
    flip(path)
    damaged = path.read_bytes()

    report = registry.fsck(repair=True)
    assert report.exit_code == 4
    assert "a:1" in " ".join(finding.detail for finding in report.findings)
    assert not path.exists()
    assert (registry.root / "quarantine" / path.name).read_bytes() == damaged
    assert registry.publish(adapter(), "a") == version
    assert registry.fsck().exit_code == 0


def test_fsck_rebuilds_folders(registry: Registry, adapter: Write) -> None:
    folder = registry.folder(registry.publish(adapter(), "a"))
    (folder / "extra").write_text("x")
    assert registry.fsck().exit_code == 4
    assert registry.fsck(repair=True).exit_code == 1
    assert registry.fsck().exit_code == 0
    assert not (folder / "extra").exists()


def test_fsck_sees_a_manifest_that_is_not_the_blobs(registry: Registry, adapter: Write) -> None:
    registry.publish(adapter(1), "a")
    registry.publish(adapter(2), "a")
    with registry._database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE versions SET manifest = (SELECT manifest FROM versions WHERE version = 2)"
        )
    report = registry.fsck(repair=True)
    assert report.exit_code == 4
    assert [(f.subject, f.detail) for f in report.findings] == [
        ("a:1", "the catalog's manifest is not the blob's")
    ]


def test_next_publish_clears_what_a_killed_writer_left(registry: Registry, adapter: Write) -> None:
    scratch = registry.root / "tmp" / "stage-x"
    scratch.mkdir()
    registry.publish(adapter(), "a")
    assert not scratch.exists()


def test_next_publish_leaves_a_living_writer_alone(registry: Registry, adapter: Write) -> None:
    scratch = registry.root / "tmp" / "stage-x"
    with Registry.open(registry.root) as other, other._writing():
        scratch.mkdir()
        registry.publish(adapter(), "a")
        assert scratch.exists()
