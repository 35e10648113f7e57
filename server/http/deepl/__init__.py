"""DeepL's API, versions 2 and 3 (https://developers.deepl.com), for the clients that speak it."""

from __future__ import annotations

import time
from typing import Final

from starlette.routing import BaseRoute

from server.entrance import Entrance
from server.http.deepl import glossaries, languages, translation, usage
from server.http.deepl.api import DeepLApi
from server.http.deepl.documents import Documents
from server.http.documents import upload_body
from server.http.endpoint import Operation, routes_of
from server.http.jobs import Jobs
from server.http.shelf import Shelf

__all__ = ["routes"]

_V2: Final = "/v2/glossaries"
_V3: Final = "/v3/glossaries"
_ONE: Final = "/{glossary_id}"

_OPERATIONS: Final = (
    Operation("/v2/translate", ("POST",), "Translate", translation.translate, texts="text"),
    Operation("/v2/languages", ("GET", "POST"), "Languages", languages.languages),
    Operation("/v3/languages", ("GET",), "Languages", languages.languages_of_resource),
    Operation("/v3/languages/resources", ("GET",), "Languages", languages.resources),
    Operation("/v2/usage", ("GET", "POST"), "Usage", usage.usage),
    Operation("/v2/glossary-language-pairs", ("GET",), "Languages", glossaries.language_pairs),
    Operation(_V2, ("POST",), "PutGlossary", glossaries.create),
    Operation(_V2, ("GET",), "GetGlossary", glossaries.listed),
    Operation(_V2 + _ONE, ("GET",), "GetGlossary", glossaries.get),
    Operation(_V2 + _ONE, ("DELETE",), "DeleteGlossary", glossaries.remove),
    Operation(_V2 + _ONE + "/entries", ("GET",), "GetGlossary", glossaries.entries),
    Operation(_V3, ("POST",), "PutGlossary", glossaries.create_many),
    Operation(_V3, ("GET",), "GetGlossary", glossaries.list_many),
    Operation(_V3 + _ONE, ("GET",), "GetGlossary", glossaries.get_many),
    Operation(_V3 + _ONE, ("PATCH",), "PutGlossary", glossaries.edit),
    Operation(_V3 + _ONE, ("DELETE",), "DeleteGlossary", glossaries.remove),
    Operation(_V3 + _ONE + "/entries", ("GET",), "GetGlossary", glossaries.dictionary_entries),
    Operation(_V3 + _ONE + "/dictionaries", ("PUT",), "PutGlossary", glossaries.replace),
    Operation(
        _V3 + _ONE + "/dictionaries", ("DELETE",), "DeleteGlossary", glossaries.remove_dictionary
    ),
)


def routes(entrance: Entrance) -> list[BaseRoute]:
    """Return the routes of DeepL's API."""
    api = DeepLApi()
    documents = Documents(Shelf(time.monotonic), Jobs(entrance, api.service, "DocumentJob"))
    one, whole = "/v2/document/{document_id}", upload_body(entrance.settings)
    operations = (
        *_OPERATIONS,
        Operation("/v2/document", ("POST",), "Document", documents.upload, max_body=whole),
        Operation(one, ("POST", "GET"), "Document", documents.status),
        Operation(one + "/result", ("POST", "GET"), "Document", documents.download),
    )
    return [*routes_of(entrance, api, operations)]
