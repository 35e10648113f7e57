"""DeepL's API, versions 2 and 3 (https://developers.deepl.com), for the clients that speak it."""

from __future__ import annotations

from typing import Final

from starlette.routing import BaseRoute

from server.entrance import Entrance
from server.http.deepl import glossaries, languages, schemas, translation, usage
from server.http.deepl.api import DeepLApi
from server.http.deepl.documents import Documents
from server.http.documents import upload_body
from server.http.endpoint import Operation, routes_of
from server.http.jobs import Jobs
from server.http.schemas import FILE, TEXT, record, words
from server.http.shelf import Shelf

__all__ = ["routes"]

_V2: Final = "/v2/glossaries"
_V3: Final = "/v3/glossaries"
_ONE: Final = "/{glossary_id}"

_ENTRIES: Final = "/entries"
_DICTIONARIES: Final = "/dictionaries"
_READ: Final = ("GET", "POST")
_TSV: Final = TEXT | {"contentMediaType": "text/tab-separated-values"}


def _texts() -> tuple[Operation, ...]:
    return (
        Operation(
            "/v2/translate", ("POST",), "Translate", translation.translate, texts="text",
            takes=schemas.TRANSLATE, reply=schemas.TRANSLATED,
        ),
        Operation(
            "/v2/languages", _READ, "Languages", languages.languages,
            takes=record(type=words("source", "target")), reply=schemas.LANGUAGES,
        ),
        Operation(
            "/v3/languages", ("GET",), "Languages", languages.languages_of_resource,
            takes=record("resource", resource=words(*languages.RESOURCES)),
            reply=schemas.LANGUAGES_OF_RESOURCE,
        ),
        Operation(
            "/v3/languages/resources", ("GET",), "Languages", languages.resources,
            reply=schemas.RESOURCES,
        ),
        Operation("/v2/usage", _READ, "Usage", usage.usage, reply=schemas.USAGE),
        Operation(
            "/v2/glossary-language-pairs", ("GET",), "Languages", glossaries.language_pairs,
            reply=schemas.GLOSSARY_PAIRS,
        ),
    )  # fmt: skip


def _glossaries_of_one_pair() -> tuple[Operation, ...]:
    get, put, delete = "GetGlossary", "PutGlossary", "DeleteGlossary"
    return (
        Operation(
            _V2, ("POST",), put, glossaries.create,
            takes=schemas.PUT_ONE, reply=schemas.ONE, status=201,
        ),
        Operation(_V2, ("GET",), get, glossaries.listed, reply=schemas.ONES),
        Operation(_V2 + _ONE, ("GET",), get, glossaries.get, reply=schemas.ONE),
        Operation(_V2 + _ONE, ("DELETE",), delete, glossaries.remove, status=204),
        Operation(_V2 + _ONE + _ENTRIES, ("GET",), get, glossaries.entries, reply=_TSV),
    )  # fmt: skip


def _glossaries_of_many() -> tuple[Operation, ...]:
    get, put, delete = "GetGlossary", "PutGlossary", "DeleteGlossary"
    return (
        Operation(
            _V3, ("POST",), put, glossaries.create_many,
            takes=schemas.PUT_MANY, reply=schemas.MANY, status=201,
        ),
        Operation(_V3, ("GET",), get, glossaries.list_many, reply=schemas.MANIES),
        Operation(_V3 + _ONE, ("GET",), get, glossaries.get_many, reply=schemas.MANY),
        Operation(
            _V3 + _ONE, ("PATCH",), put, glossaries.edit, takes=schemas.EDIT, reply=schemas.MANY
        ),
        Operation(_V3 + _ONE, ("DELETE",), delete, glossaries.remove, status=204),
        Operation(
            _V3 + _ONE + _ENTRIES, ("GET",), get, glossaries.dictionary_entries,
            takes=schemas.PAIR, reply=schemas.DICTIONARIES,
        ),
        Operation(
            _V3 + _ONE + _DICTIONARIES, ("PUT",), put, glossaries.replace,
            takes=schemas.DICTIONARY, reply=schemas.COUNTED,
        ),
        Operation(
            _V3 + _ONE + _DICTIONARIES, ("DELETE",), delete, glossaries.remove_dictionary,
            takes=schemas.PAIR, status=204,
        ),
    )  # fmt: skip


def _documents(entrance: Entrance, documents: Documents) -> tuple[Operation, ...]:
    one, whole = "/v2/document/{document_id}", upload_body(entrance.settings)
    return (
        Operation(
            "/v2/document", ("POST",), "Document", documents.upload, max_body=whole,
            takes=schemas.UPLOAD, reply=schemas.UPLOADED,
        ),
        Operation(
            one, _READ, "Document", documents.status, takes=schemas.KEY, reply=schemas.STATUS
        ),
        Operation(
            one + "/result", _READ, "Document", documents.download,
            takes=schemas.KEY, reply=FILE,
        ),
    )  # fmt: skip


def routes(entrance: Entrance, shelf: Shelf) -> list[BaseRoute]:
    """Return the routes of DeepL's API, whose documents are on a shelf."""
    api = DeepLApi()
    documents = Documents(shelf, Jobs(entrance, api.service, "DocumentJob"))
    operations = (
        *_texts(),
        *_glossaries_of_one_pair(),
        *_glossaries_of_many(),
        *_documents(entrance, documents),
    )
    return [*routes_of(entrance, api, operations)]
