"""Whose turn it is: virtual token counters.

After Sheng et al., "Fairness in Serving Large Language Models", OSDI 2024. Each tenant has a
counter of the service that it has received, in weighted tokens, and the tenant with the lowest
counter goes next. A tenant that returns is lifted to the lowest counter of those that wait, so that
being away earns no credit. The paper charges output tokens as they are made; here the expected ones
are charged at admission and put right at the end (its variant with length prediction), because a
batch is chosen at once. Swaps are charged too, which the paper leaves out: an adapter that is
brought into a slot costs its tenant what as many tokens would have cost.

Pure: no clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from server.messages import Job

INPUT_WEIGHT: Final = 1.0
OUTPUT_WEIGHT: Final = 2.0
"""The paper's weights: an output token costs what two input tokens do."""
MAX_IDLE: Final = 1024
"""Counters kept of tenants that do not wait; those of the others are forgotten."""


@dataclass(slots=True)
class FairShare:
    """The counters."""

    _served: dict[str, float] = field(default_factory=dict)
    _waiting: Counter[str] = field(default_factory=Counter)
    _floor: float = 0.0  # the counter of who was served last

    def arrive(self, tenant: str) -> None:
        """Note that a request waits."""
        if not self._waiting[tenant]:
            active = [self._served[one] for one, count in self._waiting.items() if count]
            floor = min(active, default=self._floor)
            self._served[tenant] = max(self._served.get(tenant, 0.0), floor)
        self._waiting[tenant] += 1
        self._forget_idle()

    def leave(self, tenant: str) -> None:
        """Note that a request no longer waits."""
        self._waiting[tenant] -= 1
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def charge(self, tenant: str, tokens: float) -> None:
        """Count service; negative to give back what was charged too much."""
        served = max(0.0, self._served.get(tenant, self._floor) + tokens)
        self._served[tenant] = served
        if tokens > 0:
            self._floor = max(self._floor, min(self._served[one] for one in self._active(tenant)))

    def served(self, tenant: str) -> float:
        """Return a tenant's counter."""
        return self._served.get(tenant, self._floor)

    def _active(self, tenant: str) -> list[str]:
        return [*self._waiting, tenant]

    def _forget_idle(self) -> None:
        """Forget tenants that wait for nothing, where there are many; they return at the floor."""
        if len(self._served) <= MAX_IDLE:
            return
        for tenant in [one for one in self._served if not self._waiting[one]]:
            del self._served[tenant]


def cost_of(job: Job, output_tokens: float) -> float:
    """Return what a request costs, in weighted tokens; a beam is as many outputs."""
    return INPUT_WEIGHT * job.tokens + OUTPUT_WEIGHT * job.rows * output_tokens
