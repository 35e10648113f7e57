"""What protects people who use a browser: theirs is a machine that runs strangers' scripts.

A page of another site can make a browser send requests here, from inside of a network that we
trust. So a request that a browser marks as another site's is refused unless the settings allow the
site; and a server that asks nobody who they are answers only to its own names, which a page cannot
take over by changing its DNS entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.errors import ScopeError
from hub.loopback import is_loopback
from hub.settings import Settings

CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, and no script or style inside of a page."""

HEADERS: Final = MappingProxyType(
    {
        "content-security-policy": CONTENT_POLICY,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }
)
_TRANSPORT: Final = ("strict-transport-security", "max-age=31536000")
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_FOREIGN: Final = ("cross-site", "same-site")


@dataclass(frozen=True, slots=True)
class BrowserPolicy:
    """Whose requests are answered.

    Attributes:
        origins: Other sites whose pages may call, as "https://host"; "*" for all.
        hosts: Names that this server answers to; None for any.
    """

    origins: frozenset[str] = frozenset()
    hosts: frozenset[str] | None = None

    @classmethod
    def of(cls, settings: Settings, *, asks: bool) -> Self:
        """Return the policy of the settings.

        Args:
            settings: Name allowed origins and hosts.
            asks: Whether callers are asked who they are.
        """
        named = frozenset(one.lower() for one in settings.http_hosts)
        everything = asks or not is_loopback(settings.host)
        hosts = named or None if everything else named | {settings.host.strip("[]").lower()}
        return cls(frozenset(one.rstrip("/").lower() for one in settings.http_origins), hosts)

    def check(self, request: Request) -> None:
        """Refuse a request that another site made, or that is meant for another host.

        Raises:
            ScopeError: It is.
        """
        host = request.headers.get("host", "")
        if self.hosts is not None:
            self._check_host(host)
        origin = request.headers.get("origin", "").lower()
        if origin and _parsed(origin).netloc != host.lower() and not self._allows(origin):
            raise ScopeError(
                f"pages of {origin[:100]!r} may not call this server; allow it with --http-origins"
            )
        foreign = request.headers.get("sec-fetch-site", "") in _FOREIGN
        if not origin and foreign and request.method not in _SAFE:
            raise ScopeError(
                "this request was made by a page of another site, which does not say which"
            )

    def _allows(self, origin: str) -> bool:
        return "*" in self.origins or origin in self.origins

    def _check_host(self, host: str) -> None:
        assert self.hosts is not None
        name = _parsed(f"//{host}").hostname or ""
        if name not in self.hosts and not is_loopback(name):
            raise ScopeError(
                f"this server does not answer to the name {name[:100]!r}; add it with --http-hosts"
            )


def _parsed(address: str) -> SplitResult:
    """Return the parts of an address; one that cannot be read has none, and so is nobody's."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class SafetyHeaders:
    """Adds the headers of browsers' safety to every reply that does not set them itself."""

    def __init__(self, app: ASGIApp, *, encrypted: bool) -> None:
        """Wrap an application; `encrypted` where it is served over TLS."""
        self._app = app
        headers = [*HEADERS.items(), *([_TRANSPORT] if encrypted else [])]
        self._headers = [(name.encode(), value.encode()) for name, value in headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                added = [header for header in self._headers if header[0] not in there]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, send_safely)
