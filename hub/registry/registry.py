"""The registry: publish, resolve, alias and lend adapters.

A publisher makes the blobs durable first, then commits one transaction, then
returns. Killed anywhere, it leaves either a whole version or nothing but files
that no version refers to.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote_to_bytes

from sqlalchemy import URL, make_url

from hub.errors import CorruptBlobError, CorruptError, RefError, SettingsError
from hub.golden import GOLDEN_FILE, GoldenLines
from hub.manifest import AdapterManifest
from hub.refs import LATEST, MAX_VERSION, AdapterRef, check_alias, check_name
from hub.registry.blobs import LocalBlobStore, digest_of_files
from hub.registry.canaries import Canaries
from hub.registry.catalog import Catalog, NewVersion
from hub.registry.database import CatalogChanges, Database, sqlite_url
from hub.registry.disk import FolderLock, clear_folder, make_folder, staging_folder, sync_folder
from hub.registry.evidence import EVIDENCE_FILE, CanaryEvidence
from hub.registry.faults import storage_faults
from hub.registry.folders import AdapterFolders
from hub.registry.fsck import Checker, FsckReport
from hub.registry.intake import take_in
from hub.registry.queries import points_here
from hub.registry.records import AdapterVersion, AliasState, Note
from hub.registry.schema import adapters, versions

CATALOG_FILE: Final = "catalog.sqlite3"
BUSY_SECONDS: Final = 30.0
_FILE_URI: Final = re.compile(r"file:(?://(?:localhost(?=/))?|(?=/))", re.IGNORECASE)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Registry:
    """Adapters under names, versions, aliases and digests; open one with `Registry.open`.

    Safe to share between threads, and between processes on one machine. Not to
    be carried across a fork: open it again in the child.

    Attributes:
        canaries: Versions that are tried behind aliases, and the log of what moved.
    """

    def __init__(
        self, root: Path, catalog_url: str | URL, busy_seconds: float, clock: Callable[[], datetime]
    ) -> None:
        """Create what is missing under `root`; prefer `Registry.open`."""
        self.root = root
        self._staging = root / "tmp"
        self._lock = FolderLock(root / "lock", busy_seconds)
        self._blobs = LocalBlobStore(root / "blobs")
        self._folders = AdapterFolders(root / "folders", self._staging, self._blobs)
        with storage_faults(str(root), "the registry was not opened"):
            make_folder(self._staging)
            self._blobs.prepare()
            self._folders.prepare()
        self._database = Database(catalog_url, busy_seconds)
        self._catalog = Catalog(self._database, clock)
        self._catalog_url, self._busy_seconds = catalog_url, busy_seconds
        self._shares_catalog = make_url(catalog_url).get_backend_name() != "sqlite"
        self.canaries = Canaries(self._database, self._catalog.write, self._catalog.now)
        with storage_faults(str(root), "the registry was not opened"):
            sync_folder(root)

    @classmethod
    def open(
        cls,
        location: str | os.PathLike[str],
        *,
        catalog_url: str = "",
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], datetime] = _utc_now,
    ) -> Self:
        """Open the registry in a folder, made if missing.

        Args:
            location: A local folder; "~" is the user's home.
            catalog_url: SQLAlchemy URL of the catalog; "" for SQLite in the folder.
            busy_seconds: How long to wait for another process before RegistryBusyError.
            clock: Stamps versions for people to read; nothing is ordered by it.

        Raises:
            SettingsError: The location is not a local folder's path.
            RegistryAccessError: The folder cannot be created, read or written.
            StorageFullError: The disk is full.
            CorruptError: The catalog is damaged.
            CatalogSchemaError: The catalog was made by a newer release.
        """
        root = local_root(location)
        return cls(root, catalog_url or sqlite_url(root / CATALOG_FILE), busy_seconds, clock)

    def close(self) -> None:
        """Give back files and connections; the registry must not be used after."""
        self._database.close()

    def __enter__(self) -> Self:
        """Return itself; closed at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def publish(
        self,
        folder: str | os.PathLike[str],
        name: str,
        manifest: AdapterManifest | None = None,
        aliases: Sequence[str] = (),
    ) -> AdapterVersion:
        """Publish an adapter folder as the name's next version.

        When this returns, the version is durable. The same files under the same
        name give the version that there is; nothing moves then but `aliases`.

        Args:
            folder: Holds adapter_config.json, adapter_model.safetensors and hub.json,
                and may hold README.md, golden.json and vocabulary.json.
            name: Adapter name.
            manifest: Written as hub.json where the folder has none.
            aliases: Moved to the version in the same transaction, besides `latest`.

        Raises:
            RefError: The name or an alias is not a valid one.
            InputError: The folder cannot be read.
            IncompatibleAdapterError: A file is missing, not allowed or malformed.
            StorageFullError: The disk is full; nothing was published.
            RegistryAccessError: The registry cannot be written.
        """
        check_name(name)
        for alias in aliases:
            _check_movable(alias)
        with self._writing(), staging_folder(self._staging) as scratch:
            staged = take_in(Path(folder), scratch, manifest)
            self._blobs.put(staged.files.values())
            new = NewVersion(name, staged.digest, staged.manifest, staged.files)
            return self._catalog.record(new, tuple(dict.fromkeys(aliases)))

    def resolve(self, ref: str | AdapterRef) -> AdapterVersion:
        """Return the version that a ref means now.

        Raises:
            RefError: The text is not a ref, or a digest prefix fits several adapters.
            AdapterNotFoundError: Nothing answers; the message says what exists.
        """
        return self._catalog.resolve(AdapterRef.parse(ref) if isinstance(ref, str) else ref)

    def names(self) -> list[str]:
        """Return every adapter's name, sorted."""
        return self._catalog.names()

    def versions(self, name: str | None = None) -> list[AdapterVersion]:
        """Return all versions, or those of one name, by name and number.

        Raises:
            AdapterNotFoundError: No adapter has the name.
        """
        if name is None:
            return self._catalog.versions([])
        self._catalog.aliases(check_name(name))
        return self._catalog.versions([adapters.c.name == name])

    def find(
        self,
        *,
        pair: str | None = None,
        method: str | None = None,
        base_digest: str | None = None,
        alias: str | None = LATEST,
    ) -> list[AdapterVersion]:
        """Return what fits every given property, by name and number.

        Args:
            pair: Language pair in canonical spelling.
            method: Method of adaptation.
            base_digest: Digest of the base model that the adapter belongs to.
            alias: Only versions that this alias points at; None for all versions.
        """
        wanted = (
            (versions.c.pair, pair),
            (versions.c.method, method),
            (versions.c.base_digest, base_digest),
        )
        conditions = [column == value for column, value in wanted if value is not None]
        if alias is not None:
            conditions.append(points_here(check_alias(alias)))
        return self._catalog.versions(conditions)

    def aliases(self, name: str) -> dict[str, AliasState]:
        """Return where an adapter's aliases point, by alias.

        Raises:
            AdapterNotFoundError: No adapter has the name.
        """
        return self._catalog.aliases(check_name(name))

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int,
        expected: int | None,
        note: Note | None = None,
    ) -> AliasState:
        """Move an alias by compare-and-set; a canary that runs behind it ends.

        Args:
            name: Adapter name.
            alias: Made if new.
            version: Where it shall point.
            expected: Where it points now, None if it does not exist.
            note: Who moves it and why, for the log.

        Raises:
            RefError: The alias is not a valid one, or is `latest`.
            AdapterNotFoundError: The name or the version does not exist.
            AliasMovedError: The alias points elsewhere; nothing was changed.
        """
        check_name(name)
        _check_movable(alias)
        if not 1 <= version <= MAX_VERSION:
            raise RefError(f"version {version} is not between 1 and {MAX_VERSION}", field="version")
        return self._catalog.set_alias(name, alias, version, expected, note or Note())

    def evidence(self) -> CanaryEvidence:
        """Return the sums of running canaries; close them after use."""
        url = self._catalog_url if self._shares_catalog else sqlite_url(self.root / EVIDENCE_FILE)
        return CanaryEvidence(url, self._busy_seconds)

    def folder(self, adapter: AdapterVersion | str) -> Path:
        """Return a local folder with the adapter's files, each re-hashed just now.

        Args:
            adapter: A version, or any ref such as a digest.

        Raises:
            CorruptBlobError: A blob is missing or damaged; the message names the file.
            AdapterNotFoundError: Nothing answers to the ref.
        """
        version = self.resolve(adapter) if isinstance(adapter, str) else adapter
        files = _promised_files(version)
        with storage_faults(str(self.root), "the adapter was not read"):
            if self._folders.is_sound(version.digest, files):
                return self._folders.path(version.digest)
            with self._lock.shared():
                return self._folders.build(version.digest, files)

    def golden(self, version: AdapterVersion) -> GoldenLines | None:
        """Return an adapter's golden lines, None where it was published without any.

        Raises:
            CorruptBlobError: The file is missing or damaged.
        """
        sha256 = _promised_files(version).get(GOLDEN_FILE)
        if sha256 is None:
            return None
        try:
            data = self._blobs.path(sha256).read_bytes()
        except OSError as error:
            raise CorruptBlobError(
                f"{GOLDEN_FILE} of {version.ref} cannot be read ({error.strerror}); publish the "
                "adapter again to restore it",
                field=GOLDEN_FILE,
            ) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CorruptBlobError(
                f"{GOLDEN_FILE} is damaged: blob {sha256} does not hold what its name promises; "
                "publish the adapter again to restore it",
                field=GOLDEN_FILE,
                metadata={"blob": sha256},
            )
        return GoldenLines.from_json(data)

    def fsck(self, *, repair: bool = False) -> FsckReport:
        """Re-hash everything and compare it with the catalog.

        Args:
            repair: Remove leftovers, rebuild folders, put damaged blobs in quarantine, end canaries
                whose alias was moved without their knowledge.
        """
        with storage_faults(str(self.root), "the check was not finished"):
            if repair:
                self.canaries.mend()
            return self._checker().run(repair)

    def glance(self) -> FsckReport:
        """Check that every file is there and has its size; nothing is hashed, nothing mended."""
        with storage_faults(str(self.root), "the check was not finished"):
            return self._checker().glance()

    def changes(self) -> CatalogChanges:
        """Return a way to learn that anybody has changed the catalog; close it after use."""
        return self._database.changes()

    def _checker(self) -> Checker:
        return Checker(
            self.root, self._database, self._catalog, self._blobs, self._folders, self._lock
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the writers' lock, after clearing what killed writers left behind."""
        with storage_faults(str(self.root)):
            with self._lock.exclusive_if_free() as alone:
                if alone:
                    clear_folder(self._staging)
            with self._lock.shared():
                yield


def local_root(location: str | os.PathLike[str]) -> Path:
    """Return the folder that a location means.

    Raises:
        SettingsError: It is empty, or the URL of something else than a local folder.
    """
    text = _path_of(os.fspath(location))
    if not text or "\0" in text or "://" in text:
        raise SettingsError(
            f"{text!r} is not a registry: give the path of a local folder", field="registry"
        )
    return Path(text).expanduser().absolute()


def _path_of(location: str) -> str:
    """Return a location without the "file:" of a URI, whose path is percent-encoded (RFC 8089)."""
    uri = _FILE_URI.match(location)
    return os.fsdecode(unquote_to_bytes(location[uri.end() :])) if uri else location


def _check_movable(alias: str) -> None:
    if check_alias(alias) == LATEST:
        raise RefError(
            f"alias {LATEST!r} always means the newest version and cannot be set; use another "
            "such as 'prod'",
            field="alias",
        )


def _promised_files(version: AdapterVersion) -> Mapping[str, str]:
    """Return the files whose digest is the version's; a catalog row is not trusted either."""
    if digest_of_files(version.files) != version.digest:
        raise CorruptError(
            f"the catalog's list of files for {version.ref} does not have the digest "
            f"{version.digest}; run `hub adapters fsck`"
        )
    return version.files
