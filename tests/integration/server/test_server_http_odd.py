"""Odd values in every field of every operation: each gets a reply of its API, never a 500."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest

ODD: Final[list[Any]] = [
    None, True, -1, 10**30, 1e308, float("nan"), "", " ", "\0", "\u0085", "\U0001f600", "e\u0301",
    "a" * 5000, "x\r\nX-Evil: 1", "../../etc/passwd", "*", "base", "sha256:0", "en:1", "--",
    [], [[]], {}, ["a", None], [{"source_lang": "en"}], {"a": {"b": []}}, "٣", "<script>",
]  # fmt: skip
EACH: Final = 4
"""A field gets every so many of them; all fields together get all."""
PAIR: Final = {"source_lang": "EN", "target_lang": "DE"}
ENTRIES: Final = {"entries": "dog\tHund", "entries_format": "tsv"}
GOOD: Final[dict[str, dict[str, Any]]] = {
    "/translate": {"q": "Monday", "source": "en", "target": "ko", "format": "text",
                   "alternatives": 0, "adapter": "", "domain": "", "api_key": ""},
    "/detect": {"q": "Monday"},
    "/suggest": {"q": "Monday", "s": "Montag", "source": "en", "target": "de"},
    "/v2/translate": {
        "text": ["Monday"], **PAIR, "split_sentences": "1", "preserve_formatting": "1",
        "formality": "default", "glossary_id": "", "glossary_ids": [], "tag_handling": "xml",
        "tag_handling_version": "v2", "outline_detection": "1", "splitting_tags": "",
        "non_splitting_tags": "", "ignore_tags": "", "model_type": "latency_optimized",
        "show_billed_characters": "1", "context": "", "adapter": "", "domain": "",
    },
    "/v2/languages": {"type": "source"},
    "/v2/glossaries": {"name": "pets", **PAIR, **ENTRIES},
    "/v3/glossaries": {"name": "pets", "dictionaries": [{**PAIR, **ENTRIES}]},
    "/v2/document/0": {"document_key": "0"},
    "/api/translate": {"text": "Monday", "source": "en", "target": "ko", "keep": [],
                       "glossary": {}, "adapters": ["base"]},
    "/api/alternatives": {"text": "Monday", "source": "en", "target": "ko", "adapter": ""},
    "/api/feedback": {"source_text": "a", "translated_text": "b", "post_edited_text": "c",
                      "source": "en", "target": "ko", "adapter_version": "", "adapter_digest": ""},
}  # fmt: skip


@pytest.fixture(scope="module")
def http(open_house: Callable[..., Iterator[Any]]) -> Iterator[httpx.Client]:
    for house in open_house(http_port=0, max_upload_bytes="64KiB"):
        with httpx.Client(base_url=f"http://{house.application.ports.http}", timeout=60) as client:
            yield client


def check(reply: httpx.Response, *told: Any) -> None:
    assert reply.status_code not in (500, 502), (*told, reply.text[:300])
    assert "x-evil" not in reply.headers
    if not reply.is_success:
        body = reply.json()
        assert set(body) <= {"error", "message", "detail"}, told
        assert body.get("message") or body["error"], told


@pytest.mark.parametrize("path", GOOD)
def test_odd_values(http: httpx.Client, path: str) -> None:
    good, kind = GOOD[path], {"content-type": "application/json"}
    first = http.post(path, json=good)
    assert first.is_success or path == "/v2/document/0", first.text
    for number, name in enumerate((*good, "unknown")):
        for odd in ODD[number % EACH :: EACH]:
            body = json.dumps({**good, name: odd}).encode()
            check(http.post(path, content=body, headers=kind), path, name, odd)
            if isinstance(odd, str) and not path.startswith("/api/"):
                form = {key: value for key, value in good.items() if isinstance(value, str)}
                check(http.post(path, data={**form, name: odd}), path, "form", name, odd)


@pytest.mark.parametrize("path", ["/v2/document", "/translate_file"])
def test_odd_uploads(http: httpx.Client, path: str) -> None:
    fields = {"source": "en", "target": "ko", "source_lang": "EN", "target_lang": "KO"}
    names = [
        "../../etc/passwd.txt", "a.txt\r\nX-Evil: 1", ".txt", "a" * 5000 + ".txt", "\0.txt", "..",
        "/", "C:\\a.TXT", "docx", "a.docx", "a.xlsx", "a.po", "a.xliff", "a.json", "a.html", "",
    ]  # fmt: skip
    contents = [
        b"",
        b"\0",
        b"\xff\xfe",
        b"PK\x05\x06" + b"\0" * 18,
        b"<xliff/>",
        b"Monday\n",
        b"{}",
    ]
    for name in names:
        for content in contents:
            asked = http.build_request("POST", path, data=fields, files={"file": (name, content)})
            whole = asked.read()
            check(http.send(asked), path, name, content)
            kind = {"content-type": asked.headers["content-type"]}
            assert http.post(path, content=whole[:-7], headers=kind).status_code == 400


@pytest.mark.parametrize("odd", [one for one in ODD if isinstance(one, str)])
def test_odd_paths(http: httpx.Client, odd: str) -> None:
    name = httpx.QueryParams({"x": odd}).get("x").encode()
    quoted = "".join(f"%{byte:02X}" for byte in name) or "%20"
    for path in ("/download_file/", "/v2/glossaries/", "/v3/glossaries/", "/static/"):
        check(http.get(path + quoted), path, odd)
    check(http.get(f"/v2/document/{quoted}/result", params={"document_key": odd}), odd)
    check(http.get("/v3/languages", params={"resource": odd}), odd)
