"""Bodies of HTTP requests: what is not as it should be is refused, nothing is guessed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from hub.errors import InputError, QueueFullError
from server.access.body_room import BodyRoom
from server.http.bodies import Fields, Inbox, read_fields
from server.http.forms import MAX_FIELDS, PARTS, URLENCODED, UploadedFile

BOUND = f"{PARTS}; boundary=edge"
LIMIT = 2**24


def fields_of(body: bytes, content_type: str, query: bytes = b"") -> Fields:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": query,
        "headers": [(b"content-type", content_type.encode("latin-1"))],
    }
    return asyncio.run(read_fields(Request(scope, Inbox(receive, LIMIT, BodyRoom())), LIMIT))


def parts(*shown: tuple[str, bytes], end: bytes = b"--edge--\r\n") -> bytes:
    heads = [b"--edge\r\nContent-Disposition: form-data; " + head.encode() for head, _ in shown]
    bodies = (body for _, body in shown)
    return (
        b"".join(b"\r\n\r\n".join(one) + b"\r\n" for one in zip(heads, bodies, strict=True)) + end
    )


def test_text_of_forms_is_utf_8_however_it_is_written() -> None:
    """curl -d sends what it is given, without percent signs."""
    words = "Grüße an 대한민국 + 5 €"
    plain = "q=Grüße an 대한민국 %2B 5 €".encode()
    assert fields_of(plain, URLENCODED).values == {"q": words}
    encoded = b"q=Gr%C3%BC%C3%9Fe+an+%EB%8C%80%ED%95%9C%EB%AF%BC%EA%B5%AD+%2B+5+%E2%82%AC"
    assert fields_of(encoded, URLENCODED).values == {"q": words}
    assert fields_of(b"", "", encoded).values == {"q": words}
    found = fields_of(parts(('name="q"', words.encode())), BOUND)
    assert found.values == {"q": words}
    assert (
        fields_of('{"q": "Grüße"}'.encode("utf-8-sig"), "application/json").values["q"] == "Grüße"
    )


def test_names_that_come_again_are_lists() -> None:
    assert fields_of(b"a=1&b=2&a=3&c", URLENCODED).values == {"a": ["1", "3"], "b": "2", "c": ""}


@pytest.mark.parametrize(
    ("body", "content_type", "query", "told"),
    [
        ("q=Grüße".encode("latin-1"), URLENCODED, b"", "the form is not UTF-8"),
        (b"q=Gr%FC%DFe", URLENCODED, b"", "the form is not UTF-8"),
        (b"", "", b"q=%FF", "the query is not UTF-8"),
        (b"&" * (MAX_FIELDS + 1), URLENCODED, b"", "more than 2000 fields"),
        (parts(('name="q"', b"\xff")), BOUND, b"", "field 'q' of the form is not UTF-8"),
        (parts(('name="q"', b"a")), f"{BOUND}; charset=utf-7", b"", "charset b'utf-7'"),
        (parts(('name="q"', b"a"), end=b""), BOUND, b"", "cut off"),
        (parts(('name="q"', b"a"), end=b"--edge\r\nContent-"), BOUND, b"", "cut off"),
        (parts(('name="f"; filename="a"', b"a"), end=b""), BOUND, b"", "cut off"),
        (parts(("", b"a")), BOUND, b"", '"name" must be provided'),
        (parts(*[('name="f"; filename="a"', b"")] * 5), BOUND, b"", "Too many files"),
        (parts(*[('name="f"', b"")] * (MAX_FIELDS + 1)), BOUND, b"", "Too many fields"),
        (b"--edge", PARTS, b"", "no boundary"),
        (b"--edge", f'{PARTS}; boundary="a\x01"', b"", "no boundary"),
        (b'{"q": "\\ud83d"}', "application/json", b"", "lone surrogate"),
        (b'{"\\ude00": 1}', "application/json", b"", "lone surrogate"),
        ('{"q": "a"}'.encode("utf-16"), "application/json", b"", "valid JSON in UTF-8"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(
    body: bytes, content_type: str, query: bytes, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        fields_of(body, content_type, query)


def test_pairs_of_surrogates_are_characters() -> None:
    assert fields_of(b'{"q": "\\ud83d\\ude00"}', "application/json").values == {"q": "\U0001f600"}


def test_files_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setattr("tempfile.tempdir", str(gone))  # a file in it could not be made
    data = bytes(range(256)) * 2**13
    found = fields_of(parts(('name="file"; filename="Grüße.docx"', data)), BOUND)
    assert found.files == {"file": UploadedFile("Grüße.docx", data)}


def test_bodies_of_all_requests_have_a_limit_together() -> None:
    room = BodyRoom(10)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"123456", "more_body": True}

    async def ask() -> None:
        first, second = Inbox(receive, 100, room), Inbox(receive, 100, room)
        await first()
        with pytest.raises(QueueFullError, match="take 6 of 10 bytes"):
            await second()
        second.close()
        first.close()
        first.close()
        assert room.taken == 0
        await second()

    asyncio.run(ask())
    assert room.taken == 6
