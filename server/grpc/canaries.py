"""Aliases and canaries behind AdapterService. Everything here blocks on the registry."""

from __future__ import annotations

import logging

from hub.canary_calls import CanaryInfo, canary_info, canary_message
from hub.errors import HubError, InputError
from hub.pb.adapterhub.v1 import adapter_service_pb2 as pb
from hub.registry import Note
from hub.registry.records import CanaryOutcome
from server.access.identity import Identity
from server.core import Core

_log = logging.getLogger("adapterhub.server")


def move_alias(core: Core, identity: Identity, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
    """Move an alias or start a canary behind it, and see the change here at once.

    Raises:
        AdapterNotFoundError: The caller may not use the adapter.
        HubError: The registry refuses it.
    """
    identity.permit.check(request.name)
    note = Note(identity.tenant, "SetAlias")
    expected = request.expected_version or None
    if request.canary_fraction:
        canary = core.registry.canaries.start(
            request.name,
            request.alias,
            request.version,
            request.canary_fraction,
            promote_after=request.promote_after,
            expected=expected,
            note=note,
        )
        _take_in(core)
        return pb.SetAliasResponse(
            name=canary.name,
            alias=canary.alias,
            version=canary.stable,
            generation=canary.generation,
            canary=canary_message(canary_info(canary, {})),
        )
    if request.promote_after:
        raise InputError(
            "promote_after is set without canary_fraction; give the share of the requests",
            field="promote_after",
        )
    state = core.registry.set_alias(request.name, request.alias, request.version, expected, note)
    _take_in(core)
    return pb.SetAliasResponse(
        name=state.name, alias=state.alias, version=state.version, generation=state.generation
    )


def list_canaries(
    core: Core, identity: Identity, request: pb.ListCanariesRequest
) -> pb.ListCanariesResponse:
    """Return the canaries of the adapters that a caller may use."""
    canaries = core.registry.canaries
    found = canaries.all() if request.all else canaries.running()
    told = [
        canary_info(canary, core.evidence.read(canary.id))
        for canary in found
        if identity.permit.allows(canary.name)
    ]
    return pb.ListCanariesResponse(canaries=[canary_message(info) for info in told])


def end_canary(
    core: Core, identity: Identity, request: pb.EndCanaryRequest
) -> pb.EndCanaryResponse:
    """End the canary behind an alias, and see the change here at once.

    Raises:
        CanaryEndedError: None runs behind it.
        AdapterNotFoundError: The caller may not use the adapter.
    """
    identity.permit.check(request.name)
    canary = core.registry.canaries.behind(request.name, request.alias)
    outcome: CanaryOutcome = "promoted" if request.promote else "cancelled"
    note = Note(identity.tenant, request.reason or "EndCanary")
    ended = core.registry.canaries.end(canary.id, outcome, note)
    _take_in(core)
    info: CanaryInfo = canary_info(ended, core.evidence.read(ended.id))
    return pb.EndCanaryResponse(canary=canary_message(info))


def _take_in(core: Core) -> None:
    """See here what was done to the registry; it is done, whether or not that can be."""
    try:
        core.resolution.invalidate()
    except HubError as error:  # the watcher tries again
        _log.warning("a change of the registry was not taken in: %s", error.message)
