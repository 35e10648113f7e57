"""Glossaries that a tenant made by DeepL's API are its own at every door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hub.errors import GlossaryNotFoundError, InputError, ScopeError
from hub.glossaries import Glossaries, Term
from hub.languages import LanguagePair
from server.access.glossary_owners import GlossaryOwners
from server.access.identity import ANYONE, Identity
from server.access.permits import EVERYTHING, Permit
from server.http.deepl.glossary_store import GlossaryStore
from server.messages import GlossaryChoice
from server.translation.glossary import GlossaryShelf

PAIR = LanguagePair("en", "de")
DOG = (Term("dog", ("Hund",)),)


def caller(tenant: str, *patterns: str) -> Identity:
    return Identity(tenant, frozenset(), Permit(patterns or ("*",)))


def store(folder: Path, identity: Identity) -> GlossaryStore:
    return GlossaryStore(Glossaries(folder), GlossaryOwners(folder), identity)


def test_no_pattern_of_another_tenant_reaches_them(tmp_path: Path) -> None:
    made = store(tmp_path, caller("acme", "acme-*")).create("Pets", [(PAIR, DOG)])
    (dictionary,) = made.dictionaries
    owners, choice = GlossaryOwners(tmp_path), GlossaryChoice(stored=dictionary.name)
    shelf = GlossaryShelf(Glossaries(tmp_path), owners.visible)
    for identity, may in (
        (caller("acme", "acme-*"), True),
        (caller("other"), False),
        (caller("other", "deepl-*"), False),
        (ANYONE, True),
    ):
        allows = owners.visible(identity.tenant, identity.permit)
        assert allows(dictionary.name) is may
        assert (made.id in {one.id for one in store(tmp_path, identity).list()}) is may
        if may:
            owners.check_own(dictionary.name, identity)
            assert shelf.of(choice, PAIR, identity.tenant, identity.permit)
            continue
        with pytest.raises(ScopeError, match="made them by DeepL's API"):
            owners.check_own(dictionary.name, identity)
        for name in (made.id, dictionary.name):
            with pytest.raises(GlossaryNotFoundError) as caught:
                store(tmp_path, identity).replace(name, PAIR, DOG, merge=False)
            assert "deepl-" not in caught.value.message.replace(name, "")
        with pytest.raises(GlossaryNotFoundError) as caught:
            shelf.of(choice, PAIR, identity.tenant, identity.permit)
        assert "there is: none" in caught.value.message


def test_those_of_a_time_when_nobody_was_asked_go_by_their_names(tmp_path: Path) -> None:
    made = store(tmp_path, ANYONE).create("Pets", [(PAIR, DOG)])
    owners = GlossaryOwners(tmp_path)
    name = made.dictionaries[0].name
    assert owners.visible("acme", EVERYTHING)(name)
    assert not owners.visible("acme", Permit(("acme-*",)))(name)


def test_a_name_that_looks_like_one_of_them_is_nobodys(tmp_path: Path) -> None:
    owners = GlossaryOwners(tmp_path)
    name = "deepl-96ab91fd-e715-41a1-adeb-5d701f84a483-en-de"
    with pytest.raises(ScopeError):
        owners.check_own(name, caller("acme"))
    owners.check_own("deepl-pets", caller("acme"))
    owners.folder.mkdir()
    for damaged in ("", "[]", "{"):
        (owners.folder / f"{name[6:42]}.json").write_text(damaged)
        assert not owners.visible("acme", EVERYTHING)(name)
    (owners.folder / f"{name[6:42]}.json").write_text(json.dumps({"tenant": "acme"}))
    assert owners.visible("acme", Permit(("x",)))(name)


def test_a_glossary_that_cannot_be_stored_leaves_nothing(tmp_path: Path) -> None:
    bad = (Term("cat", ("x" * 201,)),)
    acme: Any = store(tmp_path, caller("acme"))
    with pytest.raises(InputError, match="201 characters"):
        acme.create("Pets", [(PAIR, DOG), (LanguagePair("de", "en"), bad)])
    assert Glossaries(tmp_path).names() == []
    assert list(GlossaryOwners(tmp_path).folder.iterdir()) == []
    assert acme.list() == []


def test_the_owner_is_known_before_the_terms_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = GlossaryOwners(tmp_path)
    seen: list[bool] = []
    put = Glossaries.put

    def look(self: Glossaries, name: str, *rest: Any) -> Any:
        made = put(self, name, *rest)
        seen.append(owners.visible("other", EVERYTHING)(name))
        return made

    monkeypatch.setattr(Glossaries, "put", look)
    store(tmp_path, caller("acme")).create("Pets", [(PAIR, DOG)])
    assert seen == [False]
