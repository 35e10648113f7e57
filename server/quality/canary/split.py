"""Which of two versions serves a request: the same key, the same version, on every server.

The key is the caller's own (`routing_key`: a document, a session) or else the texts of the request,
within a tenant. A request id would be random where callers send none, and a repeated request, as
after a timeout, could get the other version's words. A tenant alone would make the two arms differ
by who asks, and with few tenants a share of 10 % could be none or all of the traffic. With the
texts the same request always gets the same translation, and all sentences of one request come from
one version.

Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

from hub.routing_keys import digest_of

_SPAN: Final = 1 << 64


def request_key(tenant: str, routing_key: str, target: str, texts: Iterable[str]) -> bytes:
    """Return what a request is assigned by."""
    if routing_key:
        return digest_of((tenant, "key", routing_key))
    return digest_of((tenant, "texts", target, *texts))


def takes_canary(salt: str, key: bytes, fraction: float) -> bool:
    """Tell whether a request goes to the canary.

    Args:
        salt: The canary's, so that every canary has other requests.
        key: The request's.
        fraction: Of the requests.
    """
    hashed = hashlib.sha256(salt.encode() + key).digest()
    return int.from_bytes(hashed[:8], "big") < fraction * _SPAN
