"""The gRPC server itself: services, health, reflection, ports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from hub.errors import PortInUseError
from hub.pb.adapterhub.v1 import (
    adapter_service_pb2,
    adapter_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    glossary_service_pb2,
    glossary_service_pb2_grpc,
    translation_service_pb2,
    translation_service_pb2_grpc,
)
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.pb.google.cloud.translation.v3 import translation_service_pb2_grpc as google_grpc
from hub.pb.google.longrunning import operations_pb2, operations_pb2_grpc
from server.access.certificates import open_certificates
from server.entrance import Entrance
from server.grpc.access import AccessInterceptor
from server.grpc.authorization import AuthorizationInterceptor
from server.grpc.cloud_translation.glossary_methods import GlossaryMethods
from server.grpc.cloud_translation.operations import Operations
from server.grpc.cloud_translation.service import CloudTranslationServicer
from server.grpc.feedback_service import FeedbackServicer
from server.grpc.glossary_service import GlossaryServicer
from server.grpc.health import Health
from server.grpc.interceptors import BoundaryInterceptor
from server.grpc.reflected import pool_of
from server.grpc.service import AdapterServicer, TranslationServicer
from server.grpc.shedding import Shedding, SheddingInterceptor
from server.grpc.tracing import tracing_of

SERVICES: Final = (
    translation_service_pb2.DESCRIPTOR.services_by_name["TranslationService"].full_name,
    adapter_service_pb2.DESCRIPTOR.services_by_name["AdapterService"].full_name,
    glossary_service_pb2.DESCRIPTOR.services_by_name["GlossaryService"].full_name,
    feedback_service_pb2.DESCRIPTOR.services_by_name["FeedbackService"].full_name,
    google_pb.DESCRIPTOR.services_by_name["TranslationService"].full_name,
)
OPERATIONS: Final = operations_pb2.DESCRIPTOR.services_by_name["Operations"].full_name
_FILES: Final = (
    translation_service_pb2.DESCRIPTOR,
    adapter_service_pb2.DESCRIPTOR,
    glossary_service_pb2.DESCRIPTOR,
    feedback_service_pb2.DESCRIPTOR,
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


class _ByName:
    """Lets services add handlers that are found by name, and registers none of their methods.

    For each registered method grpc.aio keeps a request of its own open, and waits on all of them
    again for every call: with our two dozen that was a third of what it took to refuse one.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._to = server

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler[Any, Any]]
    ) -> None:
        self._to.add_generic_rpc_handlers(generic_rpc_handlers)

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Leave them to be found by name."""


class Edge:
    """The listening server; not serving until it is told to."""

    def __init__(self, entrance: Entrance) -> None:
        """Prepare the server; must be called on the event loop that will run it.

        Raises:
            SettingsError: The certificates are not usable.
        """
        self._certificates = open_certificates(entrance.settings)
        self._settings = entrance.settings
        self._calls = entrance.calls
        self._health = Health(("", *SERVICES))
        shedding = Shedding(
            entrance.core, entrance.guard, entrance.calls, entrance.metrics, entrance.access
        )
        self._server = grpc.aio.server(
            interceptors=[
                SheddingInterceptor(shedding),
                *tracing_of(entrance.tracer),
                AccessInterceptor(entrance.access),
                BoundaryInterceptor(entrance.metrics, entrance.calls),
                AuthorizationInterceptor(entrance.guard),
            ],
            options=[
                # A second server on the same port must fail, not take half of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", int(self._settings.max_message_bytes)),
                ("grpc.max_send_message_length", -1),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._add_services(cast(grpc.aio.Server, _ByName(self._server)), entrance)

    def _add_services(self, server: grpc.aio.Server, entrance: Entrance) -> None:
        core, pool = entrance.core, entrance.pool
        translation_service_pb2_grpc.add_TranslationServiceServicer_to_server(
            TranslationServicer(core, pool), server
        )
        adapter_service_pb2_grpc.add_AdapterServiceServicer_to_server(
            AdapterServicer(core, pool), server
        )
        glossary_service_pb2_grpc.add_GlossaryServiceServicer_to_server(
            GlossaryServicer(core, pool), server
        )
        feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(
            FeedbackServicer(core), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        _add_google(server, entrance)
        names = (*SERVICES, OPERATIONS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        # It looks at the server's class.
        reflection.enable_server_reflection(names, self._server, pool_of(_FILES))

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
        await self._health.set_all(serving=serving)

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


def _add_google(server: grpc.aio.Server, entrance: Entrance) -> None:
    core, pool = entrance.core, entrance.pool
    operations = Operations()
    glossaries = GlossaryMethods(core, pool, operations)
    google_grpc.add_TranslationServiceServicer_to_server(
        cast(
            google_grpc.TranslationServiceServicer,  # some of its methods by name
            CloudTranslationServicer(core, pool, entrance.files, entrance.open_files, glossaries),
        ),
        server,
    )
    operations_pb2_grpc.add_OperationsServicer_to_server(operations, server)


def join_address(host: str, port: int) -> str:
    """Return "host:port", an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
