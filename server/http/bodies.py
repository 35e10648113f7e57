"""Bodies of requests: read within a limit of size and time, and handed on as fields."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from hub.errors import BodyTooLargeError, InputError, MediaTypeError
from server.access.body_room import BodyRoom
from server.http.forms import PARTS, URLENCODED, UploadedFile, read_parts, read_urlencoded

BODY_SECONDS: Final = 60.0
"""For a whole body: who sends a byte now and then does not hold a connection for ever."""
_JSON: Final = "application/json"
_HALF: Final = re.compile(rb"\\u[dD][89a-fA-F]")
"""How JSON writes a surrogate, one half of a pair or alone."""

_Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Fields:
    """What a request says, wherever it says it: in a body of JSON, in a form or in its query.

    Attributes:
        values: By name; a name that a form repeats has a list.
        from_json: Whether types are as the caller wrote them; in a form everything is a string.
        files: Uploaded files by name.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    from_json: bool = False
    files: Mapping[str, UploadedFile] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def text(self, name: str, default: str = "") -> str:
        """Return a string.

        Raises:
            InputError: It is something else, or there are several.
        """
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise InputError(f"{name} is not a string; give one string", field=name)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return strings: a list, or a single one.

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(name)
        if value is None:
            return ()
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(one, str) for one in found):
            raise InputError(f"{name} has a value that is not a string", field=name)
        return tuple(found)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a truth value: true, false, 1, 0, or "true", "false", "1", "0".

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return default
        known = {"true": True, "1": True, "false": False, "0": False}
        found = known.get(str(value).lower())
        if found is None:
            raise InputError(f"{name} {str(value)[:40]!r} is not true or false", field=name)
        return found

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number.

        Raises:
            InputError: It is something else.
        """
        value = self.values.get(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise InputError(f"{name} is not a whole number", field=name)
        try:
            return int(value)
        except ValueError:
            raise InputError(
                f"{name} {str(value)[:40]!r} is not a whole number", field=name
            ) from None

    def characters(self, name: str) -> int:
        """Return the length of the texts under a name; what is no text has none."""
        value = self.values.get(name)
        found = value if isinstance(value, list) else [value]
        return sum(len(one) for one in found if isinstance(one, str))


class Inbox:
    """The receiving side of one request: its body within a limit, then the caller's leaving."""

    def __init__(self, receive: _Receive, limit: int, room: BodyRoom) -> None:
        self._receive = receive
        self._limit = limit
        self._room = room
        self._bytes = 0

    async def __call__(self) -> Any:
        """Return the next message.

        Raises:
            BodyTooLargeError: More has come than the limit.
            QueueFullError: The bodies of all requests take too much.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            check_size(self._bytes + size, self._limit)
            self._room.take(size)
            self._bytes += size
        return message

    def close(self) -> None:
        """Give the room of the body back."""
        self._room.release(self._bytes)
        self._bytes = 0

    async def wait_gone(self) -> None:
        """Wait until the caller has left; whatever else it sends is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            continue


def check_size(size: int, limit: int) -> None:
    """Refuse a body that is too large.

    Raises:
        BodyTooLargeError: It is.
    """
    if size > limit:
        raise BodyTooLargeError(f"the body has more than {limit:,} bytes; send less at once")


async def read_fields(request: Request, limit: int) -> Fields:
    """Read what a request says.

    Args:
        request: Its `receive` must keep to the limit (`Inbox`).
        limit: Bytes of the body, told beforehand by an honest caller.

    Raises:
        InputError: The body is not what its type says, or its value is not an object.
        MediaTypeError: It is of another type.
        BodyTooLargeError: It is too large.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        check_size(int(length), limit)
    query = read_urlencoded(request.scope.get("query_string", b""), "the query")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read_body(request)
    except TimeoutError:
        raise InputError(f"the body did not come whole within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise asyncio.CancelledError from None
    return Fields({**query, **body.values}, body.from_json, body.files)


async def _read_body(request: Request) -> Fields:
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == PARTS:
        values, files = await read_parts(content_type, request.stream())
        return Fields(values, files=files)
    data = await request.body()
    if kind == URLENCODED:
        return Fields(read_urlencoded(data))
    if not data:
        return Fields()
    if kind not in ("", _JSON):
        raise MediaTypeError(
            f"content type {kind[:60]!r} is not read here; send {_JSON}, {URLENCODED} or {PARTS}"
        )
    return Fields(_read_json(data), from_json=True)


def _read_json(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data.decode("utf-8-sig"))
        if _HALF.search(data):
            json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(
            "the body has a lone surrogate, half of a character; send valid Unicode"
        ) from None
    except (ValueError, RecursionError):
        raise InputError("the body is not valid JSON in UTF-8") from None
    if not isinstance(values, dict):
        raise InputError("the body is not a JSON object; send {…} with named fields")
    return values
