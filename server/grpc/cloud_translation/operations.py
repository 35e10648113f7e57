"""Operations that are done when they are returned, and can be asked for a while."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from google.protobuf.message import Message

from hub.errors import NotFoundError
from hub.pb.google.longrunning import operations_pb2 as pb
from hub.pb.google.longrunning import operations_pb2_grpc as grpc_pb
from server.access.identity import current_identity

if TYPE_CHECKING:
    import grpc.aio

KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Operations(grpc_pb.OperationsServicer):
    """The last operations of all callers; each caller sees its own."""

    _kept: OrderedDict[tuple[str, str], pb.Operation] = field(default_factory=OrderedDict)

    def done(self, parent: str, metadata: Message, response: Message) -> pb.Operation:
        """Return an operation that has succeeded, and keep it."""
        operation = pb.Operation(name=f"{parent}/operations/{secrets.token_hex(8)}", done=True)
        operation.metadata.Pack(metadata)
        operation.response.Pack(response)
        self._kept[current_identity().tenant, operation.name] = operation
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return operation

    async def GetOperation(
        self,
        request: pb.GetOperationRequest,
        context: grpc.aio.ServicerContext[pb.GetOperationRequest, pb.Operation],
    ) -> pb.Operation:
        """Return an operation."""
        found = self._kept.get((current_identity().tenant, request.name))
        if found is None:
            raise NotFoundError(
                f"no operation is named {request.name[:100]!r}; the last {KEPT} of this server are "
                "kept, until it ends",
                field="name",
            )
        return found
