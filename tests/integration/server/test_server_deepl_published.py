"""Our replies against DeepL's published OpenAPI file, which is fetched and never committed.

git clone --depth 1 https://github.com/DeepLcom/openapi /tmp/deepl-openapi
DEEPL_OPENAPI=/tmp/deepl-openapi/openapi.json pytest <this file>
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS30Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

PUBLISHED = os.environ.get("DEEPL_OPENAPI", "")
ROOT = "urn:deepl"
pytestmark = pytest.mark.skipif(not PUBLISHED, reason="DEEPL_OPENAPI names no file")


@pytest.fixture(scope="module")
def document() -> Any:
    return json.loads(Path(PUBLISHED).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def http(open_house: Callable[..., Iterator[Any]]) -> Iterator[httpx.Client]:
    for house in open_house(http_port=0):
        with httpx.Client(base_url=f"http://{house.application.ports.http}", timeout=60) as client:
            yield client


def absolute(schema: Any) -> Any:
    """References within the document, as references from outside of it."""
    if isinstance(schema, dict):
        return {
            key: ROOT + value if key == "$ref" else absolute(value) for key, value in schema.items()
        }
    return [absolute(one) for one in schema] if isinstance(schema, list) else schema


def check(document: Any, path: str, verb: str, reply: httpx.Response) -> None:
    registry = Registry().with_resource(ROOT, DRAFT4.create_resource(absolute(document)))
    response = document["paths"][path][verb]["responses"][str(reply.status_code)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response.get("content", {})
    if not content:
        assert not reply.content
        return
    kind = reply.headers["content-type"].partition(";")[0]
    assert kind in content, (path, kind)
    if kind == "application/json":
        schema = absolute(content[kind]["schema"])
        OAS30Validator(schema, registry=registry).validate(reply.json())


PAIR = {"source_lang": "en", "target_lang": "de"}
ENTRIES = {"entries": "Hello\tHallo", "entries_format": "tsv"}
TEXT = {"text": ["Monday"], "target_lang": "DE", "source_lang": "EN"}


def test_texts_and_lists(document: Any, http: httpx.Client) -> None:
    full = TEXT | {
        "show_billed_characters": True,
        "model_type": "latency_optimized",
        "tag_handling": "xml",
    }
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("/v2/translate", "post", {"json": TEXT}),
        ("/v2/translate", "post", {"data": TEXT}),
        ("/v2/translate", "post", {"json": full}),
        ("/v2/translate", "post", {"json": TEXT | {"target_lang": "XX"}}),
        ("/v2/translate", "post", {"json": TEXT | {"glossary_id": "none-such"}}),
        ("/v2/languages", "get", {}),
        ("/v2/languages", "get", {"params": {"type": "target"}}),
        ("/v3/languages", "get", {"params": {"resource": "translate_text"}}),
        ("/v3/languages", "get", {"params": {"resource": "voice"}}),
        ("/v3/languages/resources", "get", {}),
        ("/v2/usage", "get", {}),
        ("/v2/glossary-language-pairs", "get", {}),
    ]
    for path, verb, how in calls:
        check(document, path, verb, http.request(verb, path, **how))


def test_glossaries(document: Any, http: httpx.Client) -> None:
    one = {"name": "g", **PAIR, **ENTRIES}
    many = {"name": "g", "dictionaries": [{**PAIR, **ENTRIES}]}
    for root, sent in (("/v2/glossaries", one), ("/v3/glossaries", many)):
        made = http.post(root, json=sent)
        check(document, root, "post", made)
        check(document, root, "get", http.get(root))
        given = made.json()["glossary_id"]
        check(document, root + "/{glossary_id}", "get", http.get(f"{root}/{given}"))
        entries = http.get(f"{root}/{given}/entries", params=PAIR)
        check(document, root + "/{glossary_id}/entries", "get", entries)
        if root == "/v3/glossaries":
            edited = http.patch(f"{root}/{given}", json=many | {"name": "h"})
            check(document, root + "/{glossary_id}", "patch", edited)
            path = f"{root}/{given}/dictionaries"
            replaced = http.put(path, json={**PAIR, **ENTRIES})
            check(document, root + "/{glossary_id}/dictionaries", "put", replaced)
            removed = http.delete(path, params=PAIR)
            check(document, root + "/{glossary_id}/dictionaries", "delete", removed)
        check(document, root + "/{glossary_id}", "delete", http.delete(f"{root}/{given}"))
        check(document, root + "/{glossary_id}", "get", http.get(f"{root}/{given}"))


def test_documents(document: Any, http: httpx.Client) -> None:
    sent = {"target_lang": "DE", "source_lang": "EN"}
    made = http.post("/v2/document", data=sent, files={"file": ("a.txt", b"Monday")})
    check(document, "/v2/document", "post", made)
    bad = http.post("/v2/document", data=sent, files={"file": ("a.exe", b"Monday")})
    check(document, "/v2/document", "post", bad)
    given, key = made.json()["document_id"], {"document_key": made.json()["document_key"]}
    path = "/v2/document/{document_id}"
    status = http.post(f"/v2/document/{given}", data=key)
    check(document, path, "post", status)
    while status.json()["status"] in ("queued", "translating"):
        status = http.post(f"/v2/document/{given}", data=key)
    check(document, path, "post", status)
    result = path + "/result"
    check(document, result, "post", http.post(f"/v2/document/{given}/result", data=key))
    check(document, result, "post", http.post(f"/v2/document/{given}/result", data=key))
