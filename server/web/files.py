"""The page's static files: read once, sent with their digest, compressed for who asks."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from hub.errors import NotFoundError
from server.http.protection import CONTENT_POLICY

INDEX: Final = "index.html"
MESSAGES: Final = "messages"
_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "json": "application/json",
        "svg": "image/svg+xml",
    }
)
_POLICY: Final = f"{CONTENT_POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"
"""Trusted types with no policy at all: a script that parsed markup would fail, not run it."""


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file, as it is and compressed."""

    kind: str
    body: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> StaticFile:
        """Make one of a file's content."""
        tag = hashlib.sha256(body).hexdigest()[:20]
        kind = _TYPES[name.rpartition(".")[2]]
        return cls(kind, body, gzip.compress(body, mtime=0), f'"{tag}"')

    def reply(self, request: Request) -> Response:
        """Return it, or that it has not changed."""
        headers = {
            "content-type": self.kind,
            "content-security-policy": _POLICY,
            "cache-control": "no-cache",
            "etag": self.tag,
            "vary": "accept-encoding",
        }
        known = {one.strip().removeprefix("W/") for one in _header(request, "if-none-match")}
        if self.tag in known:
            return Response(status_code=304, headers=headers)
        offered = {one.partition(";")[0].strip() for one in _header(request, "accept-encoding")}
        if "gzip" not in offered:
            return Response(self.body, headers=headers)
        return Response(self.packed, headers={**headers, "content-encoding": "gzip"})


def _header(request: Request, name: str) -> list[str]:
    return request.headers.get(name, "").split(",")


@dataclass(frozen=True, slots=True)
class StaticFiles:
    """All of them, by the path under the folder."""

    files: Mapping[str, StaticFile]

    @classmethod
    def read(cls) -> StaticFiles:
        """Read those of the package."""
        found = dict(_walk(resources.files("server.web") / "static", ""))
        return cls(MappingProxyType(found))

    def get(self, path: str) -> StaticFile:
        """Return a file.

        Raises:
            NotFoundError: There is none of that path.
        """
        file = self.files.get(path)
        if file is None:
            raise NotFoundError("the page has no such file; open / for the page")
        return file

    def catalogues(self) -> dict[str, dict[str, int]]:
        """Return the page's other languages: how many messages each has, by who translated them."""
        found = {path: file for path, file in self.files.items() if path.startswith(MESSAGES)}
        plain = {PurePosixPath(path).stem: json.loads(file.body) for path, file in found.items()}
        english = len(plain.pop("en")["messages"])
        return {
            code: {"hub": len(one["hub"]), "cldr": len(one["cldr"]), "all": english}
            for code, one in plain.items()
        }


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            found.append((prefix + entry.name, StaticFile.of(entry.name, entry.read_bytes())))
    return found
