"""Stored glossaries: terms with prescribed translations, by name and version.

A version is one file, `glossaries/NAME/VERSION.json` in the registry's folder, that never changes.
It is written whole and then linked to its name, which fails where another process was first; so
several processes may store at once. Removing a glossary removes its versions and leaves their
highest number in `glossaries/NAME/removed`: the next version counts on from there, and an exact ref
never comes to mean other terms.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.errors import CorruptError, GlossaryNotFoundError, InputError, LanguageError
from hub.languages import LanguagePair
from hub.refs import MAX_VERSION, check_name
from hub.registry.disk import make_folder, sync_folder
from hub.registry.faults import storage_faults

FOLDER: Final = "glossaries"
MAX_TERMS: Final = 10_000
MAX_TERM_CHARACTERS: Final = 200
MAX_FORMS: Final = 20
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_READY: Final = 32
"""Versions that are kept in memory after they were read."""
_REMOVED: Final = "removed"
_VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")
_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Term:
    """A source term and the forms of which its translation must use one."""

    source: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredGlossary:
    """One immutable version."""

    name: str
    version: int
    pair: LanguagePair
    terms: tuple[Term, ...]
    created_at: datetime

    @property
    def ref(self) -> str:
        """Return the exact ref, "name:version"."""
        return f"{self.name}:{self.version}"


def normalized(text: str) -> str:
    """Return a term or sentence as terms are compared: NFC, with single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def check_terms(terms: Sequence[Term], field: str = "terms") -> None:
    """Refuse terms that are too many, too long, empty or there twice.

    Raises:
        InputError: Names the first of them.
    """
    if len(terms) > MAX_TERMS:
        raise InputError(f"{len(terms)} terms; at most {MAX_TERMS} are allowed", field=field)
    first: dict[str, int] = {}
    for index, term in enumerate(terms):
        place = f"{field}[{index}]"
        earlier = first.setdefault(normalized(term.source), index)
        if earlier != index:
            raise InputError(
                f"term {term.source[:40]!r} is there twice, as number {earlier + 1} and number "
                f"{index + 1}; give it once, with all its targets",
                field=place,
            )
        if not 1 <= len(term.targets) <= MAX_FORMS:
            raise InputError(
                f"term {term.source[:40]!r} has {len(term.targets)} targets; give 1 to {MAX_FORMS}",
                field=place,
            )
        for text in (term.source, *term.targets):
            if not text.strip() or len(text) > MAX_TERM_CHARACTERS:
                raise InputError(
                    f"term {text[:40]!r} has {len(text)} characters; give 1 to "
                    f"{MAX_TERM_CHARACTERS}, not only blanks",
                    field=place,
                )


Allows = Callable[[str], bool]


def anything(name: str) -> bool:
    """Allow every name."""
    return True


