"""Whatever disk and database do wrong is told in words, with a status."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hub.errors import (
    CorruptError,
    HubError,
    RegistryAccessError,
    RegistryBusyError,
    SettingsError,
    StorageFullError,
)
from hub.registry import CatalogSchemaError, Registry
from hub.registry.faults import storage_faults

Write = Callable[..., Path]


@contextmanager
def powerless() -> Iterator[None]:
    """Give up root's right to write anywhere, where the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """Lend a folder outside of pytest's own, which nobody else may look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_folder_that_cannot_be_made(shared: Path) -> None:
    shared.chmod(0o555)
    with powerless(), pytest.raises(RegistryAccessError, match="Permission denied") as caught:
        Registry.open(shared / "registry")
    assert str(shared / "registry") in str(caught.value)
    assert "HUB_REGISTRY" in str(caught.value)
    assert not (shared / "registry").exists()


def test_registry_that_became_read_only(shared: Path, adapter: Write) -> None:
    root, folder = shared / "registry", adapter(2)
    with Registry.open(root) as registry:
        registry.publish(adapter(1), "a")
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]
    for path in (*folders, root / "catalog.sqlite3", root / "lock"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with (
        powerless(),
        pytest.raises(RegistryAccessError, match="cannot use the"),
        Registry.open(root) as registry,
    ):
        registry.publish(folder, "a")
    for path in folders:
        path.chmod(0o755)
    with Registry.open(root) as registry:
        assert registry.resolve("a").version == 1


def test_location_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for location in (tmp_path / "file", tmp_path / "file" / "registry"):
        with pytest.raises(RegistryAccessError):
            Registry.open(location)


@pytest.mark.parametrize("location", ["", "s3://bucket/registry", "a\0b"])
def test_location_must_be_a_local_folder(location: str) -> None:
    with pytest.raises(SettingsError, match="give the path of a local folder"):
        Registry.open(location)


def test_location_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    uris = (f"file://{tmp_path}/r", f"file:{tmp_path}/r", f"file://localhost{tmp_path}/%72")
    for location in ("~/r", *uris, "r", tmp_path / "r"):
        with Registry.open(location) as registry:
            assert registry.root == tmp_path / "r"


@pytest.mark.parametrize(
    "name", ["per%20cent", "q?mark", "ha#sh", "a b", "user:pw@host", "한국", "[x]", "%41", "a&b=c"]
)
def test_any_character_may_be_in_the_folders_name(
    tmp_path: Path, name: str, adapter: Write
) -> None:
    with Registry.open(tmp_path / name) as registry:
        published = registry.publish(adapter(), "a")
    assert [path.name for path in tmp_path.glob("*/catalog.sqlite3")] == ["catalog.sqlite3"]
    assert (tmp_path / name / "catalog.sqlite3").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {name, "en-ko.lora.0"}
    with Registry.open((tmp_path / name).as_uri()) as registry:
        assert registry.root == tmp_path / name
        assert registry.resolve("a") == published
        assert registry.fsck().findings == ()


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://x", "postgresql+nosuch://h/d"])
def test_catalog_url_that_cannot_be_used(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="catalog URL cannot be used"):
        Registry.open(tmp_path, catalog_url=url)


def test_catalog_elsewhere_by_url(tmp_path: Path, adapter: Write) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    with Registry.open(tmp_path / "r", catalog_url=url) as registry:
        registry.publish(adapter(), "a")
    assert not (tmp_path / "r" / "catalog.sqlite3").exists()
    with Registry.open(tmp_path / "r", catalog_url=url) as registry:
        assert registry.names() == ["a"]


def test_catalog_that_is_no_database(root: Path) -> None:
    root.mkdir()
    (root / "catalog.sqlite3").write_bytes(b"certainly not a database" * 999)
    with pytest.raises(CorruptError, match=r"is damaged .file is not a database.; restore it"):
        Registry.open(root)


def test_catalog_damaged_inside(root: Path, adapter: Write) -> None:
    with Registry.open(root) as registry:
        for seed in range(20):
            registry.publish(adapter(seed), "a")
    path = root / "catalog.sqlite3"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="is damaged"):
        Registry.open(root).versions()


def test_catalog_of_a_newer_release_is_refused_untouched(root: Path, adapter: Write) -> None:
    with Registry.open(root) as registry:
        registry.publish(adapter(), "a")
    change_schema(root, "7")
    with pytest.raises(CatalogSchemaError, match="has schema 7, this release knows 1") as caught:
        Registry.open(root)
    assert caught.value.exit_code == 78
    change_schema(root, "1")
    with Registry.open(root) as registry:
        assert registry.names() == ["a"]


def change_schema(root: Path, version: str) -> None:
    connection = sqlite3.connect(root / "catalog.sqlite3")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (version,))
    connection.commit()
    connection.close()


def test_catalog_is_durable_by_its_settings(registry: Registry) -> None:
    with registry._database.reading() as connection:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value


def test_holder_of_the_catalog_is_waited_for_a_bounded_time(root: Path, adapter: Write) -> None:
    with Registry.open(root, busy_seconds=0.1) as registry:
        registry.publish(adapter(1), "a")
        holder = sqlite3.connect(root / "catalog.sqlite3", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryBusyError, match="another process holds the catalog"):
            registry.publish(adapter(2), "a")
        assert registry.resolve("a").version == 1
        holder.execute("ROLLBACK")
        holder.close()
        assert registry.publish(adapter(2), "a").version == 2


def test_collector_and_writers_wait_for_each_other(root: Path, adapter: Write) -> None:
    with Registry.open(root, busy_seconds=0.05) as registry:
        with (
            registry._lock.exclusive(),
            pytest.raises(RegistryBusyError, match="is being cleaned"),
        ):
            registry.publish(adapter(), "a")
        with registry._lock.shared():
            registry.publish(adapter(), "a")
            with pytest.raises(RegistryBusyError, match="is being written to"):
                registry.fsck(repair=True)
        assert registry.fsck(repair=True).exit_code == 0


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, RegistryAccessError),
        (errno.EROFS, RegistryAccessError),
        (errno.EIO, RegistryAccessError),
    ],
)
def test_operating_system_errors(number: int, kind: type[HubError]) -> None:
    with pytest.raises(kind, match="/somewhere"), storage_faults("/somewhere"):
        raise OSError(number, os.strerror(number))


def test_full_disk_while_staging_leaves_nothing(
    registry: Registry, adapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _chunk: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    version = registry.publish(adapter(1), "a")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFullError, match="disk full, nothing published") as caught:
            registry.publish(adapter(2), "a")
    assert caught.value.exit_code == 74
    assert os.listdir(registry.root / "tmp") == []
    assert registry.versions() == [version]
    assert registry.folder(version).is_dir()
    assert registry.publish(adapter(2), "a").version == 2


def test_importing_the_registry_does_not_import_torch() -> None:
    code = "import sys, hub.registry; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
