"""The gRPC server itself: services, health, reflection, ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from hub.errors import PortInUseError
from hub.pb.adapterhub.v1 import (
    adapter_service_pb2,
    adapter_service_pb2_grpc,
    glossary_service_pb2,
    glossary_service_pb2_grpc,
    translation_service_pb2,
    translation_service_pb2_grpc,
)
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.pb.google.cloud.translation.v3 import translation_service_pb2_grpc as google_grpc
from hub.pb.google.longrunning import operations_pb2, operations_pb2_grpc
from hub.settings import Settings
from server.access.certificates import open_certificates
from server.access.credentials import open_credentials
from server.core import Core
from server.grpc.access import AccessInterceptor
from server.grpc.authorization import AuthorizationInterceptor
from server.grpc.cloud_translation.glossary_methods import GlossaryMethods
from server.grpc.cloud_translation.operations import Operations
from server.grpc.cloud_translation.service import CloudTranslationServicer
from server.grpc.glossary_service import GlossaryServicer
from server.grpc.interceptors import BoundaryInterceptor, Calls
from server.grpc.reflected import pool_of
from server.grpc.service import AdapterServicer, TranslationServicer
from server.grpc.tracing import tracing_of
from server.telemetry.access import AccessLog
from server.telemetry.metrics import Metrics
from server.telemetry.traces import CallTracer

SERVICES: Final = (
    translation_service_pb2.DESCRIPTOR.services_by_name["TranslationService"].full_name,
    adapter_service_pb2.DESCRIPTOR.services_by_name["AdapterService"].full_name,
    glossary_service_pb2.DESCRIPTOR.services_by_name["GlossaryService"].full_name,
    google_pb.DESCRIPTOR.services_by_name["TranslationService"].full_name,
)
OPERATIONS: Final = operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name
_FILES: Final = (
    translation_service_pb2.DESCRIPTOR,
    adapter_service_pb2.DESCRIPTOR,
    glossary_service_pb2.DESCRIPTOR,
    google_pb.DESCRIPTOR,
    operations_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)
"""Of all services, for reflection."""
SETTLE_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 2.0
"""For the last answers on their way out, while callers may go on calling."""
STREAM_SECONDS: Final = 0.2
"""Grace for open streams (health watches) once every call has ended."""


class Edge:
    """The listening server; not serving until it is told to."""

    def __init__(
        self,
        settings: Settings,
        core: Callable[[], Core],
        metrics: Metrics,
        pool: Executor,
        access: AccessLog,
        tracer: CallTracer | None = None,
    ) -> None:
        """Prepare the server; must be called on the event loop that will run it.

        Raises:
            SettingsError: Callers are not asked who they are, or the certificates are not usable.
            KeyFileError: The keys of callers cannot be read.
        """
        self._certificates = open_certificates(settings)
        self._settings = settings
        self._calls = Calls()
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server = grpc.aio.server(
            interceptors=[
                *tracing_of(tracer),
                AccessInterceptor(access),
                BoundaryInterceptor(metrics, self._calls),
                AuthorizationInterceptor(open_credentials(settings, pool)),
            ],
            options=[
                # A second server on the same port must fail, not take half of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", int(settings.max_message_bytes)),
                ("grpc.max_send_message_length", -1),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        translation_service_pb2_grpc.add_TranslationServiceServicer_to_server(
            TranslationServicer(core, pool), self._server
        )
        adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server(
            AdapterServicer(core, pool), self._server
        )
        glossary_service_pb2_grpc.add_GlossaryServiceServicer_to_server(
            GlossaryServicer(core, pool), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._add_google(core, pool)
        names = (*SERVICES, OPERATIONS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool_of(_FILES))

    def _add_google(self, core: Callable[[], Core], pool: Executor) -> None:
        operations = Operations()
        glossaries = GlossaryMethods(core, pool, operations)
        google_grpc.add_TranslationServiceServicer_to_server(
            cast(
                google_grpc.TranslationServiceServicer,  # some of its methods by name
                CloudTranslationServicer(core, pool, glossaries),
            ),
            self._server,
        )
        operations_pb2_grpc.add_OperationsServicer_to_server(operations, self._server)

    async def start(self) -> int:
        """Listen, not serving yet; return the port.

        Raises:
            PortInUseError: Another process listens there.
        """
        await self.set_serving(False)
        address = join_address(self._settings.host, self._settings.port)
        try:
            port = self._add_port(address)
        except RuntimeError:
            port = 0
        if not port:
            raise PortInUseError(
                f"cannot listen on {address}: the port is in use or not ours to use; choose "
                "another with --port (0 picks a free one)"
            )
        await self._server.start()
        return port

    def _add_port(self, address: str) -> int:
        if self._certificates is None:
            return self._server.add_insecure_port(address)
        return self._server.add_secure_port(address, self._certificates.credentials())

    async def set_serving(self, serving: bool) -> None:
        """Tell the health service's askers and watchers."""
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if serving else response.NOT_SERVING
        for name in ("", *SERVICES):
            await self._health.set(name, status)

    async def drain(self, seconds: float) -> None:
        """Refuse what is new and let calls in progress end, for at most `seconds`.

        The port stays open meanwhile. gRPC hands calls over one by one, and cuts off without a
        word those that it has received and not yet handed over when it stops; so each is taken and
        told to go elsewhere, until none has come for a while.
        """
        await self._health.enter_graceful_shutdown()
        self._calls.refusing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._calls.wait_idle()

    async def stop(self) -> None:
        """Stop after draining; calls in progress must be about to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._settle()
        await self._server.stop(STREAM_SECONDS)

    async def _settle(self) -> None:
        """Wait until no call is in progress and none has begun for a while."""
        begun = -1
        while begun != self._calls.begun or not self._calls.idle:
            await self._calls.wait_idle()
            begun = self._calls.begun
            await asyncio.sleep(SETTLE_SECONDS)

    async def stop_now(self) -> None:
        """Cut every call off."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(None)


def join_address(host: str, port: int) -> str:
    """Return "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
