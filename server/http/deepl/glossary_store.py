"""DeepL's glossaries, kept as ours.

One of DeepL's has an id, a name of any kind, and a dictionary for each of several pairs. Each
dictionary is a stored glossary of ours, "deepl-ID-PAIR", so that every door can use it; what holds
them together is a small file, `deepl-glossaries/ID.json` in the registry's folder. Glossaries that
were stored otherwise are shown with their name for an id.

A tenant sees the glossaries that it made, and of ours those whose names it may use; others do not
exist for it, at any door (`server.access.glossary_owners`). So the file that says who made a
glossary is there before its terms are, and goes after them.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hub.errors import CorruptError, GlossaryNotFoundError, InputError, RefError
from hub.glossaries import Allows, Glossaries, StoredGlossary, Term
from hub.languages import LanguagePair
from hub.registry.disk import make_folder
from hub.registry.faults import storage_faults
from server.access.glossary_owners import PREFIX, GlossaryOwners
from server.access.identity import Identity, current_identity
from server.core import Core
from server.messages import GlossaryChoice

MAX_NAME: Final = 1024


@dataclass(frozen=True, slots=True)
class DeepLGlossary:
    """A glossary as DeepL has it.

    Attributes:
        dictionaries: For each pair a stored glossary of ours.
        tenant: Who made it; "" where nobody was asked.
    """

    id: str
    name: str
    created_at: datetime
    dictionaries: tuple[StoredGlossary, ...]
    tenant: str = ""

    def find(self, pair: LanguagePair) -> StoredGlossary:
        """Return the dictionary for a pair.

        Raises:
            GlossaryNotFoundError: It has none.
        """
        for one in self.dictionaries:
            if one.pair.serves(pair):
                return one
        known = ", ".join(str(one.pair) for one in self.dictionaries)
        raise GlossaryNotFoundError(
            f"glossary {self.id} has no dictionary for {pair}; it has {known or 'none'}",
            field="glossary_id",
        )


@dataclass(frozen=True, slots=True)
class GlossaryStore:
    """Keeps them for one caller; every method blocks."""

    terms: Glossaries
    owners: GlossaryOwners
    identity: Identity

    @classmethod
    def of(cls, core: Core) -> GlossaryStore:
        """Return the store of a server, for the current caller."""
        return cls(core.glossaries, core.glossary_owners, current_identity())

    @property
    def folder(self) -> Path:
        """Return where the files are that hold dictionaries together."""
        return self.owners.folder

    @property
    def allows(self) -> Allows:
        """Return what tells which glossaries of ours there are for the caller."""
        return self.owners.visible(self.identity.tenant, self.identity.permit)

    def create(
        self, name: str, dictionaries: Sequence[tuple[LanguagePair, Sequence[Term]]]
    ) -> DeepLGlossary:
        """Store a new glossary.

        Raises:
            InputError: It has no name or no dictionaries, two are for one pair, or a term is bad.
            StorageFullError: The disk is full.
        """
        _check_name(name)
        pairs = [pair for pair, _ in dictionaries]
        if not pairs or len(set(pairs)) < len(pairs):
            raise InputError("give one dictionary for each pair, and at least one")
        owner = self.identity.tenant
        made = DeepLGlossary(str(uuid.uuid4()), name, datetime.now(UTC), (), owner)
        self._write(made)
        try:
            for pair, terms in dictionaries:
                stored = self._put(made.id, pair, terms)
                made = replace(made, dictionaries=(*made.dictionaries, stored))
            self._write(made)
        except BaseException:
            self._remove(made)
            raise
        return made

    def get(self, identifier: str) -> DeepLGlossary:
        """Return a glossary by its id, or by the name of one of ours.

        Raises:
            GlossaryNotFoundError: There is none such.
        """
        wanted = identifier.strip().lower()
        try:
            if _is_id(wanted) and (path := self.folder / f"{wanted}.json").is_file():
                return self._check_visible(self._read(path))
            found = self.terms.get(wanted, self.allows)
        except (GlossaryNotFoundError, RefError):
            raise GlossaryNotFoundError(
                f"Not found: no glossary has the id {identifier[:80]!r}", field="glossary_id"
            ) from None
        return _ours(found)

    def list(self) -> list[DeepLGlossary]:
        """Return all glossaries, ours included, the oldest first."""
        return sorted(self._all(), key=lambda one: (one.created_at, one.id))

    def _all(self) -> Iterator[DeepLGlossary]:
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.json")):
                with suppress(GlossaryNotFoundError):
                    yield self._check_visible(self._read(path))
        for one in self.terms.newest(self.allows):
            if not one.name.startswith(PREFIX):
                yield _ours(one)

    def _check_visible(self, found: DeepLGlossary) -> DeepLGlossary:
        identity = self.identity
        if self.owners.belongs(found.tenant, identity.tenant, identity.permit, PREFIX + found.id):
            return found
        raise GlossaryNotFoundError("it belongs to another tenant")

    def rename(self, identifier: str, name: str) -> DeepLGlossary:
        """Give a glossary another name.

        Raises:
            GlossaryNotFoundError: There is none such.
            InputError: The name is not one, or the glossary is one of ours, whose id it is.
        """
        _check_name(name)
        found = self.get(identifier)
        if not _is_id(found.id):
            raise InputError(
                f"glossary {found.id} was not made here and keeps its name", field="name"
            )
        made = replace(found, name=name)
        self._write(made)
        return made

    def replace(
        self, identifier: str, pair: LanguagePair, terms: Sequence[Term], *, merge: bool
    ) -> DeepLGlossary:
        """Store a dictionary in a glossary.

        Args:
            identifier: Of the glossary.
            pair: Of the dictionary, which may be new.
            terms: Its terms.
            merge: Whether they are added to those that it has.

        Raises:
            GlossaryNotFoundError: There is no such glossary.
            InputError: A term is bad.
        """
        found = self.get(identifier)
        before = {one.pair: one for one in found.dictionaries}
        if merge and pair in before:
            known = {one.source: one for one in before[pair].terms}
            terms = tuple((known | {one.source: one for one in terms}).values())
        before[pair] = self._put(found.id, pair, terms)
        made = replace(found, dictionaries=tuple(before.values()))
        if _is_id(found.id):
            self._write(made)
        return made

    def remove(self, identifier: str) -> None:
        """Remove a glossary.

        Raises:
            GlossaryNotFoundError: There is none such.
        """
        self._remove(self.get(identifier))

    def _remove(self, found: DeepLGlossary) -> None:
        for one in found.dictionaries:
            self.terms.remove(one.name)
        if _is_id(found.id):
            with storage_faults(str(self.folder), "remove it again"):
                (self.folder / f"{found.id}.json").unlink(missing_ok=True)

    def remove_dictionary(self, identifier: str, pair: LanguagePair) -> None:
        """Remove the dictionary of a pair.

        Raises:
            GlossaryNotFoundError: There is none such.
        """
        found = self.get(identifier)
        gone = found.find(pair)
        kept = tuple(one for one in found.dictionaries if one is not gone)
        if _is_id(found.id):
            self._write(replace(found, dictionaries=kept))
        self.terms.remove(gone.name)

    def _put(self, identifier: str, pair: LanguagePair, terms: Sequence[Term]) -> StoredGlossary:
        ours = f"{PREFIX}{identifier}-{pair}".lower() if _is_id(identifier) else identifier
        if not _is_id(identifier) and self.terms.get(identifier).pair != pair:
            raise InputError(f"glossary {identifier} has one pair, and {pair} is another")
        return self.terms.put(ours, pair, terms)

    def _write(self, made: DeepLGlossary) -> None:
        plain = {
            "name": made.name,
            "created": made.created_at.isoformat(),
            "tenant": made.tenant,
            "dictionaries": [one.name for one in made.dictionaries],
        }
        with storage_faults(str(self.folder), "nothing was stored"):
            make_folder(self.folder)
            handle, staged = tempfile.mkstemp(dir=self.folder, prefix=".part-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(plain, file, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            Path(staged).replace(self.folder / f"{made.id}.json")

    def _read(self, path: Path) -> DeepLGlossary:
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            created = datetime.fromisoformat(plain["created"])
            names = [str(one) for one in plain["dictionaries"]]
            dictionaries = tuple(map(self.terms.get, names))
            owner = str(plain.get("tenant", ""))
            return DeepLGlossary(path.stem, str(plain["name"]), created, dictionaries, owner)
        except FileNotFoundError:
            raise GlossaryNotFoundError(f"glossary {path.stem} was just removed") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError(
                f"glossary {path} cannot be read: {error!r:.200}; remove it and store it again"
            ) from None


def choice_of(core: Core, names: Sequence[str], source: str, target: str) -> GlossaryChoice:
    """Return what glossaries prescribe for a pair. Blocks.

    Raises:
        GlossaryNotFoundError: There is none such, or it has no dictionary for the pair.
    """
    store, pair = GlossaryStore.of(core), LanguagePair.of(source, target)
    found = [store.get(name).find(pair) for name in names]
    if len(found) == 1 and store.allows(found[0].name):
        return GlossaryChoice(stored=found[0].ref)
    terms: dict[str, Term] = {}
    for one in found:
        terms = {**{term.source: term for term in one.terms}, **terms}
    return GlossaryChoice(terms=tuple(terms.values()))


def _ours(found: StoredGlossary) -> DeepLGlossary:
    return DeepLGlossary(found.name, found.name, found.created_at, (found,))


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME:
        raise InputError(f"a glossary's name has 1 to {MAX_NAME} characters", field="name")


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
