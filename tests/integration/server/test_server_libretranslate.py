"""LibreTranslate's client against our server, and the rest of its API by hand."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from libretranslatepy import LibreTranslateAPI
from openapi_spec_validator import validate

from hub.client import Decoding
from hub.feedback.store import FeedbackStore
from hub.keys import KeyFile


@pytest.fixture(scope="module")
def front(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    yield from open_house(http_port=0, http_origins="https://pages.example")


@pytest.fixture
def http(front: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{front.application.ports.http}", timeout=60) as client:
        yield client


def ours(front: Any, text: str, source: str = "en", target: str = "de", **more: Any) -> str:
    return front.client.translate([text], source, target, **more).items[0].text


def test_the_client(front: Any) -> None:
    client = LibreTranslateAPI(f"http://{front.application.ports.http}")
    assert client.translate("in 3 days", "en", "de") == ours(front, "in 3 days")
    assert client.detect("월요일") == [{"confidence": 100, "language": "ko"}]
    found = client.languages()
    assert [one["code"] for one in found] == ["de", "en", "fr", "ko"]
    assert found[0] == {"code": "de", "name": "German", "targets": ["en", "fr", "ko"]}


def test_the_client_with_a_key(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("lt-keys")
    file, _, key = KeyFile().added("one", ["translate"])
    file.write(folder / "keys.json")
    for house in open_house(http_port=0, keys=str(folder / "keys.json")):
        url = f"http://{house.application.ports.http}"
        assert LibreTranslateAPI(url, key).translate("Monday", "en", "de")
        assert LibreTranslateAPI(url, key).languages()
        for wrong in (None, "hub_no"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                LibreTranslateAPI(url, wrong).translate("Monday", "en", "de")
        told = httpx.get(f"{url}/frontend/settings").json()
        assert (told["keyRequired"], told["apiKeys"]) == (True, True)


def test_a_batch_detects_the_language_of_each(front: Any, http: httpx.Client) -> None:
    asked = {"q": ["월요일", "Donnerstag, den 5. Oktober"], "source": "auto", "target": "en"}
    reply = http.post("/translate", json=asked).json()
    assert [one["language"] for one in reply["detectedLanguage"]] == ["ko", "de"]
    assert reply["translatedText"] == [
        ours(front, "월요일", "ko", "en"),
        ours(front, "Donnerstag, den 5. Oktober", "de", "en"),
    ]


def test_alternatives(front: Any, http: httpx.Client) -> None:
    asked = {"q": "in 3 days", "source": "en", "target": "de", "alternatives": "2"}
    reply = http.post("/translate", data=asked).json()
    wide = Decoding(beam_size=3)
    same = front.client.translate(
        ["in 3 days"], "en", "de", num_alternatives=2, decoding=wide
    ).items[0]
    assert reply["translatedText"] == same.text
    assert reply["alternatives"] == [one.text for one in same.alternatives]
    assert len(reply["alternatives"]) == 2


def test_html(front: Any, http: httpx.Client) -> None:
    asked = {"q": '<p id="a">Monday</p>', "source": "en", "target": "de", "format": "html"}
    text = ours(front, "Monday")
    assert http.post("/translate", json=asked).json() == {"translatedText": f'<p id="a">{text}</p>'}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"q": ""}, "Invalid request: missing q parameter"),
        ({"source": ""}, "Invalid request: missing source parameter"),
        ({"target": "zz"}, "zz is not supported"),
        ({"format": "pdf"}, "pdf format is not supported; use text or html"),
        ({"alternatives": "many"}, "alternatives 'many' is not a whole number"),
        ({"alternatives": "-1"}, "alternatives -1 is out of range; ask for 0 to 15"),
        ({"alternatives": "100"}, "alternatives 100 is out of range; ask for 0 to 15"),
    ],
)
def test_errors(http: httpx.Client, fields: dict[str, str], message: str) -> None:
    asked = {"q": "Monday", "source": "en", "target": "de"} | fields
    reply = http.post("/translate", data=asked)
    assert (reply.status_code, reply.json()) == (400, {"error": message})


def test_a_suggestion_is_a_post_edit(front: Any, http: httpx.Client) -> None:
    sent = {"q": "Monday", "s": "Montag", "source": "en", "target": "de"}
    assert http.post("/suggest", data=sent).json() == {"success": True}
    url = f"sqlite:///{front.settings.registry}/feedback.sqlite3"
    store = FeedbackStore(url, create=False)
    (kept,) = store.edits()
    store.close()
    assert (kept.edit.source, kept.edit.correction) == ("Monday", "Montag")


def test_suggestions_that_nobody_keeps(open_house: Callable[..., Iterator[Any]]) -> None:
    for house in open_house(http_port=0, feedback_url="off"):
        url = f"http://{house.application.ports.http}"
        sent = {"q": "Monday", "s": "Montag", "source": "en", "target": "de"}
        reply = httpx.post(f"{url}/suggest", data=sent)
        assert reply.status_code == 501
        assert "feedback_url" in reply.json()["error"]
        assert httpx.get(f"{url}/frontend/settings").json()["suggestions"] is False


def test_files(front: Any, http: httpx.Client) -> None:
    sent = {"source": "en", "target": "de"}
    reply = http.post("/translate_file", data=sent, files={"file": ("a.txt", b"Monday\nMay\n")})
    url = reply.json()["translatedFileUrl"]
    assert url.startswith(f"http://{front.application.ports.http}/download_file/")
    got = http.get(url)
    assert got.text == f"{ours(front, 'Monday')}\n{ours(front, 'May')}\n"
    assert got.headers["content-disposition"].startswith("attachment")
    for wrong in (url[:-6] + "0.txt", "/download_file/..%2f..%2fetc%2fpasswd", "/download_file/a"):
        assert http.get(wrong).status_code == 404
    refused = http.post("/translate_file", data=sent, files={"file": ("a.exe", b"MZ")})
    assert refused.status_code == 415


def test_pages_of_allowed_sites_may_call(http: httpx.Client) -> None:
    page = {"origin": "https://pages.example", "sec-fetch-site": "cross-site"}
    asked = {"q": "Monday", "source": "en", "target": "de"}
    reply = http.post("/translate", json=asked, headers=page)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == "https://pages.example"
    other = http.post("/translate", json=asked, headers=page | {"origin": "https://evil.example"})
    assert other.status_code == 403
    assert "access-control-allow-origin" not in other.headers


def test_the_document_of_what_is_served(http: httpx.Client) -> None:
    document = http.get("/spec").json()
    validate(document)
    assert http.get("/openapi.json").json() == document
    assert http.post("/spec").status_code == 405
    for path, operations in document["paths"].items():
        for verb, told in operations.items():
            assert told["summary"].endswith("."), path
            reply = http.request(verb, path.replace("{", "").replace("}", ""))
            assert reply.status_code != 405, (verb, path)


def test_replies_are_what_the_document_says(front: Any, http: httpx.Client) -> None:
    from jsonschema import Draft202012Validator

    paths = http.get("/spec").json()["paths"]
    asked = {"q": ["Monday"], "source": "auto", "target": "ko", "alternatives": 1}
    text = {"text": ["Monday"], "target_lang": "DE", "source_lang": "EN"}
    pair = {"source_lang": "en", "target_lang": "de"}
    glossary = {"name": "g", **pair, "entries": "a\tb", "entries_format": "tsv"}
    many = {"name": "g", "dictionaries": [{**pair, "entries": "a\tb", "entries_format": "tsv"}]}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("post", "/translate", {"json": asked | {"q": ["Donnerstag, den 5. Oktober"]}}),
        ("post", "/detect", {"json": {"q": "Montag"}}),
        ("post", "/detect", {"json": {}}),
        ("get", "/languages", {}),
        ("get", "/frontend/settings", {}),
        ("get", "/health", {}),
        ("post", "/v2/translate", {"json": text | {"show_billed_characters": True}}),
        ("post", "/v2/translate", {"json": {}}),
        ("get", "/v2/languages", {"params": {"type": "target"}}),
        ("get", "/v3/languages", {"params": {"resource": "translate_text"}}),
        ("get", "/v3/languages/resources", {}),
        ("get", "/v2/usage", {}),
        ("get", "/v2/glossary-language-pairs", {}),
        ("post", "/v2/glossaries", {"json": glossary}),
        ("get", "/v2/glossaries", {}),
        ("post", "/v3/glossaries", {"json": many}),
        ("get", "/v3/glossaries", {}),
    ]
    for verb, path, how in calls:
        reply = http.request(verb, path, **how)
        responses = paths[path][verb]["responses"]
        told = responses.get(str(reply.status_code), responses["default"])
        schema = told["content"]["application/json"]["schema"]
        Draft202012Validator(schema).validate(reply.json())
        assert str(reply.status_code) in responses or reply.status_code == 400
