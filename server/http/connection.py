"""One connection: what comes beside the body of a request is limited, which uvicorn leaves open.

Without it a caller who is nobody could send one header for ever, and all of it would be kept.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of the address and the headers of a request, and of a header that is not whole yet."""
_FRAMING: Final = 8
"""Most bytes that a byte of a chunked body may come in: "1", CR LF, the byte, CR LF and some."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's protocol, which answers 400 and hangs up where too much comes beside a body."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._begins = False
        self._head = self._taken = self._body = 0

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._begins = False
        super().data_received(data)
        if not self._begins:  # else the piece holds the end of a message before it, too
            self._taken += len(data)
        if self._taken > MAX_HEAD_BYTES + _FRAMING * self._body and not self.transport.is_closing():
            self.send_400_response(f"The headers have more than {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        super().on_message_begin()
        self._begins = True
        self._head = self._taken = self._body = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body += len(body)
        super().on_body(body)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD_BYTES:
            raise ValueError("headers that are too large")  # which the parser makes its own error
