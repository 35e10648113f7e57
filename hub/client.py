"""A thin, typed gRPC client: for the command line, for tests and for users.

    with HubClient("127.0.0.1:50051") as client:
        reply = client.translate(["Monday"], "en", "ko", adapter="en-ko.bottleneck@prod")
        print(reply.items[0].text, reply.items[0].adapter_digest)

Every failure of a call is a HubError of the class that the server raised. An item that failed alone
carries its error; `ItemReply.text` is empty then. A list of texts that is longer than the server
takes at once is sent in several calls, which one version translates while a canary runs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hub.asking import Handling, Routing, request_of
from hub.call_errors import error_of_call
from hub.connecting import Deadline, Tls, open_channel, with_key
from hub.errors import HubError, InputError, ServerUnreachableError
from hub.feedback.sending import post_edits_message
from hub.loopback import is_loopback
from hub.pb.adapterhub.v1 import (
    adapter_service_pb2,
    adapter_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
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
    RouteInfo,
    TranslateReply,
    adapter_info,
    item_reply,
    loaded_adapter_info,
    route_info,
    translate_reply,
)
from hub.routing_keys import whole_key
from hub.splitting import (
    MAX_MESSAGE,
    allowed_contents,
    cut,
    joined,
    smaller_parts,
    text_too_large,
    unencodable,
)

if TYPE_CHECKING:
    from hub.feedback.records import PostEdit

__all__ = [
    "AdapterInfo",
    "Alternative",
    "Decoding",
    "Handling",
    "HubClient",
    "ItemReply",
    "ItemTimings",
    "LoadedAdapterInfo",
    "Quality",
    "RouteInfo",
    "Routing",
    "Tls",
    "TranslateReply",
]

DEFAULT_TIMEOUT: Final = 30.0
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
_AGAIN_SECONDS: Final = 0.1
"""Before a server is asked again that answered with an error, as one without a health service."""

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True)
class HubClient:
    """A connection to one server; share it between threads, close it when done.

    Attributes:
        target: "host:port".
        timeout: Seconds a call may take unless it says otherwise.
        key: Bearer key or token, "" for none.
        tls: How to know the server; None for a connection in clear.
    """

    target: str
    timeout: float = DEFAULT_TIMEOUT
    key: str = field(default="", repr=False)
    tls: Tls | None = None
    _channel: grpc.Channel = field(init=False, repr=False, compare=False)
    _max_contents: int = field(default=sys.maxsize, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the channel; the connection is made by the first call.

        Raises:
            InputError: The target, the key or a file of the TLS cannot be used.
        """
        if not self.target.strip() or not self.target.isprintable():
            raise InputError(
                f"{self.target!r} is not the address of a server; give host:port", field="target"
            )
        options = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        if is_loopback(self.target):  # gRPC would ask http_proxy for it
            options.append(("grpc.enable_http_proxy", 0))
        channel = open_channel(self.target, options, self.tls)
        object.__setattr__(self, "_channel", with_key(channel, self.key))

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
        handling: Handling | None = None,
        routing: Routing | None = None,
        timeout: float | None = None,
    ) -> TranslateReply:
        """Translate texts.

        Texts that are too many, or together too large, for one call are sent in several, one
        after the other. A text that cannot be sent (a lone surrogate has no UTF-8 form) fails
        alone, as one that the server refuses does.

        Args:
            contents: The texts.
            source: Their language; "" to have it detected, text by text.
            target: The language to translate into.
            adapter: A ref; "base" for the base model alone; "" for the server's route of the pair.
            decoding: Options of the search.
            num_alternatives: Further hypotheses for each text.
            handling: How the texts are taken.
            routing: Who translates, where no adapter is named.
            timeout: Seconds for all of it; the client's own by default.

        Raises:
            TextError: No text can be sent.
            HubError: What the server, or the way to it, answered.
        """
        unsent = unencodable(contents)
        if unsent and len(unsent) == len(contents):
            raise unsent[0]
        request = request_of(source, target, adapter, decoding, num_alternatives, handling, routing)
        sent = [text for index, text in enumerate(contents) if index not in unsent]
        seconds = self.timeout if timeout is None else timeout
        return joined(self._send(sent, request, Deadline.after(seconds)), unsent)

    def stream(
        self,
        text: str,
        source: str,
        target: str,
        *,
        adapter: str = "",
        decoding: Decoding | None = None,
        handling: Handling | None = None,
        routing: Routing | None = None,
        timeout: float | None = None,
    ) -> Iterator[str | ItemReply]:
        """Translate one text and yield its sentences as they are finished, then the item.

        Args:
            text: The text.
            source: As in `translate`, and so are the others.
            target: Likewise.
            adapter: Likewise.
            decoding: Likewise.
            handling: Likewise.
            routing: Likewise.
            timeout: Seconds for all of it; the client's own by default.

        Raises:
            HubError: What the server, or the way to it, answered.
        """
        stub = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        request = request_of(source, target, adapter, decoding, 0, handling, routing)
        request.contents.append(text)
        seconds = self.timeout if timeout is None else timeout
        try:
            for part in stub.StreamTranslateText(request, timeout=seconds):
                if part.HasField("segment"):
                    yield part.segment.translated_text
                elif part.HasField("translation"):
                    yield item_reply(part.translation)
        except grpc.RpcError as error:
            raise error_of_call(self.target, error, seconds) from None

    def detect(self, contents: Sequence[str]) -> list[list[tuple[str, float]]]:
        """Return the most probable languages of texts with their confidence, best first."""
        stub = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        request = translation_service_pb2.DetectLanguageRequest(contents=contents)
        reply = self._call(stub.DetectLanguage, request, None)
        return [
            [(one.language_code, one.confidence) for one in detection.languages]
            for detection in reply.detections
        ]

    def routes(self) -> list[RouteInfo]:
        """Return the server's routing table."""
        stub = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        reply = self._call(stub.ListRoutes, translation_service_pb2.ListRoutesRequest(), None)
        return [route_info(route) for route in reply.routes]

    def _send(
        self,
        contents: Sequence[str],
        request: translation_service_pb2.TranslateTextRequest,
        deadline: Deadline,
    ) -> list[TranslateReply]:
        """Send texts in one call, or in smaller ones where the server refuses one for its size."""
        if len(contents) > self._max_contents:
            return self._send_parts(cut(contents, self._max_contents), contents, request, deadline)
        stub = translation_service_pb2_grpc.TranslationServiceStub(self._channel)
        whole = translation_service_pb2.TranslateTextRequest(contents=contents)
        whole.MergeFrom(request)
        try:
            return [translate_reply(self._call(stub.TranslateText, whole, deadline))]
        except HubError as error:
            self._remember(error)
            smaller = smaller_parts(error, contents)
            if smaller is not None:
                return self._send_parts(smaller, contents, request, deadline)
            if len(contents) == 1 and MAX_MESSAGE in error.metadata:
                return [text_too_large(contents[0], error)]
            raise

    def _send_parts(
        self,
        parts: Iterable[Sequence[str]],
        contents: Sequence[str],
        request: translation_service_pb2.TranslateTextRequest,
        deadline: Deadline,
    ) -> list[TranslateReply]:
        """Send the parts of texts, which one version translates while a canary runs."""
        if not request.routing_key:
            request.routing_key = whole_key(request.target_language_code, contents)
        return [reply for part in parts for reply in self._send(part, request, deadline)]

    def _remember(self, error: HubError) -> None:
        """Keep what the server said about the texts of one call, for the calls to come."""
        limit = allowed_contents(error)
        if limit is not None:
            object.__setattr__(self, "_max_contents", limit)

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

    def load_adapter(
        self, ref: str, *, pin: bool = False, timeout: float | None = None
    ) -> LoadedAdapterInfo:
        """Load an adapter into the server's memory, and return where it is then.

        Args:
            ref: Which one.
            pin: Keep it in memory until `unload_adapter`.
            timeout: Seconds it may take; the client's own by default.

        Raises:
            PinLimitError: Pinned adapters would take more memory than they may.
        """
        stub = adapter_service_pb2_grpc.AdapterServiceStub(self._channel)
        request = adapter_service_pb2.LoadAdapterRequest(adapter=ref, pin=pin)
        return loaded_adapter_info(self._call(stub.LoadAdapter, request, timeout).adapter)

    def unload_adapter(self, ref: str) -> bool:
        """Drop an adapter from the server's memory; return whether it was there.

        Requests that run with it finish first.
        """
        stub = adapter_service_pb2_grpc.AdapterServiceStub(self._channel)
        request = adapter_service_pb2.UnloadAdapterRequest(adapter=ref)
        return bool(self._call(stub.UnloadAdapter, request, None).unloaded)

    def submit_post_edits(
        self, edits: Sequence[PostEdit], *, request_id: str = ""
    ) -> feedback_service_pb2.SubmitPostEditsResponse:
        """Store corrections of translations, all or none; once for each id."""
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(self._channel)
        return self._call(stub.SubmitPostEdits, post_edits_message(edits, request_id), None)

    def ask(
        self, stub: Callable[[grpc.Channel], Any], method: str, request: Any,
        timeout: float | None = None,
    ) -> Any:  # fmt: skip
        """Call a method of a service's generated stub; return its reply.

        Raises:
            HubError: What the server, or the way to it, answered.
        """
        return self._call(getattr(stub(self._channel), method), request, timeout)

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
                time.sleep(min(_AGAIN_SECONDS, max(0.0, deadline - time.monotonic())))
        raise ServerUnreachableError(
            f"{self.target} was not serving within {timeout:g} s; is `hub serve` running there?"
        )

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Reply],
        request: _Request,
        timeout: float | Deadline | None,
    ) -> _Reply:
        if not isinstance(timeout, Deadline):
            timeout = Deadline.after(self.timeout if timeout is None else timeout)
        try:
            return method(request, timeout=timeout.left)
        except grpc.RpcError as error:
            raise error_of_call(self.target, error, timeout.seconds) from None
