"""Glossaries: /v2/glossaries (one pair each) and /v3/glossaries (a dictionary for each pair)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError
from hub.glossaries import StoredGlossary, Term
from hub.languages import LanguagePair
from server.core import Core
from server.http.bodies import Fields
from server.http.deepl.entries import read_entries, write_entries
from server.http.deepl.glossary_store import DeepLGlossary, GlossaryStore
from server.http.deepl.languages import sources, tag_of
from server.http.endpoint import Call

_TSV: Final = "text/tab-separated-values"
_CREATED, _NO_CONTENT = 201, 204


def _pair(core: Core, fields: Fields) -> LanguagePair:
    for name in ("source_lang", "target_lang"):
        if not fields.text(name):
            raise InputError(f"Parameter {name!r} not specified.", field=name)
    return LanguagePair.of(
        tag_of(core, "source_lang", fields.text("source_lang")),
        tag_of(core, "target_lang", fields.text("target_lang")),
    )


def _dictionary(core: Core, fields: Fields) -> tuple[LanguagePair, Sequence[Term]]:
    terms = read_entries(fields.text("entries"), fields.text("entries_format", "tsv") or "tsv")
    return _pair(core, fields), terms


def _dictionaries(call: Call) -> list[tuple[LanguagePair, Sequence[Term]]]:
    given = call.fields.values.get("dictionaries") or []
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise InputError("dictionaries is not a list of objects", field="dictionaries")
    return [_dictionary(call.core, Fields(one, from_json=True)) for one in given]


def _store(call: Call) -> GlossaryStore:
    return GlossaryStore.of(call.core)


def _id(call: Call) -> str:
    return str(call.request.path_params["glossary_id"])


def _time(found: DeepLGlossary) -> str:
    return found.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _languages(found: StoredGlossary) -> dict[str, Any]:
    return {"source_lang": found.pair.source.lower(), "target_lang": found.pair.target.lower()}


def _counted(found: StoredGlossary) -> dict[str, Any]:
    return {**_languages(found), "entry_count": len(found.terms)}


def _of_one_pair(found: DeepLGlossary) -> dict[str, Any]:
    return {
        "glossary_id": found.id,
        "name": found.name,
        "ready": True,
        "creation_time": _time(found),
        **_counted(found.dictionaries[0]),
    }


def _of_many(found: DeepLGlossary) -> dict[str, Any]:
    return {
        "glossary_id": found.id,
        "name": found.name,
        "creation_time": _time(found),
        "dictionaries": [_counted(one) for one in found.dictionaries],
    }


def _single(found: DeepLGlossary) -> DeepLGlossary:
    """Return a glossary that the second version of the API can show.

    Raises:
        InputError: It has several dictionaries, or none.
    """
    if len(found.dictionaries) != 1:
        raise InputError(
            f"glossary {found.id} has {len(found.dictionaries)} dictionaries; use /v3/glossaries"
        )
    return found


async def language_pairs(call: Call) -> Response:
    """List the pairs that glossaries may have (/v2/glossary-language-pairs)."""
    return await call.off_loop(_listed_pairs, sources(call.core))


def _listed_pairs(languages: Sequence[str]) -> Response:
    tags = [tag.lower() for tag in languages]
    pairs = [
        {"source_lang": one, "target_lang": other} for one in tags for other in tags if one != other
    ]
    return JSONResponse({"supported_languages": pairs})


async def create(call: Call) -> Response:
    """Store a glossary of one pair."""
    dictionary = await call.off_loop(_dictionary, call.core, call.fields)
    made = await call.off_loop(_store(call).create, call.fields.text("name"), [dictionary])
    return JSONResponse(_of_one_pair(made), _CREATED)


async def listed(call: Call) -> Response:
    """List the glossaries of one pair."""
    found = await call.off_loop(_store(call).list)
    shown = [_of_one_pair(one) for one in found if len(one.dictionaries) == 1]
    return JSONResponse({"glossaries": shown})


async def get(call: Call) -> Response:
    """Show a glossary of one pair."""
    found = _single(await call.off_loop(_store(call).get, _id(call)))
    return JSONResponse(_of_one_pair(found))


async def entries(call: Call) -> Response:
    """Return the entries of a glossary of one pair, tab-separated."""
    found = _single(await call.off_loop(_store(call).get, _id(call)))
    text = await call.off_loop(write_entries, found.dictionaries[0].terms)
    return Response(text, media_type=_TSV)


async def remove(call: Call) -> Response:
    """Remove a glossary."""
    await call.off_loop(_store(call).remove, _id(call))
    return Response(status_code=_NO_CONTENT)


async def create_many(call: Call) -> Response:
    """Store a glossary of several pairs."""
    dictionaries = await call.off_loop(_dictionaries, call)
    made = await call.off_loop(_store(call).create, call.fields.text("name"), dictionaries)
    return JSONResponse(_of_many(made), _CREATED)


async def list_many(call: Call) -> Response:
    """List all glossaries."""
    found = await call.off_loop(_store(call).list)
    return JSONResponse({"glossaries": [_of_many(one) for one in found]})


async def get_many(call: Call) -> Response:
    """Show a glossary."""
    return JSONResponse(_of_many(await call.off_loop(_store(call).get, _id(call))))


async def edit(call: Call) -> Response:
    """Rename a glossary, add entries to a dictionary of it, or both."""
    dictionaries = await call.off_loop(_dictionaries, call)
    if len(dictionaries) > 1:
        raise InputError("edit one dictionary at a time", field="dictionaries")
    store, identifier = _store(call), _id(call)
    if call.fields.text("name"):
        await call.off_loop(store.rename, identifier, call.fields.text("name"))
    for pair, terms in dictionaries:
        await call.off_loop(partial(store.replace, merge=True), identifier, pair, terms)
    return JSONResponse(_of_many(await call.off_loop(store.get, identifier)))


async def replace(call: Call) -> Response:
    """Store a dictionary in place of the one that the glossary has for its pair."""
    pair, terms = await call.off_loop(_dictionary, call.core, call.fields)
    store, identifier = _store(call), _id(call)
    made = await call.off_loop(partial(store.replace, merge=False), identifier, pair, terms)
    return JSONResponse(_counted(made.find(pair)))


async def dictionary_entries(call: Call) -> Response:
    """Return the entries of the dictionary of a pair."""
    pair = _pair(call.core, call.fields)
    found = (await call.off_loop(_store(call).get, _id(call))).find(pair)
    text = await call.off_loop(write_entries, found.terms)
    shown = {**_languages(found), "entries": text, "entries_format": "tsv"}
    return JSONResponse({"dictionaries": [shown]})


async def remove_dictionary(call: Call) -> Response:
    """Remove the dictionary of a pair."""
    pair = _pair(call.core, call.fields)
    await call.off_loop(_store(call).remove_dictionary, _id(call), pair)
    return Response(status_code=_NO_CONTENT)
