"""uvicorn in the server's own event loop, beside gRPC."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from hub.errors import PortInUseError
from hub.settings import Settings
from server.access.certificates import open_certificates
from server.http.connection import BoundedConnection

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the clients' own, so that it is they who close an idle connection."""
BACKLOG: Final = 1024
_IPV6: Final = ":"


class HttpServer:
    """The listening HTTP server."""

    def __init__(self, settings: Settings, app: ASGIApp) -> None:
        """Prepare the server; must be called on the event loop that will run it.

        Raises:
            SettingsError: The certificates are not usable.
        """
        certificates = open_certificates(settings)
        config = uvicorn.Config(
            app,
            http=BoundedConnection,
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,  # ours tells no path, which could hold a key
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            ssl_context_factory=(
                None if certificates is None else lambda *_: certificates.context()
            ),
        )
        self._settings = settings
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; return the port.

        Raises:
            PortInUseError: Another process listens there.
        """
        listener = _listen(self._settings.host, self._settings.http_port or 0)
        port: int = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.listening.wait()
        return port

    async def stop(self) -> None:
        """Stop; calls in progress are cut off."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves signals to ours."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that no other process shares."""
    name = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if _IPV6 in name else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((name, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"cannot serve HTTP on {host}:{port}: {error.strerror or error}; choose another port "
            "with --http-port (0 picks a free one)"
        ) from None
    listener.setblocking(False)
    return listener
