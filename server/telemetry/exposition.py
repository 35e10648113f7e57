"""Metrics over HTTP, on a port of their own, for Prometheus to scrape."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from hub.errors import PortInUseError
from server.telemetry.metrics import Metrics


class Exposition:
    """The HTTP server that shows the metrics."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        """Listen at once.

        Raises:
            PortInUseError: Another process listens there.
        """
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, metrics.registry)
        except OSError as error:
            raise PortInUseError(
                f"cannot show metrics on {host}:{port}: {error.strerror or error}; choose another "
                "port with --metrics-port (0 picks a free one)"
            ) from None

    @property
    def port(self) -> int:
        """Return the port."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
