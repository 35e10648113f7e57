"""A client's channel to a server, in clear or over TLS, with or without a key; its deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc

from hub.errors import InputError

if TYPE_CHECKING:  # generic in the stubs alone
    UnaryUnary = grpc.UnaryUnaryClientInterceptor[Any, Any]
    UnaryStream = grpc.UnaryStreamClientInterceptor[Any, Any]
else:
    UnaryUnary, UnaryStream = grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor

Options = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a client and a server know each other.

    Attributes:
        roots: Authorities that the server's certificate may be of (PEM); None for the system's.
        cert: The client's own certificate (PEM), where the server asks for one.
        key: Private key of it.
    """

    roots: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            InputError: One is missing or cannot be read.
        """
        if (self.cert is None) != (self.key is None):
            raise InputError("a client certificate needs its key, and a key its certificate")
        return grpc.ssl_channel_credentials(_read(self.roots), _read(self.key), _read(self.cert))


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None


def open_channel(target: str, options: Options, tls: Tls | None) -> grpc.Channel:
    """Return a channel that connects at its first call.

    Raises:
        InputError: A file of the TLS is missing or cannot be read.
    """
    if tls is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, tls.credentials(), options=options)


def with_key(channel: grpc.Channel, key: str) -> grpc.Channel:
    """Return the channel with a bearer key in every call.

    gRPC's own call credentials refuse connections in clear, which are fine on one machine and
    behind a proxy.

    Raises:
        InputError: The key has characters that no header can have.
    """
    if not key:
        return channel
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "the key has blanks or characters other than ASCII; give it as it was made"
        )
    return grpc.intercept_channel(channel, _Bearer(key))


class _Details(grpc.ClientCallDetails):
    """Call details with one header more."""

    def __init__(self, details: grpc.ClientCallDetails, header: tuple[str, str]) -> None:
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = (*(details.metadata or ()), header)
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        self.compression = details.compression


class _Bearer(UnaryUnary, UnaryStream):
    """Adds the header."""

    def __init__(self, key: str) -> None:
        self._header = "authorization", f"Bearer {key}"

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(_Details(details, self._header), request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], details: grpc.ClientCallDetails, request: Any
    ) -> Any:
        return continuation(_Details(details, self._header), request)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When the time of a request is over; it may take several calls."""

    seconds: float
    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the one that is so many seconds from now."""
        return cls(seconds, time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Return the seconds that are left, 0 where it has passed."""
        return max(0.0, self.at - time.monotonic())
