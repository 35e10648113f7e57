"""Which addresses are on this machine; they are reached directly, whatever proxy is set."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_SCHEME: Final = re.compile(r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)", re.IGNORECASE)
_PORT: Final = re.compile(r":\d*$")
_LOCAL_SOCKETS: Final = ("unix:", "unix-abstract:", "vsock:")


def is_loopback(target: str) -> bool:
    """Return whether an address is on this machine.

    Args:
        target: "host", "host:port" or any name that gRPC resolves, such as "unix:/run/hub.sock".
    """
    text = target.strip()
    if text.lower().startswith(_LOCAL_SOCKETS):
        return True
    addresses = _SCHEME.sub("", text, count=1).lstrip("/").split(",")
    return all(_is_local_host(_host(address)) for address in addresses)


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else _PORT.sub("", address)


def _is_local_host(host: str) -> bool:
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    # What is connected to as "any address" is this machine, too.
    return bool(mapped.is_loopback or mapped.is_unspecified)
