"""Aliases and canaries of a running server, and how a canary is told, wherever it was read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hub.pb.adapterhub.v1 import adapter_service_pb2 as pb
from hub.pb.adapterhub.v1.adapter_service_pb2_grpc import AdapterServiceStub

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hub.client import HubClient
    from hub.registry import Canary


@dataclass(frozen=True, slots=True)
class ArmInfo:
    """What is known of one of the two versions of a canary.

    Attributes:
        requests: Distinct ones that it has served.
        means: Over these, by signal.
    """

    requests: int
    means: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class CanaryInfo:
    """A canary as commands and clients see it.

    Attributes:
        stable: Version that the alias points at.
        canary: Version that is tried.
        arms: "stable" and "canary".
        evidence: Logarithm to base 10 of the evidence that it is worse.
    """

    id: int
    name: str
    alias: str
    stable: int
    canary: int
    fraction: float
    promote_after: int
    status: str
    reason: str
    started_at: datetime
    ended_at: datetime | None
    arms: Mapping[str, ArmInfo]
    evidence: float

    @property
    def ref(self) -> str:
        """Return what it is about, "name@alias"."""
        return f"{self.name}@{self.alias}"


def canary_info(canary: Canary, sums: Mapping[str, float]) -> CanaryInfo:
    """Return a canary of a registry with what is known of it."""
    from hub.registry.evidence import ARMS, evidence_of, means_of, requests_of

    return CanaryInfo(
        id=canary.id,
        name=canary.name,
        alias=canary.alias,
        stable=canary.stable,
        canary=canary.canary,
        fraction=canary.fraction,
        promote_after=canary.promote_after,
        status=canary.status,
        reason=canary.reason,
        started_at=canary.started_at,
        ended_at=canary.ended_at,
        arms={arm: ArmInfo(requests_of(sums, arm), means_of(sums, arm)) for arm in ARMS},
        evidence=evidence_of(sums),
    )


def canary_message(info: CanaryInfo) -> pb.Canary:
    """Write a canary onto the wire."""
    message = pb.Canary(
        id=info.id,
        name=info.name,
        alias=info.alias,
        stable_version=info.stable,
        canary_version=info.canary,
        fraction=info.fraction,
        promote_after=info.promote_after,
        status=info.status,
        reason=info.reason,
        arms=[
            pb.CanaryArm(arm=arm, requests=one.requests, means=one.means)
            for arm, one in info.arms.items()
        ],
        evidence=info.evidence,
    )
    message.start_time.FromDatetime(info.started_at)
    if info.ended_at is not None:
        message.end_time.FromDatetime(info.ended_at)
    return message


def read_canary(message: pb.Canary) -> CanaryInfo:
    """Read a canary off the wire."""
    from datetime import UTC

    ended = message.end_time.ToDatetime(UTC) if message.HasField("end_time") else None
    return CanaryInfo(
        id=message.id,
        name=message.name,
        alias=message.alias,
        stable=message.stable_version,
        canary=message.canary_version,
        fraction=message.fraction,
        promote_after=message.promote_after,
        status=message.status,
        reason=message.reason,
        started_at=message.start_time.ToDatetime(UTC),
        ended_at=ended,
        arms={one.arm: ArmInfo(one.requests, dict(one.means)) for one in message.arms},
        evidence=message.evidence,
    )


def set_alias(
    client: HubClient, name: str, alias: str, version: int, expected: int | None = None
) -> int:
    """Move an alias of a server's registry; return the alias's generation.

    Args:
        client: The server.
        name: Adapter name.
        alias: Made if new.
        version: Where it shall point.
        expected: Where it points now, None if it does not exist.

    Raises:
        HubError: What the server, or the way to it, answered.
    """
    request = pb.SetAliasRequest(
        name=name, alias=alias, version=version, expected_version=expected or 0
    )
    return int(client.ask(AdapterServiceStub, "SetAlias", request).generation)


def start_canary(
    client: HubClient,
    name: str,
    alias: str,
    version: int,
    fraction: float,
    *,
    promote_after: int = 0,
    expected: int | None = None,
) -> CanaryInfo:
    """Have a version serve a share of an alias's requests.

    Args:
        client: The server.
        name: Adapter name.
        alias: Points at the version that it is compared with.
        version: Serves the share.
        fraction: Of the requests, 0.001 to 0.9.
        promote_after: Requests after which the alias moves there; 0 for never.
        expected: Where the alias points now; None for wherever it does.

    Raises:
        HubError: What the server, or the way to it, answered.
    """
    request = pb.SetAliasRequest(
        name=name,
        alias=alias,
        version=version,
        expected_version=expected or 0,
        canary_fraction=fraction,
        promote_after=promote_after,
    )
    return read_canary(client.ask(AdapterServiceStub, "SetAlias", request).canary)


def list_canaries(client: HubClient, *, all_of_them: bool = False) -> list[CanaryInfo]:
    """Return the canaries that run, or all there have been.

    Raises:
        HubError: What the server, or the way to it, answered.
    """
    request = pb.ListCanariesRequest(all=all_of_them)
    reply = client.ask(AdapterServiceStub, "ListCanaries", request)
    return [read_canary(one) for one in reply.canaries]


def end_canary(
    client: HubClient, name: str, alias: str, *, promote: bool, reason: str = ""
) -> CanaryInfo:
    """End the canary behind an alias.

    Raises:
        HubError: What the server, or the way to it, answered.
    """
    request = pb.EndCanaryRequest(name=name, alias=alias, promote=promote, reason=reason)
    return read_canary(client.ask(AdapterServiceStub, "EndCanary", request).canary)
