"""GlossaryService: stored terms, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hub.errors import InputError
from hub.glossaries import Glossaries, StoredGlossary, Term
from hub.languages import LanguagePair
from hub.pb.adapterhub.v1 import glossary_service_pb2 as pb
from hub.pb.adapterhub.v1 import glossary_service_pb2_grpc as grpc_pb
from server.access.glossary_owners import GlossaryOwners
from server.access.identity import current_identity
from server.core import Core

if TYPE_CHECKING:
    import grpc.aio

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class GlossaryServicer(grpc_pb.GlossaryServiceServicer):
    """Keeps glossaries in the registry's folder.

    Attributes:
        core: Returns the application; raises UnavailableError while there is none.
        pool: Threads for the disk, which blocks.
    """

    core: Callable[[], Core]
    pool: Executor

    async def PutGlossary(
        self,
        request: pb.PutGlossaryRequest,
        context: grpc.aio.ServicerContext[pb.PutGlossaryRequest, pb.PutGlossaryResponse],
    ) -> pb.PutGlossaryResponse:
        """Store a glossary."""
        pair = LanguagePair.of(request.source_language_code, request.target_language_code)
        terms = [Term(term.source, tuple(term.targets)) for term in request.terms]
        await self._off_loop(self._owners.check_own, request.name, current_identity())
        made = await self._off_loop(self._store.put, request.name, pair, terms)
        return pb.PutGlossaryResponse(glossary=_message(made))

    async def GetGlossary(
        self,
        request: pb.GetGlossaryRequest,
        context: grpc.aio.ServicerContext[pb.GetGlossaryRequest, pb.GetGlossaryResponse],
    ) -> pb.GetGlossaryResponse:
        """Return a glossary with its terms."""
        if not request.glossary.strip():
            raise InputError("glossary is empty; give a name", field="glossary")
        found = await self._off_loop(
            self._store.get, request.glossary, self._owners.visible_to_caller()
        )
        message = _message(found)
        for term in found.terms:
            message.terms.add(source=term.source, targets=term.targets)
        return pb.GetGlossaryResponse(glossary=message)

    async def ListGlossaries(
        self,
        request: pb.ListGlossariesRequest,
        context: grpc.aio.ServicerContext[pb.ListGlossariesRequest, pb.ListGlossariesResponse],
    ) -> pb.ListGlossariesResponse:
        """List the newest version of each glossary."""
        found = await self._off_loop(self._store.newest, self._owners.visible_to_caller())
        return pb.ListGlossariesResponse(glossaries=[_message(one) for one in found])

    async def DeleteGlossary(
        self,
        request: pb.DeleteGlossaryRequest,
        context: grpc.aio.ServicerContext[pb.DeleteGlossaryRequest, pb.DeleteGlossaryResponse],
    ) -> pb.DeleteGlossaryResponse:
        """Remove a glossary."""
        await self._off_loop(self._owners.check_own, request.name, current_identity())
        await self._off_loop(self._store.remove, request.name)
        return pb.DeleteGlossaryResponse()

    @property
    def _owners(self) -> GlossaryOwners:
        return self.core().glossary_owners

    @property
    def _store(self) -> Glossaries:
        return self.core().glossaries

    async def _off_loop(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)


def _message(found: StoredGlossary) -> pb.Glossary:
    message = pb.Glossary(
        name=found.name,
        version=found.version,
        source_language_code=found.pair.source,
        target_language_code=found.pair.target,
        term_count=len(found.terms),
    )
    message.create_time.FromDatetime(found.created_at)
    return message
