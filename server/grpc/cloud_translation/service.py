"""google.cloud.translation.v3.TranslationService: reads the request, asks the application.

No handler here catches an error: `server.grpc.interceptors` turns every one into a status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from hub.documents import format_of
from hub.errors import InputError
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as pb
from hub.pb.google.longrunning import operations_pb2
from hub.registry import AdapterVersion
from server.access.charging import charge
from server.access.identity import current_identity
from server.catalog import Filter, list_page
from server.core import Core
from server.grpc.cloud_translation.glossary_methods import GlossaryMethods
from server.grpc.cloud_translation.language_names import display_names
from server.grpc.cloud_translation.messages import (
    DEFAULT_MIME_TYPE,
    command_of,
    file_command_of,
    glossary_of,
    model_of,
    translations_of,
)
from server.grpc.cloud_translation.names import adapter_ref, check_parent, child, model_name
from server.grpc.cloud_translation.refusals import Refusals
from server.telemetry.calls import note_command, note_result
from server.translation.files import open_file, translate_file
from server.translation.long_lists import raise_first, translate_list

if TYPE_CHECKING:
    import grpc.aio

    Context = grpc.aio.ServicerContext[Any, Any]

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class CloudTranslationServicer(Refusals):
    """Translates, for Google's clients.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
        pool: Threads for what blocks.
        files: Threads for reading and writing files.
        open_files: Files that are held opened at once, by all doors.
        glossaries: The methods about glossaries.
    """

    core: Callable[[], Core]
    pool: Executor
    files: Executor
    open_files: asyncio.Semaphore
    glossaries: GlossaryMethods

    async def TranslateText(
        self, request: pb.TranslateTextRequest, context: Context
    ) -> pb.TranslateTextResponse:
        """Translate texts; with a glossary once without it and once with it, as there."""
        translator = self.core().translator
        command = command_of(request, _deadline(context))
        glossary = glossary_of(request.glossary_config)
        note_command(command)
        result = await translate_list(translator, command)
        response = pb.TranslateTextResponse()
        if not glossary.empty:
            forced = await translate_list(translator, replace(command, glossary=glossary))
            raise_first(forced)
            response.glossary_translations.extend(
                translations_of(forced, request, request.glossary_config)
            )
        note_result(result)
        raise_first(result)
        response.translations.extend(translations_of(result, request))
        return response

    async def DetectLanguage(
        self, request: pb.DetectLanguageRequest, context: Context
    ) -> pb.DetectLanguageResponse:
        """Tell the language of a text."""
        check_parent(request.parent)
        if request.model and not request.model.endswith("/models/language-detection/default"):
            raise InputError(
                f"model {request.model[:80]!r} detects no languages; leave it out", field="model"
            )
        mime_type = request.mime_type or DEFAULT_MIME_TYPE
        translator = self.core().translator
        (found,) = await self._off_loop(translator.detect, (request.content,), mime_type)
        return pb.DetectLanguageResponse(
            languages=[
                pb.DetectedLanguage(language_code=one.language, confidence=one.confidence)
                for one in found
            ]
        )

    async def GetSupportedLanguages(
        self, request: pb.GetSupportedLanguagesRequest, context: Context
    ) -> pb.SupportedLanguages:
        """List the languages of the base, or the two of an adapter."""
        check_parent(request.parent)
        codes = self.core().translator.router.languages
        sources = targets = codes
        ref = adapter_ref(request.model)
        if ref and ref != "base":
            pair = (await self._resolve(ref)).manifest.language_pair
            sources, targets = frozenset((pair.source,)), frozenset((pair.target,))
        names = await self._off_loop(
            display_names, sorted(sources | targets), request.display_language_code
        )
        return pb.SupportedLanguages(
            languages=[
                pb.SupportedLanguage(
                    language_code=code,
                    display_name=name,
                    support_source=code in sources,
                    support_target=code in targets,
                )
                for code, name in names.items()
            ]
        )

    async def TranslateDocument(
        self, request: pb.TranslateDocumentRequest, context: Context
    ) -> pb.TranslateDocumentResponse:
        """Translate a file that came with the request."""
        command = file_command_of(request, _deadline(context))
        given = request.document_input_config
        if given.WhichOneof("source") != "content":
            raise InputError(
                "the file is not read from other storage; send it as document_input_config.content",
                field="document_input_config.content",
            )
        kind = format_of(given.mime_type or "text/plain")
        note_command(command)
        async with self.open_files:
            opened = await asyncio.get_running_loop().run_in_executor(
                self.files, open_file, kind, given.content, command.source, command.target
            )
            charge(opened.characters)
            made = await translate_file(self.core().translator, command, opened, self.files)
        note_result(made.result)
        versions = {item.adapter_version for item in made.result.items if item.segments}
        document = pb.DocumentTranslation(
            byte_stream_outputs=[made.data],
            mime_type=kind.mime_type,
            detected_language_code="" if made.detected is None else made.detected.language,
        )
        response = pb.TranslateDocumentResponse(
            document_translation=document,
            model=model_name(request.parent, versions.pop() if len(versions) == 1 else ""),
        )
        if not command.glossary.empty:
            response.glossary_document_translation.CopyFrom(document)
            response.glossary_config.CopyFrom(request.glossary_config)
        return response

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """List adapters, every version."""
        parent = check_parent(request.parent)
        if request.filter:
            raise InputError("filter is not served; leave it out", field="filter")
        wanted = Filter(permit=current_identity().permit)
        page, token = await self._off_loop(
            list_page,
            self.core().registry,
            wanted,
            min(request.page_size, 1000),
            request.page_token,
        )
        return pb.ListModelsResponse(
            models=[model_of(parent, version) for version in page], next_page_token=token
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        """Return the adapter that a name means now."""
        parent, ref = child(request.name, "models", "name")
        return model_of(parent, await self._resolve(ref))

    async def CreateGlossary(
        self, request: pb.CreateGlossaryRequest, context: Context
    ) -> operations_pb2.Operation:
        """Store a glossary."""
        return await self.glossaries.create(request)

    async def GetGlossary(self, request: pb.GetGlossaryRequest, context: Context) -> pb.Glossary:
        """Return a glossary."""
        return await self.glossaries.get(request)

    async def ListGlossaries(
        self, request: pb.ListGlossariesRequest, context: Context
    ) -> pb.ListGlossariesResponse:
        """List glossaries."""
        return await self.glossaries.list(request)

    async def DeleteGlossary(
        self, request: pb.DeleteGlossaryRequest, context: Context
    ) -> operations_pb2.Operation:
        """Remove a glossary."""
        return await self.glossaries.delete(request)

    async def ListGlossaryEntries(
        self, request: pb.ListGlossaryEntriesRequest, context: Context
    ) -> pb.ListGlossaryEntriesResponse:
        """List the terms of a glossary."""
        return await self.glossaries.list_entries(request)

    async def GetGlossaryEntry(
        self, request: pb.GetGlossaryEntryRequest, context: Context
    ) -> pb.GlossaryEntry:
        """Return a term of a glossary."""
        return await self.glossaries.get_entry(request)

    async def _resolve(self, ref: str) -> AdapterVersion:
        permit = current_identity().permit
        return await self._off_loop(permit.resolve, self.core().registry.resolve, ref)

    async def _off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)


def _deadline(context: Context) -> float | None:
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
