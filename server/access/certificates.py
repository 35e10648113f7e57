"""The server's certificates, read again when their files change.

gRPC asks for them at every handshake, so that a renewed certificate serves the next connection and
those that are open stay open.
"""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

import grpc

from hub.errors import SettingsError
from hub.settings import Settings

_log = logging.getLogger("adapterhub.server")


class Certificates:
    """A certificate with its key, and whose clients are let in."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None = None) -> None:
        """Read the files.

        Raises:
            SettingsError: One cannot be read, or they do not go together.
        """
        self._cert, self._key, self._client_ca = cert, key, client_ca
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a secure port needs."""
        return grpc.dynamic_ssl_server_credentials(
            self._current,
            self.renewed,  # type: ignore[arg-type]  # None is allowed: nothing has changed
            require_client_authentication=self._client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """Return what a TLS socket of ours needs; renewed at the handshakes to come."""
        self._context = self._open()
        self._context.sni_callback = self._renew_context
        return self._context

    def _renew_context(self, connection: ssl.SSLObject, name: str | None, _: object) -> None:
        """Serve a handshake with the certificates as they are now; called at its beginning."""
        if self.renewed() is not None:
            self._context = self._open()
        if self._context is not connection.context:
            connection.context = self._context

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the certificates if they have changed, None if not. Called by gRPC's threads."""
        with self._lock:
            stamp = self._look()
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            try:
                self._current = self._read()
            except SettingsError as error:
                _log.error("the certificate stays as it was: %s", error.message)
                return None
            _log.info("read a new certificate from %s", self._cert)
            return self._current

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stat(path) for path in (self._cert, self._key, self._client_ca) if path)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        try:
            self._open()
            pair = self._key.read_bytes(), self._cert.read_bytes()
            roots = self._client_ca.read_bytes() if self._client_ca is not None else None
        except (OSError, ValueError) as error:  # SSLError is an OSError
            files = ", ".join(str(p) for p in (self._cert, self._key, self._client_ca) if p)
            raise SettingsError(
                f"cannot use the certificate of {files}: {error}; give PEM files whose key is not "
                "encrypted and belongs to the certificate",
                field="tls_cert",
            ) from None
        return grpc.ssl_server_certificate_configuration([pair], roots)

    def _open(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert, self._key, password=_no_password)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def open_certificates(settings: Settings) -> Certificates | None:
    """Return the certificates of the settings, None where there is no TLS.

    Raises:
        SettingsError: They are incomplete or not usable.
    """
    cert, key, client_ca = settings.tls_cert, settings.tls_key, settings.tls_client_ca
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        lacking = "tls_cert" if cert is None else "tls_key"
        raise SettingsError(f"{lacking} is missing; TLS needs tls_cert and tls_key", field=lacking)
    return Certificates(cert, key, client_ca)
