"""Glossaries of Google's service: the stored ones of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from hub.errors import GlossaryNotFoundError, InputError
from hub.glossaries import Glossaries, StoredGlossary
from hub.languages import LanguagePair
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as pb
from hub.pb.google.longrunning import operations_pb2
from server.access.glossary_owners import GlossaryOwners
from server.access.identity import current_identity
from server.core import Core
from server.grpc.cloud_translation.glossary_terms import read_terms
from server.grpc.cloud_translation.messages import entry_of, stored_of
from server.grpc.cloud_translation.names import check_parent, child
from server.grpc.cloud_translation.operations import Operations
from server.grpc.cloud_translation.pages import page_of

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class GlossaryMethods:
    """Stores, lists and removes glossaries.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
        pool: Threads for the disk, which blocks.
        operations: Keeps what was done.
    """

    core: Callable[[], Core]
    pool: Executor
    operations: Operations

    async def create(self, request: pb.CreateGlossaryRequest) -> operations_pb2.Operation:
        """Store a glossary."""
        parent, name = child(request.glossary.name, "glossaries", "glossary.name")
        if request.glossary.WhichOneof("languages") != "language_pair":
            raise InputError(
                "a glossary belongs to one pair of languages; give glossary.language_pair",
                field="glossary.language_pair",
            )
        languages = request.glossary.language_pair
        pair = LanguagePair.of(languages.source_language_code, languages.target_language_code)
        uri = request.glossary.input_config.gcs_source.input_uri
        terms = await self._off_loop(read_terms, uri)
        await self._off_loop(self._owners.check_own, name, current_identity())
        made = await self._off_loop(self._store.put, name, pair, terms)
        message = stored_of(parent, made)
        metadata = pb.CreateGlossaryMetadata(
            name=message.name,
            state=pb.CreateGlossaryMetadata.SUCCEEDED,
            submit_time=message.submit_time,
        )
        return self.operations.done(parent, metadata, message)

    async def get(self, request: pb.GetGlossaryRequest) -> pb.Glossary:
        """Return a glossary without its terms."""
        parent, name = child(request.name, "glossaries", "name")
        return stored_of(parent, await self._found(name))

    async def list(self, request: pb.ListGlossariesRequest) -> pb.ListGlossariesResponse:
        """List the newest version of each glossary."""
        parent = check_parent(request.parent)
        if request.filter:
            raise InputError("filter is not served; leave it out", field="filter")
        found = await self._off_loop(self._store.newest, self._owners.visible_to_caller())
        page, token = page_of(found, request.page_size, request.page_token)
        return pb.ListGlossariesResponse(
            glossaries=[stored_of(parent, one) for one in page], next_page_token=token
        )

    async def delete(self, request: pb.DeleteGlossaryRequest) -> operations_pb2.Operation:
        """Remove a glossary, all versions."""
        parent, name = child(request.name, "glossaries", "name")
        await self._off_loop(self._owners.check_own, name, current_identity())
        await self._off_loop(self._store.remove, name)
        response = pb.DeleteGlossaryResponse(name=request.name)
        response.submit_time.FromDatetime(datetime.now(UTC))
        response.end_time.CopyFrom(response.submit_time)
        metadata = pb.DeleteGlossaryMetadata(
            name=request.name,
            state=pb.DeleteGlossaryMetadata.SUCCEEDED,
            submit_time=response.submit_time,
        )
        return self.operations.done(parent, metadata, response)

    async def list_entries(
        self, request: pb.ListGlossaryEntriesRequest
    ) -> pb.ListGlossaryEntriesResponse:
        """List the terms of a glossary."""
        _, name = child(request.parent, "glossaries", "parent")
        found = await self._found(name)
        terms = list(enumerate(found.terms, 1))
        page, token = page_of(terms, request.page_size, request.page_token)
        return pb.ListGlossaryEntriesResponse(
            glossary_entries=[entry_of(request.parent, at, found, term) for at, term in page],
            next_page_token=token,
        )

    async def get_entry(self, request: pb.GetGlossaryEntryRequest) -> pb.GlossaryEntry:
        """Return a term by its place."""
        glossary, _, number = request.name.rpartition("/glossaryEntries/")
        _, name = child(glossary, "glossaries", "name")
        found: StoredGlossary = await self._off_loop(
            self._store.get, name, self._owners.visible_to_caller()
        )
        place = int(number) if number.isascii() and number.isdigit() and len(number) < 10 else 0
        if not 1 <= place <= len(found.terms):
            raise GlossaryNotFoundError(
                f"glossary {found.ref} has no entry {number[:20]!r}; it has 1 to "
                f"{len(found.terms)}",
                field="name",
            )
        return entry_of(glossary, place, found, found.terms[place - 1])

    @property
    def _owners(self) -> GlossaryOwners:
        return self.core().glossary_owners

    @property
    def _store(self) -> Glossaries:
        return self.core().glossaries

    async def _found(self, name: str) -> StoredGlossary:
        return await self._off_loop(self._store.get, name, self._owners.visible_to_caller())

    async def _off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)
