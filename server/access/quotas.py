"""How much each tenant may ask for in a minute: token buckets.

A bucket holds a minute's worth and fills evenly, so that a tenant may use a minute at once and is
then held to the rate. A call with more texts than the bucket holds is let in when the bucket is
full, and the next one waits for it.

Pure: no clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from hub.errors import RETRY_DELAY, QuotaError
from server.access.identity import Identity

MINUTE: Final = 60.0


@dataclass(slots=True)
class _Bucket:
    per_minute: float
    level: float
    at: float

    def fill(self, now: float) -> None:
        gained = max(0.0, now - self.at) * self.per_minute / MINUTE
        self.level = min(self.per_minute, self.level + gained)
        self.at = now

    def wait(self, amount: float) -> float:
        """Return the seconds until an amount can be had."""
        lacking = min(amount, self.per_minute) - self.level
        return max(0.0, lacking * MINUTE / self.per_minute)


@dataclass(slots=True)
class Quotas:
    """The buckets of all tenants; a tenant without limits has none."""

    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict)

    def take(self, identity: Identity, characters: int, now: float, *, requests: int = 1) -> None:
        """Count a call, or more characters of one that is counted.

        Raises:
            QuotaError: The tenant has used up its quota; nothing is counted.
        """
        limits = identity.limits
        wanted = [
            ("requests", limits.requests, float(requests)),
            ("characters", limits.characters, float(characters)),
        ]
        buckets = []
        for what, limit, amount in wanted:
            if limit is None:
                continue
            bucket = self._bucket(identity.tenant, what, limit, now)
            wait = bucket.wait(amount)
            if wait > 0:
                raise _used_up(identity.tenant, what, limit, wait)
            buckets.append((bucket, amount))
        for bucket, amount in buckets:
            bucket.level -= amount

    def _bucket(self, tenant: str, what: str, limit: float, now: float) -> _Bucket:
        bucket = self._buckets.get((tenant, what))
        if bucket is None or bucket.per_minute != limit:
            bucket = self._buckets[tenant, what] = _Bucket(limit, limit, now)
        bucket.fill(now)
        return bucket


def _used_up(tenant: str, what: str, limit: float, wait: float) -> QuotaError:
    return QuotaError(
        f"tenant {tenant!r} has used up its {limit:g} {what} per minute; retry in {wait:.2g} s",
        metadata={
            "tenant": tenant,
            "quota": f"{what}_per_minute",
            "limit": f"{limit:g}",
            RETRY_DELAY: str(math.ceil(1000 * wait)),
        },
    )
