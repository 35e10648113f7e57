"""Check the registry against itself, and mend what can be mended.

Three kinds of finding. A *leftover* is what a killed writer left; it is
harmless. A *cache* fault is a broken folder under folders/, rebuilt from blobs.
*Damage* is a promise that cannot be kept: a blob missing or altered, a catalog
that contradicts itself. Publishing the same adapter again restores its blobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hub.errors import CorruptError
from hub.manifest import MANIFEST_FILE, AdapterManifest
from hub.registry.blobs import LocalBlobStore, digest_of_files
from hub.registry.catalog import Catalog
from hub.registry.database import Database
from hub.registry.disk import FolderLock, clear_folder
from hub.registry.folders import AdapterFolders
from hub.registry.records import AdapterVersion

CLEAN: Final = 0
REPAIRED: Final = 1
UNREPAIRED: Final = 4

Severity = Literal["leftover", "cache", "damage"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        subject: The file, blob or version concerned.
        repaired: It was mended, or removed, in this run.
    """

    severity: Severity
    subject: str
    detail: str
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check saw."""

    versions: int
    blobs: int
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """Return 0 for clean (leftovers are clean), 1 for repaired, 4 for damage left."""
        if any(f.severity != "leftover" and not f.repaired for f in self.findings):
            return UNREPAIRED
        return REPAIRED if any(f.repaired for f in self.findings) else CLEAN


class Checker:
    """One check of one registry."""

    def __init__(
        self,
        root: Path,
        database: Database,
        catalog: Catalog,
        blobs: LocalBlobStore,
        folders: AdapterFolders,
        lock: FolderLock,
    ) -> None:
        """Take the registry's parts."""
        self._root = root
        self._database = database
        self._catalog = catalog
        self._blobs = blobs
        self._folders = folders
        self._lock = lock

    def run(self, repair: bool) -> FsckReport:
        """Check everything; hash every blob once."""
        versions = self._catalog.versions([])
        sound = {sha256: self._blobs.verify(sha256) for sha256 in self._blobs.stored()}
        findings = [
            *(Finding("damage", "catalog", problem) for problem in self._database.problems()),
            *self._version_findings(versions, sound),
            *self._blob_findings(versions, sound, repair),
            *self._folder_findings(versions, sound, repair),
            *self._leftovers(repair),
        ]
        return FsckReport(len(versions), len(sound), tuple(findings))

    def glance(self) -> FsckReport:
        """Look at names and sizes only; a damaged file of the right size is not found."""
        versions = self._catalog.versions([])
        findings = [
            *(
                Finding("damage", "catalog", problem)
                for problem in self._database.problems(quick=True)
            ),
            *(finding for version in versions for finding in self._size_findings(version)),
        ]
        used = {sha256 for version in versions for sha256 in version.files.values()}
        return FsckReport(len(versions), len(used), tuple(findings))

    def _size_findings(self, version: AdapterVersion) -> Iterator[Finding]:
        total = 0
        for name, sha256 in version.files.items():
            try:
                total += self._blobs.path(sha256).stat().st_size
            except OSError as error:
                yield Finding("damage", version.ref, f"{name}: blob {sha256}: {error.strerror}")
                return
        if total != version.bytes:
            yield Finding(
                "damage", version.ref, f"its files have {total} bytes, not {version.bytes}"
            )

    def _version_findings(
        self, versions: list[AdapterVersion], sound: dict[str, bool | None]
    ) -> Iterator[Finding]:
        for version in versions:
            if digest_of_files(version.files) != version.digest:
                yield Finding("damage", version.ref, "its list of files has another digest")
            for name, sha256 in version.files.items():
                if sha256 not in sound:
                    yield Finding("damage", version.ref, f"{name}: blob {sha256} is missing")
            if sound.get(version.files.get(MANIFEST_FILE, "")) and not self._same_manifest(version):
                yield Finding("damage", version.ref, "the catalog's manifest is not the blob's")

    def _same_manifest(self, version: AdapterVersion) -> bool:
        text = self._blobs.path(version.files[MANIFEST_FILE]).read_bytes()
        try:
            return AdapterManifest.from_json(text) == version.manifest
        except CorruptError:
            return False

    def _blob_findings(
        self, versions: list[AdapterVersion], sound: dict[str, bool | None], repair: bool
    ) -> Iterator[Finding]:
        """Damage stays unrepaired until the adapter is published again."""
        users = _users(versions)
        for sha256 in sorted(sha256 for sha256, is_sound in sound.items() if not is_sound):
            detail = f"its bytes are not what its name promises; used by {users.get(sha256)}"
            if sha256 not in users:
                yield Finding("leftover", f"blob {sha256}", "damaged, used by nothing")
                continue
            if repair and self._quarantined(sha256):
                detail += "; moved to quarantine/"
            yield Finding("damage", f"blob {sha256}", detail)

    def _quarantined(self, sha256: str) -> bool:
        """Move a blob away unless a publisher has restored it since it was hashed."""
        with self._lock.exclusive():
            if self._blobs.verify(sha256) is not False:
                return False
            self._blobs.quarantine(sha256, self._root / "quarantine")
            return True

    def _folder_findings(
        self, versions: list[AdapterVersion], sound: dict[str, bool | None], repair: bool
    ) -> Iterator[Finding]:
        known = {version.digest: version for version in versions}
        for digest in self._folders.built():
            version = known.get(digest)
            if version is None or self._folders.is_sound(digest, version.files):
                continue
            mendable = all(sound.get(sha256) for sha256 in version.files.values())
            if repair and mendable:
                with self._lock.shared():
                    self._folders.build(digest, version.files)
            yield Finding(
                "cache",
                str(self._folders.path(digest)),
                f"the folder of {version.ref} is not sound",
                repaired=repair and mendable,
            )

    def _leftovers(self, repair: bool) -> Iterator[Finding]:
        """Look for what no version refers to; with `repair`, while no writer runs."""
        if not repair:
            yield from self._leftover_findings(repaired=False)
            return
        with self._lock.exclusive():
            found = list(self._leftover_findings(repaired=True))
            for sha256 in self._orphans():
                self._blobs.remove(sha256)
            clear_folder(self._root / "tmp")
        yield from found

    def _leftover_findings(self, *, repaired: bool) -> Iterator[Finding]:
        for sha256 in self._orphans():
            yield Finding("leftover", f"blob {sha256}", "no version refers to it", repaired)
        for entry in sorted((self._root / "tmp").iterdir()):
            yield Finding("leftover", str(entry), "left by a writer that was killed", repaired)
        for entry in self._blobs.strays():
            yield Finding("leftover", str(entry), "not a blob; left alone")

    def _orphans(self) -> list[str]:
        used = _users(self._catalog.versions([]))
        return [sha256 for sha256 in self._blobs.stored() if sha256 not in used]


def _users(versions: list[AdapterVersion]) -> dict[str, str]:
    """Return each blob's first user as a ref."""
    users: dict[str, str] = {}
    for version in versions:
        for sha256 in version.files.values():
            users.setdefault(sha256, version.ref)
    return users
