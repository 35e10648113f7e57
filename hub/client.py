"""A thin, typed gRPC client: for the command line, for tests and for users.

    with HubClient("127.0.0.1:50051") as client:
        reply = client.translate(["Monday"], "en", "ko", adapter="en-ko.bottleneck@prod")
        print(reply.items[0].text, reply.items[0].adapter_digest)

Every failure of a call is a HubError of the class that the server raised. An item that failed alone
carries its error; `ItemReply.text` is empty then.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeVar

import grpc
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from hub.errors import (
    DeadlineError,
    EngineError,
    HubError,
    OverloadedError,
    ServerUnreachableError,
    TextError,
)
from hub.pb.adapterhub.v1 import (
    adapter_service_pb2,
    adapter_service_pb2_grpc,
    translation_service_pb2,
    translation_service_pb2_grpc,
)
from hub.replies import (
    AdapterInfo,
    Alternative,
    Decoding,
    ItemReply,
    ItemTimings,
    LoadedAdapterInfo,
    Quality,
    TranslateReply,
    adapter_info,
    decoding_message,
    loaded_adapter_info,
    translate_reply,
)
from hub.wire_errors import from_status

__all__ = [
    "AdapterInfo",
    "Alternative",
    "Decoding",
    "HubClient",
    "ItemReply",
    "ItemTimings",
    "LoadedAdapterInfo",
    "Quality",
    "TranslateReply",
]

DEFAULT_TIMEOUT: Final = 30.0
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True)
class HubClient:
    """A connection to one server; share it between threads, close it when done.

    Attributes:
        target: "host:port".
        timeout: Seconds a call may take unless it says otherwise.
    """

    target: str
    timeout: float = DEFAULT_TIMEOUT
    _channel: grpc.Channel = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the channel; the connection is made by the first call."""
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        object.__setattr__(self, "_channel", grpc.insecure_channel(self.target, options=options))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        self._channel.close()

    def translate(
        self,
        contents: Sequence[str],
        source: str,
        target: str,
        *,
        adapter: str = "",
        decoding: Decoding | None = None,
        num_alternatives: int = 0,
        timeout: float | None = None,
    ) -> TranslateReply:
        """Translate texts with one adapter, or with the base model when `adapter` is empty.

        Raises:
            TextError: A text holds a lone surrogate, which has no UTF-8 form.
            HubError: What the server, or the way to it, answered.
        """
        _check_encodable(contents)
        request = translation_service_pb2.TranslateTextRequest(
            contents=contents,
            source_language_code=source,
            target_language_code=target,
            adapter=adapter,
            decoding=decoding_message(decoding or Decoding()),
            num_alternatives=num_alternatives,
        )
        stub = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        return translate_reply(self._call(stub.TranslateText, request, timeout))

    def list_adapters(self, name: str = "", *, latest_only: bool = False) -> list[AdapterInfo]:
        """Return every version in the server's registry, newest version of a name first."""
        stub = adapter_service_pb2_grpc.AdapterServiceStub(self._channel)
        request = adapter_service_pb2.ListAdaptersRequest(
            name=name, latest_only=latest_only, page_size=1000
        )
        found: list[AdapterInfo] = []
        while True:
            page = self._call(stub.ListAdapters, request, None)
            found += [adapter_info(adapter) for adapter in page.adapters]
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    def get_adapter(self, ref: str) -> AdapterInfo:
        """Resolve a ref to the version it means now."""
        stub = adapter_service_pb2_grpc.AdapterServiceStub(self._channel)
        request = adapter_service_pb2.GetAdapterRequest(adapter=ref)
        return adapter_info(self._call(stub.GetAdapter, request, None).adapter)

    def list_loaded_adapters(self) -> list[LoadedAdapterInfo]:
        """Return what the server holds in memory, the most recently used first."""
        stub = adapter_service_pb2_grpc.AdapterServiceStub(self._channel)
        request = adapter_service_pb2.ListLoadedAdaptersRequest()
        reply = self._call(stub.ListLoadedAdapters, request, None)
        return [loaded_adapter_info(adapter) for adapter in reply.adapters]

    def is_serving(self, *, timeout: float | None = None) -> bool:
        """Ask the standard health service whether the server accepts translations."""
        stub = health_pb2_grpc.HealthStub(self._channel)
        reply = self._call(stub.Check, health_pb2.HealthCheckRequest(), timeout)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    def wait_until_serving(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Wait for the server to come up and pass its warm-up.

        Raises:
            ServerUnreachableError: It did not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        stub = health_pb2_grpc.HealthStub(self._channel)
        while (left := deadline - time.monotonic()) > 0:
            try:
                for reply in stub.Watch(
                    health_pb2.HealthCheckRequest(), timeout=left, wait_for_ready=True
                ):
                    if reply.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.RpcError:
                continue
        raise ServerUnreachableError(
            f"{self.target} was not serving within {timeout:g} s; is `hub serve` running there?"
        )

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        timeout: float | None,
    ) -> _Reply:
        seconds = self.timeout if timeout is None else timeout
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise self._hub_error(error, seconds) from None

    def _hub_error(self, error: grpc.RpcError, seconds: float) -> HubError:
        if not isinstance(error, grpc.Call):
            return EngineError(f"the call to {self.target} failed: {error}")
        status = rpc_status.from_call(error)
        if status is not None:
            return from_status(status) or EngineError(f"{self.target} failed without a status")
        code: grpc.StatusCode = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineError(
                f"no reply from {self.target} within {seconds:g} s; allow more time or send less"
            )
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServerUnreachableError(
                f"no server answers at {self.target}; start one with `hub serve` or name another "
                "address"
            )
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return OverloadedError(f"{self.target} refused: {error.details()}; send less at once")
        number, _ = code.value
        plain = Status(code=number, message=f"{self.target}: {error.details() or code.name}")
        return from_status(plain) or EngineError(plain.message)


def _check_encodable(contents: Sequence[str]) -> None:
    for index, text in enumerate(contents):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise TextError(
                f"text {index} has a lone surrogate at character {error.start}; "
                "decode the input as UTF-8 or replace it",
                field=f"contents[{index}]",
            ) from None