class Glossaries:
    """The glossaries of one registry folder; safe to share between threads and processes."""

    def __init__(self, registry: Path) -> None:
        """Take the registry's folder; nothing is made before something is stored."""
        self._root = registry / FOLDER
        self._ready: OrderedDict[tuple[str, int], StoredGlossary] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, name: str, pair: LanguagePair, terms: Sequence[Term]) -> StoredGlossary:
        """Store a new version; the same pair and terms as the newest make none.

        Raises:
            RefError: The name is not a valid one.
            InputError: There are no terms, or one is bad.
            StorageFullError: The disk is full; nothing was stored.
        """
        check_name(name)
        if not terms:
            raise InputError("a glossary without terms; give at least one", field="terms")
        check_terms(terms)
        while True:
            versions = self._versions(name)
            found = self._whole(name, max(versions)) if versions else None
            if found is not None and (found.pair, found.terms) == (pair, tuple(terms)):
                return found
            number = max((*versions, self._removed(name))) + 1
            if number > MAX_VERSION:
                raise InputError(
                    f"glossary {name} has had {MAX_VERSION} versions, the most there may be; "
                    "store it under another name",
                    field="name",
                )
            made = StoredGlossary(name, number, pair, tuple(terms), datetime.now(UTC))
            if self._write(made):
                if self._removed(name) < number:
                    return made
                # Meanwhile another has stored and removed this number: it means those terms.
                self._file(name, number).unlink(missing_ok=True)

    def get(self, ref: str, allows: Allows = anything) -> StoredGlossary:
        """Return a glossary by "name", its newest version, or "name:version".

        Args:
            ref: As above.
            allows: Tells which names there are for the caller; others do not exist.

        Raises:
            GlossaryNotFoundError: There is none such.
            RefError: The name is not a valid one.
            CorruptError: Its file is damaged.
        """
        name, _, wanted = ref.strip().partition(":")
        versions = self._versions(check_name(name)) if allows(name) else []
        if not versions:
            raise self._unknown(name, allows)
        if not wanted:
            return self._read(name, max(versions))
        number = int(wanted) if _VERSION.fullmatch(wanted) else 0
        if number not in versions or number > MAX_VERSION:
            raise GlossaryNotFoundError(
                f"glossary {name} has no version {wanted[:20]!r}; it has {_spans(versions)}",
                field="glossary",
            )
        return self._read(name, number)

    def for_pair(self, ref: str, pair: LanguagePair, allows: Allows = anything) -> StoredGlossary:
        """Return a glossary that serves a pair.

        Args:
            ref: As for `get`.
            pair: That is translated.
            allows: As for `get`.

        Raises:
            InputError: The glossary is for another pair.
            GlossaryNotFoundError: There is none such.
        """
        found = self.get(ref, allows)
        if not found.pair.serves(pair):
            raise InputError(
                f"glossary {found.ref} is for {found.pair}, not {pair}; name another",
                field="glossary_config.glossary",
            )
        return found

    def newest(self, allows: Allows = anything) -> list[StoredGlossary]:
        """Return the newest version of each glossary by name; damaged ones are logged, left out.

        Args:
            allows: As for `get`.
        """
        found = []
        for name in filter(allows, self.names()):
            versions = self._versions(name)
            one = self._whole(name, max(versions)) if versions else None
            if one is not None:
                found.append(one)
        return found

    def names(self) -> list[str]:
        """Return the names of all glossaries, sorted."""
        found = [name for name in _entries(self._root) if not name.startswith(".")]
        return sorted(name for name in found if self._versions(name))

    def remove(self, name: str) -> None:
        """Remove all versions of a glossary, damaged ones too.

        Raises:
            GlossaryNotFoundError: There is none such.
            RefError: The name is not a valid one.
        """
        versions = self._versions(check_name(name))
        if not versions:
            raise self._unknown(name)
        highest = max((*versions, self._removed(name)))
        with storage_faults(str(self._root), "nothing was removed"):
            staged = _stage(self._root / name, str(highest))
            os.replace(staged, self._root / name / _REMOVED)
            sync_folder(self._root / name)
        with storage_faults(str(self._root), "remove it again"):
            for version in sorted(versions):
                self._file(name, version).unlink(missing_ok=True)

    def _unknown(self, name: str, allows: Allows = anything) -> GlossaryNotFoundError:
        known = ", ".join([*filter(allows, self.names())][:8]) or "none is stored"
        return GlossaryNotFoundError(
            f"no glossary is named {name!r}; there is: {known}", field="glossary"
        )

    def _file(self, name: str, version: int) -> Path:
        return self._root / name / f"{version}.json"

    def _versions(self, name: str) -> list[int]:
        files = [Path(entry) for entry in _entries(self._root / name)]
        stems = [file.stem for file in files if file.suffix == ".json"]
        return [int(stem) for stem in stems if _VERSION.fullmatch(stem)]

    def _removed(self, name: str) -> int:
        """Return the highest number of the versions that were removed, 0 if there were none."""
        try:
            told = (self._root / name / _REMOVED).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 0
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptError(
                f"{self._root / name / _REMOVED} cannot be read: {error!r:.200}; write the number "
                f"of the last version that glossary {name} had into it"
            ) from None
        return int(told) if _VERSION.fullmatch(told) else 0

    def _whole(self, name: str, version: int) -> StoredGlossary | None:
        """Return a version, None where it is damaged or was just removed."""
        try:
            return self._read(name, version)
        except (CorruptError, GlossaryNotFoundError) as error:
            _LOGGER.warning("%s", error)
            return None

    def _write(self, made: StoredGlossary) -> bool:
        """Write a version; return False where another process was first."""
        folder = self._root / made.name
        with storage_faults(str(folder), "nothing was stored"):
            make_folder(folder)
            staged = _stage(folder, json.dumps(_plain(made), ensure_ascii=False))
            try:
                os.link(staged, self._file(made.name, made.version))
            except FileExistsError:
                return False
            finally:
                staged.unlink(missing_ok=True)
            sync_folder(folder)
        return True

    def _read(self, name: str, version: int) -> StoredGlossary:
        key = (name, version)
        with self._lock:
            if key in self._ready:
                self._ready.move_to_end(key)
                return self._ready[key]
        found = self._parse(name, version)
        with self._lock:
            self._ready[key] = found
            while len(self._ready) > MAX_READY:
                self._ready.popitem(last=False)
        return found

    def _parse(self, name: str, version: int) -> StoredGlossary:
        path = self._file(name, version)
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"larger than {MAX_FILE_BYTES:,} bytes")
            plain: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return StoredGlossary(
                name=name,
                version=version,
                pair=LanguagePair.parse(plain["pair"]),
                terms=tuple(Term(one["source"], tuple(one["targets"])) for one in plain["terms"]),
                created_at=datetime.fromisoformat(plain["created"]),
            )
        except FileNotFoundError:
            raise GlossaryNotFoundError(
                f"glossary {name}:{version} was just removed", field="glossary"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, LanguageError) as error:
            raise CorruptError(
                f"glossary {path} cannot be read: {error!r:.200}; remove it and store it again"
            ) from None


def _stage(folder: Path, text: str) -> Path:
    """Write a text, synced, to a file of a name that no reader looks at."""
    handle, staged = tempfile.mkstemp(dir=folder, prefix=".part-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
    return Path(staged)


def _spans(versions: Sequence[int]) -> str:
    lowest, highest = min(versions), max(versions)
    return f"{lowest} to {highest}" if lowest < highest else f"{highest} alone"


def _plain(made: StoredGlossary) -> dict[str, Any]:
    return {
        "pair": str(made.pair),
        "created": made.created_at.isoformat(),
        "terms": [{"source": one.source, "targets": list(one.targets)} for one in made.terms],
    }


def _entries(folder: Path) -> list[str]:
    """Return the names in a folder; none where there is no such folder, or no more."""
    with storage_faults(str(folder)):
        try:
            return os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
