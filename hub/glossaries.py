"""Stored glossaries: terms with prescribed translations, by name and version.

A version is one file, `glossaries/NAME/VERSION.json` in the registry's folder, that never changes.
It is written whole and then linked to its name, which fails where another process was first; so
several processes may store at once. Removing a glossary removes its folder.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hub.errors import CorruptError, GlossaryNotFoundError, InputError, LanguageError
from hub.languages import LanguagePair
from hub.refs import MAX_VERSION, check_name
from hub.registry.disk import make_folder
from hub.registry.faults import storage_faults

FOLDER: Final = "glossaries"
MAX_TERMS: Final = 10_000
MAX_TERM_CHARACTERS: Final = 200
MAX_FORMS: Final = 20
MAX_FILE_BYTES: Final = 64 * 2**20


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


def check_terms(terms: Sequence[Term], field: str = "terms") -> None:
    """Refuse terms that are too many, too long or empty.

    Raises:
        InputError: Names the first of them.
    """
    if len(terms) > MAX_TERMS:
        raise InputError(f"{len(terms)} terms; at most {MAX_TERMS} are allowed", field=field)
    for index, term in enumerate(terms):
        place = f"{field}[{index}]"
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
            newest = max(self._versions(name), default=0)
            if newest:
                try:
                    found = self._read(name, newest)
                except GlossaryNotFoundError:  # removed meanwhile
                    continue
                if (found.pair, found.terms) == (pair, tuple(terms)):
                    return found
            made = StoredGlossary(name, newest + 1, pair, tuple(terms), datetime.now(UTC))
            if self._write(made):
                return made

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
            known = ", ".join([one for one in self.names() if allows(one)][:8]) or "none is stored"
            raise GlossaryNotFoundError(
                f"no glossary is named {name!r}; there is: {known}", field="glossary"
            )
        if not wanted:
            return self._read(name, max(versions))
        number = int(wanted) if wanted.isascii() and wanted.isdigit() else 0
        if number not in versions or number > MAX_VERSION:
            raise GlossaryNotFoundError(
                f"glossary {name} has no version {wanted[:20]!r}; it has 1 to {max(versions)}",
                field="glossary",
            )
        return self._read(name, number)

    def all(self, allows: Allows = anything) -> list[StoredGlossary]:
        """Return the newest version of each glossary, by name; one that goes meanwhile is left out.

        Args:
            allows: As for `get`.
        """
        found = []
        for name in self.names():
            with suppress(GlossaryNotFoundError):
                found.append(self.get(name, allows))
        return found

    def terms(self, ref: str, pair: LanguagePair, allows: Allows = anything) -> tuple[Term, ...]:
        """Return the terms of a glossary for a pair.

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
        return found.terms

    def names(self) -> list[str]:
        """Return the names of all glossaries, sorted."""
        found = [name for name in _entries(self._root) if not name.startswith(".")]
        return sorted(name for name in found if self._versions(name))

    def remove(self, name: str) -> None:
        """Remove all versions of a glossary.

        Raises:
            GlossaryNotFoundError: There is none such.
        """
        if not self._versions(check_name(name)):
            self.get(name)  # which raises; of one that is there nothing is read, it may be damaged
        with storage_faults(str(self._root), "nothing was removed"):
            aside = Path(tempfile.mkdtemp(dir=self._root, prefix=".removed-"))
            try:
                os.rename(self._root / name, aside / name)
            except FileNotFoundError:
                raise GlossaryNotFoundError(
                    f"glossary {name!r} was just removed", field="glossary"
                ) from None
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def _versions(self, name: str) -> list[int]:
        files = [Path(entry) for entry in _entries(self._root / name)]
        stems = [file.stem for file in files if file.suffix == ".json"]
        return [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]

    def _write(self, made: StoredGlossary) -> bool:
        """Write a version; return False where another process was first."""
        folder = self._root / made.name
        with storage_faults(str(folder), "nothing was stored"):
            make_folder(folder)
            try:
                handle, staged = tempfile.mkstemp(dir=folder, prefix=".part-")
            except FileNotFoundError:  # the glossary was removed meanwhile
                return False
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    json.dump(_plain(made), file, ensure_ascii=False)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(staged, folder / f"{made.version}.json")
            except (FileExistsError, FileNotFoundError):  # another was first, or it was removed
                return False
            finally:
                Path(staged).unlink(missing_ok=True)
        return True

    def _read(self, name: str, version: int) -> StoredGlossary:
        path = self._root / name / f"{version}.json"
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
