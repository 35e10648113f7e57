"""Keys by which requests that belong together are held together.

While a canary runs, a server gives requests with the same `routing_key` the same version. Who
sends a document or a list in several requests names one, or its parts would be of two versions.

Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def whole_key(target: str, texts: Iterable[str]) -> str:
    """Return the `routing_key` of what is translated in several requests.

    Args:
        target: The language to translate into.
        texts: What it is known by: its texts, or the name of a file.
    """
    return digest_of(("whole", target, *texts)).hex()


def digest_of(parts: Iterable[str]) -> bytes:
    """Return what stands for a list of texts, and for no other list."""
    hashed = hashlib.sha256()
    for part in parts:  # each with its length, so that no two lists are written alike
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big"))
        hashed.update(data)
    return hashed.digest()
