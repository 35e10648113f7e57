"""The two services: read the request, ask the application, write the reply.

No handler here catches an error: `server.grpc.interceptors` turns every one into a status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from hub.errors import InputError, NotFoundError
from hub.pb.adapterhub.v1 import adapter_service_pb2 as adapter_pb
from hub.pb.adapterhub.v1 import adapter_service_pb2_grpc as adapter_grpc
from hub.pb.adapterhub.v1 import translation_service_pb2 as translation_pb
from hub.pb.adapterhub.v1 import translation_service_pb2_grpc as translation_grpc
from hub.refs import is_digest
from hub.registry import AdapterVersion, Registry
from server.access.identity import Identity, current_identity
from server.access.permits import Permit
from server.catalog import Filter, list_page
from server.core import Core
from server.grpc.canaries import end_canary, list_canaries, move_alias
from server.grpc.convert import (
    BaseIdentity,
    adapter_of,
    command_of,
    detected_of,
    loaded_of,
    pair_of,
    part_of,
    response_of,
    route_of,
)
from server.messages import LoadedAdapter, TranslateResult
from server.telemetry.calls import note_command, note_result
from server.translation.routes import list_pairs

if TYPE_CHECKING:
    import grpc.aio

    TranslateContext = grpc.aio.ServicerContext[
        translation_pb.TranslateTextRequest, translation_pb.TranslateTextResponse
    ]

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_NamesAdapter = (
    adapter_pb.GetAdapterRequest | adapter_pb.LoadAdapterRequest | adapter_pb.UnloadAdapterRequest
)


@dataclass(frozen=True, slots=True)
class TranslationServicer(translation_grpc.TranslationServiceServicer):
    """Translates.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
        pool: Threads for what blocks.
    """

    core: Callable[[], Core]
    pool: Executor

    async def TranslateText(
        self, request: translation_pb.TranslateTextRequest, context: TranslateContext
    ) -> translation_pb.TranslateTextResponse:
        """Translate every item of the request."""
        core = self.core()
        command = command_of(request, _deadline(context))
        note_command(command)
        result = await core.translator.translate(command)
        note_result(result)
        return response_of(result, _identity(core))

    async def StreamTranslateText(
        self,
        request: translation_pb.TranslateTextRequest,
        context: grpc.aio.ServicerContext[
            translation_pb.TranslateTextRequest, translation_pb.StreamTranslateTextResponse
        ],
    ) -> AsyncIterator[translation_pb.StreamTranslateTextResponse]:
        """Translate, sentence by sentence."""
        core = self.core()
        command = command_of(request, _deadline(context))
        note_command(command)
        async for part in core.translator.stream(command):
            if isinstance(part, TranslateResult):
                note_result(part)
            yield part_of(part, _identity(core))

    async def DetectLanguage(
        self,
        request: translation_pb.DetectLanguageRequest,
        context: grpc.aio.ServicerContext[
            translation_pb.DetectLanguageRequest, translation_pb.DetectLanguageResponse
        ],
    ) -> translation_pb.DetectLanguageResponse:
        """Tell the language of every text."""
        translator = self.core().translator
        found = await asyncio.get_running_loop().run_in_executor(
            self.pool, translator.detect, tuple(request.contents), request.mime_type
        )
        return translation_pb.DetectLanguageResponse(
            detections=[
                translation_pb.DetectedLanguages(languages=[detected_of(one) for one in languages])
                for languages in found
            ]
        )

    async def ListLanguagePairs(
        self,
        request: translation_pb.ListLanguagePairsRequest,
        context: grpc.aio.ServicerContext[
            translation_pb.ListLanguagePairsRequest, translation_pb.ListLanguagePairsResponse
        ],
    ) -> translation_pb.ListLanguagePairsResponse:
        """List what can be translated, and by what."""
        permit = current_identity().permit
        return await asyncio.get_running_loop().run_in_executor(
            self.pool, _language_pairs, self.core(), request, permit
        )

    async def ListRoutes(
        self,
        request: translation_pb.ListRoutesRequest,
        context: grpc.aio.ServicerContext[
            translation_pb.ListRoutesRequest, translation_pb.ListRoutesResponse
        ],
    ) -> translation_pb.ListRoutesResponse:
        """List the routing table."""
        permit = current_identity().permit
        return await asyncio.get_running_loop().run_in_executor(
            self.pool, _routes, self.core(), permit
        )


def _language_pairs(
    core: Core, request: translation_pb.ListLanguagePairsRequest, permit: Permit
) -> translation_pb.ListLanguagePairsResponse:
    """List pairs: 40,000 of them on a base of 200 languages, which takes its time."""
    pairs = list_pairs(
        core.routes().permitted(permit),
        core.translator.router.languages,
        request.source_language_code,
        request.target_language_code,
    )
    return translation_pb.ListLanguagePairsResponse(
        pairs=[pair_of(pair) for pair in pairs],
        language_codes=sorted(core.translator.router.languages),
    )


def _routes(core: Core, permit: Permit) -> translation_pb.ListRoutesResponse:
    entries = core.routes().permitted(permit).sorted()
    return translation_pb.ListRoutesResponse(routes=[route_of(entry) for entry in entries])


def _identity(core: Core) -> BaseIdentity:
    return BaseIdentity(core.base.name, core.base.digest, core.settings.quantization)


def _deadline(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


@dataclass(frozen=True, slots=True)
class AdapterServicer(adapter_grpc.AdapterServiceServicer):
    """Lists adapters, and brings them into memory and out of it.

    Attributes:
        core: As for TranslationServicer.
        pool: Threads for the registry, which blocks.
    """

    core: Callable[[], Core]
    pool: Executor

    async def ListAdapters(
        self,
        request: adapter_pb.ListAdaptersRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.ListAdaptersRequest, adapter_pb.ListAdaptersResponse
        ],
    ) -> adapter_pb.ListAdaptersResponse:
        """List versions, a page at a time."""
        wanted = Filter(
            name=request.name,
            source=request.source_language_code,
            target=request.target_language_code,
            latest_only=request.latest_only,
            permit=current_identity().permit,
        )
        page, token = await asyncio.get_running_loop().run_in_executor(
            self.pool,
            list_page,
            self.core().registry,
            wanted,
            request.page_size,
            request.page_token,
        )
        return adapter_pb.ListAdaptersResponse(
            adapters=[adapter_of(version) for version in page], next_page_token=token
        )

    async def GetAdapter(
        self,
        request: adapter_pb.GetAdapterRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.GetAdapterRequest, adapter_pb.GetAdapterResponse
        ],
    ) -> adapter_pb.GetAdapterResponse:
        """Resolve a ref."""
        return adapter_pb.GetAdapterResponse(adapter=adapter_of(await self._resolve(request)))

    async def _resolve(self, request: _NamesAdapter) -> AdapterVersion:
        """Return what a request's ref means now, read from the registry itself."""
        if not request.adapter.strip():
            raise InputError("adapter is empty; give a ref such as 'name@alias'", field="adapter")
        return await asyncio.get_running_loop().run_in_executor(
            self.pool,
            current_identity().permit.resolve,
            self.core().registry.resolve,
            request.adapter,
        )

    async def LoadAdapter(
        self,
        request: adapter_pb.LoadAdapterRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.LoadAdapterRequest, adapter_pb.LoadAdapterResponse
        ],
    ) -> adapter_pb.LoadAdapterResponse:
        """Bring an adapter into memory, and keep it there where that is asked for."""
        version = await self._resolve(request)
        loaded = await asyncio.wrap_future(
            self.core().worker.load(version.digest, version.bytes, pin=request.pin)
        )
        (adapter,) = loaded_of([loaded], {version.digest: version.ref})
        return adapter_pb.LoadAdapterResponse(adapter=adapter)

    async def UnloadAdapter(
        self,
        request: adapter_pb.UnloadAdapterRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.UnloadAdapterRequest, adapter_pb.UnloadAdapterResponse
        ],
    ) -> adapter_pb.UnloadAdapterResponse:
        """Unpin an adapter and drop it from memory once nothing runs with it.

        A whole digest is not looked up, unless the caller may not use everything: what is in
        memory may have left the registry.
        """
        digest = request.adapter.strip().lower()
        if not is_digest(digest) or not current_identity().permit.everything:
            digest = (await self._resolve(request)).digest
        unloaded = await asyncio.wrap_future(self.core().worker.unload(digest))
        return adapter_pb.UnloadAdapterResponse(unloaded=unloaded)

    async def ListLoadedAdapters(
        self,
        request: adapter_pb.ListLoadedAdaptersRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.ListLoadedAdaptersRequest, adapter_pb.ListLoadedAdaptersResponse
        ],
    ) -> adapter_pb.ListLoadedAdaptersResponse:
        """List what is in memory."""
        core = self.core()
        loaded = await asyncio.wrap_future(core.worker.inspect())
        names = await asyncio.get_running_loop().run_in_executor(
            self.pool, _names, core.registry, loaded
        )
        permit = current_identity().permit
        if not permit.everything:
            own = {digest for digest, ref in names.items() if permit.allows(ref.split(":")[0])}
            loaded = tuple(one for one in loaded if one.digest in own)
        return adapter_pb.ListLoadedAdaptersResponse(
            adapters=loaded_of(loaded, names),
            slots=core.settings.slots,
            device_bytes_limit=core.settings.device_adapter_bytes,
            host_bytes_limit=core.settings.host_adapter_bytes,
        )

    async def SetAlias(
        self,
        request: adapter_pb.SetAliasRequest,
        context: grpc.aio.ServicerContext[adapter_pb.SetAliasRequest, adapter_pb.SetAliasResponse],
    ) -> adapter_pb.SetAliasResponse:
        """Move an alias, if it points where the caller says, or start a canary behind it."""
        return await self._off_loop(move_alias, request)

    async def ListCanaries(
        self,
        request: adapter_pb.ListCanariesRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.ListCanariesRequest, adapter_pb.ListCanariesResponse
        ],
    ) -> adapter_pb.ListCanariesResponse:
        """List canaries."""
        return await self._off_loop(list_canaries, request)

    async def EndCanary(
        self,
        request: adapter_pb.EndCanaryRequest,
        context: grpc.aio.ServicerContext[
            adapter_pb.EndCanaryRequest, adapter_pb.EndCanaryResponse
        ],
    ) -> adapter_pb.EndCanaryResponse:
        """Promote or cancel the canary behind an alias."""
        return await self._off_loop(end_canary, request)

    async def _off_loop(
        self, function: Callable[[Core, Identity, _Request], _Reply], request: _Request
    ) -> _Reply:
        return await asyncio.get_running_loop().run_in_executor(
            self.pool, function, self.core(), current_identity(), request
        )


def _names(registry: Registry, loaded: Sequence[LoadedAdapter]) -> dict[str, str]:
    names: dict[str, str] = {}
    for adapter in loaded:
        try:
            names[adapter.digest] = registry.resolve(adapter.digest).ref
        except NotFoundError:
            continue
    return names
