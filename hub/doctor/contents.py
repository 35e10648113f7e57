"""What is on disk: folders and their room, the registry, the base."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.console import size_text
from hub.doctor.report import Finding
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.bases import Base

LITTLE: Final = 2**30
"""Less room than this is told."""
TOO_LITTLE: Final = 64 * 2**20
_SHOWN: Final = 3
_LEAD_SECONDS: Final = 120


def check_disk(settings: Settings) -> Iterator[Finding]:
    """See whether the folders can be written, and how much room their disks have."""
    from hub.registry.registry import local_root

    folders = {
        "registry": local_root(settings.registry),
        "cache": settings.cache,
        "runs": settings.runs,
    }
    for name, folder in folders.items():
        yield _folder(name, folder.absolute())


def _folder(name: str, folder: Path) -> Finding:
    """Look at a folder, or at the one that it would be made in."""
    place = next((each for each in (folder, *folder.parents) if each.exists()), Path("/"))
    elsewhere = f"give HUB_{name.upper()} another folder"
    if not place.is_dir():
        return Finding("disk", "fail", f"{name}: {place} is not a folder", elsewhere)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
        free = shutil.disk_usage(place).free
    except OSError as error:
        said = f"{name}: {place} cannot be written: {error.strerror}"
        return Finding("disk", "fail", said, f"give this user the right to, or {elsewhere}")
    said = f"{name}: {size_text(free)} free for {folder}"
    if free < TOO_LITTLE:
        return Finding("disk", "fail", said, f"make room, or {elsewhere}")
    if free < LITTLE:
        return Finding("disk", "warn", said, f"make room, or {elsewhere}")
    return Finding("disk", "ok", said)


def check_registry(settings: Settings) -> Iterator[Finding]:
    """Open the registry, if there is one, and see that no file of it is missing or cut."""
    from hub.registry import Registry
    from hub.registry.registry import CATALOG_FILE, local_root

    root = local_root(settings.registry)
    catalog = root / CATALOG_FILE
    if not catalog.exists():
        yield Finding("registry", "ok", f"there is none at {root} yet; publishing makes it")
        return
    with Registry.open(root, busy_seconds=1.0) as registry:
        report = registry.glance()
    damage = [f"{one.subject}: {one.detail}" for one in report.findings]
    if damage:
        more = f" and {len(damage) - _SHOWN} more" if len(damage) > _SHOWN else ""
        yield Finding(
            "registry", "fail", "; ".join(damage[:_SHOWN]) + more,
            "run `hub adapters fsck --repair`; publishing an adapter again restores its files",
        )  # fmt: skip
    else:
        yield Finding("registry", "ok", f"{report.versions} versions at {root}, every file there")
    if catalog.stat().st_mtime > time.time() + _LEAD_SECONDS:
        yield Finding(
            "clock", "warn", f"{catalog} was written in the future: the clock was set back",
            "set the clock; nothing in the registry is ordered by it",
        )  # fmt: skip


def check_base(settings: Settings) -> Iterator[Finding]:
    """Open the base, compute its digest and load its tokenizer; nothing is fetched for it."""
    from hub.bases.digest import check_digest
    from hub.bases.tokenizer import load_tokenizer

    base = local_base(settings)
    if base is None:
        yield Finding(
            "base", "warn", f"{settings.base} is not on this machine; it is fetched at the start",
            f"fetch it now: hub bases pull {settings.base}",
        )  # fmt: skip
        return
    check_digest(base, settings.base_digest)
    languages = len(load_tokenizer(base).languages)
    yield Finding(
        "base", "ok",
        f"{settings.base}: {base.family}, {base.parameters:,} parameters, {languages} languages, "
        f"{base.digest[:19]}…",
    )  # fmt: skip


def local_base(settings: Settings) -> Base | None:
    """Return the base of the settings, None where it would have to be fetched first.

    Raises:
        HubError: It is not there, or damaged.
    """
    from hub.bases import open_base
    from hub.bases.download import HubRef
    from hub.bases.inventory import kept_bases

    ref = settings.base
    fetched = HubRef.parse(ref) if not Path(ref).expanduser().is_dir() else None
    if fetched is None:
        return open_base(ref, cache=settings.cache)
    names = {ref, fetched.id if fetched.revision == "main" else f"{fetched.id}@{fetched.revision}"}
    kept = next((each for each in kept_bases(settings.cache) if each.name in names), None)
    return None if kept is None else open_base(str(kept.folder), cache=settings.cache)
