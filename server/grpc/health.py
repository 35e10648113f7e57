"""The standard health service, with the method that its library leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health, health_pb2

if TYPE_CHECKING:
    import grpc.aio

    Context = grpc.aio.ServicerContext[Any, Any]


class Health(health.aio.HealthServicer):  # type: ignore[misc,name-defined]
    """Tells whether each service serves."""

    def __init__(self, names: Sequence[str]) -> None:
        """Serve nothing yet.

        Args:
            names: Services that are told of, "" for the whole server among them.
        """
        super().__init__()
        self._names = names

    async def set_all(self, *, serving: bool) -> None:
        """Tell those who ask, and those who watch."""
        response = health_pb2.HealthCheckResponse
        for name in self._names:
            await self.set(name, response.SERVING if serving else response.NOT_SERVING)

    async def List(
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """Tell of every service at once."""
        found = {
            name: await self.Check(health_pb2.HealthCheckRequest(service=name), context)
            for name in self._names
        }
        return health_pb2.HealthListResponse(statuses=found)
