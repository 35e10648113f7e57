"""The network: the ports of the server, and proxies in the way to it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Final

from hub.doctor.report import Finding
from hub.errors import HubError
from hub.settings import Settings

_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
"""What gRPC looks at, in this order."""
_EXCEPTIONS: Final = ("no_grpc_proxy", "no_proxy")
_LOOPBACK: Final = ("localhost", "127.0.0.1")
_ANSWER_SECONDS: Final = 0.5


def check_ports(settings: Settings) -> Iterator[Finding]:
    """See whether the server could listen where it is told to."""
    ports = {"port": settings.port, "metrics_port": settings.metrics_port}
    if settings.port and settings.port == settings.metrics_port:
        yield Finding(
            "ports", "fail", f"port and metrics_port are both {settings.port}",
            "give one of them another number, or 0 for a free one",
        )  # fmt: skip
        return
    for name, port in ports.items():
        yield _port(name, settings.host, port)


def _port(name: str, host: str, port: int) -> Finding:
    where = f"{name} {port} on {host}"
    if not port:
        return Finding("ports", "ok", f"{name} is chosen when the server starts")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            trial.listen()  # several may be bound to a port that nobody listens on
    except OSError as error:
        return _taken(name, host, port, error)
    return Finding("ports", "ok", f"{where} is free")


def _taken(name: str, host: str, port: int, error: OSError) -> Finding:
    where, flag = f"{name} {port} on {host}", f"--{name.replace('_', '-')}"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        said = f"{host} is no address of this machine"
        return Finding("ports", "fail", said, "give --host another address, such as 127.0.0.1")
    if error.errno == errno.EADDRINUSE and name == "port" and _is_hub(host, port):
        remedy = f"nothing to do if that one is meant; a second one needs another {flag}"
        return Finding("ports", "warn", f"{where}: a hub server runs there already", remedy)
    remedy = f"give another {flag} (0 picks a free one), or end what listens there"
    return Finding("ports", "fail", f"{where}: {error.strerror or error}", remedy)


def _is_hub(host: str, port: int) -> bool:
    from hub.client import HubClient

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with HubClient(address, timeout=_ANSWER_SECONDS) as client:
            client.is_serving()
    except HubError:
        return False
    return True


def check_proxy(settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """See whether a proxy would be asked for addresses of this machine.

    `hub` itself never asks one for them, but gRPC clients in other languages and programs do.

    Args:
        settings: Not looked at.
        environ: The environment; the process's own by default.
    """
    environ = os.environ if environ is None else environ
    used = next((name for name in _PROXIES if environ.get(name)), "")
    if not used:
        yield Finding("proxy", "ok", "none for gRPC")
        return
    excepted = next((environ[name] for name in _EXCEPTIONS if environ.get(name)), "")
    hosts = {host.strip().lower() for host in excepted.split(",")}
    if "*" in hosts or hosts.issuperset(_LOOPBACK):
        yield Finding("proxy", "ok", f"{used} is set, addresses of this machine are excepted")
    else:
        yield Finding(
            "proxy", "warn",
            f"{used} is set: gRPC clients would ask it for servers on this machine, too",
            "set no_proxy=localhost,127.0.0.1 (and ::1) for them",
        )  # fmt: skip
