"""What was seen of the canaries, shared with all servers, and the end of those that are worse.

Requests are noted as they end, each key once: a request that is sent again is no new evidence.
About once a second what is new is added to the registry's sums, which come back with what other
servers have added; the rules judge the whole. Of several servers that come to the same verdict the
first one acts, the others find the canary ended.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hub.errors import CanaryEndedError, HubError
from hub.registry import Canary, Note
from hub.registry.records import CanaryOutcome
from server.messages import ItemResult
from server.quality.canary.betting import Sums, observe
from server.quality.canary.book import Arm, CanaryBook
from server.quality.canary.rules import SIGNALS, Verdict, judge
from server.quality.canary.values import latency_of, values_of
from server.quality.golden.findings import Finding
from server.telemetry.metrics import Metrics

INTERVAL_SECONDS: Final = 1.0
MAX_KEYS: Final = 65_536
"""Keys that are remembered of a canary, those that came last."""
_ACTOR: Final = "canary rules"
_OUTCOMES: Final[Mapping[str, CanaryOutcome]] = {"roll back": "rolled_back", "promote": "promoted"}

_log = logging.getLogger("adapterhub.server")
_audit = logging.getLogger("adapterhub.audit")


class Evidence(Protocol):
    """Where the sums of all servers are."""

    def add(self, canary_id: int, more: Mapping[str, float]) -> dict[str, float]:
        """Add to a canary's sums; return what they are then."""

    def read(self, canary_id: int) -> dict[str, float]:
        """Return a canary's sums."""


class Ender(Protocol):
    """What ends canaries."""

    def end(self, canary_id: int, outcome: CanaryOutcome, note: Note) -> Canary:
        """End one that runs; raises CanaryEndedError."""


@dataclass(slots=True)
class _Seen:
    """What is known of a canary.

    Attributes:
        known: Of all servers, as far as this one has heard.
        unsent: What of it the others have not heard.
        keys: Of the requests that were noted.
    """

    known: Sums = field(default_factory=dict)
    unsent: Sums = field(default_factory=dict)
    keys: OrderedDict[bytes, None] = field(default_factory=OrderedDict)

    def is_new(self, key: bytes) -> bool:
        if key in self.keys:
            return False
        self.keys[key] = None
        if len(self.keys) > MAX_KEYS:
            self.keys.popitem(last=False)
        return True


class CanaryWatch:
    """Watches the canaries of one server; every method may be called from any thread."""

    def __init__(
        self,
        book: CanaryBook,
        evidence: Evidence,
        ender: Ender,
        metrics: Metrics,
        changed: Callable[[], None] = lambda: None,
        golden: Callable[[int], Finding] = lambda canary_id: "none",
    ) -> None:
        """Begin with what other servers have seen.

        Args:
            book: Which canaries run.
            evidence: Shared with other servers.
            ender: Ends canaries.
            metrics: Counts latencies by arm, and ends.
            changed: Called after a canary was ended here.
            golden: Returns what golden lines say of a canary, by its id.
        """
        self._book = book
        self._evidence = evidence
        self._ender = ender
        self._metrics = metrics
        self._changed = changed
        self._golden = golden
        self._seen: dict[int, _Seen] = {}
        self._lock = threading.Lock()

    def note(self, arm: Arm, items: Sequence[ItemResult]) -> None:
        """Take in what became of a request.

        Args:
            arm: Which version served it.
            items: All its texts that this version was to translate.
        """
        values = values_of(items, arm.digest)
        if values is None:
            return
        seconds = latency_of(items)
        if seconds is not None:
            name = "canary" if arm.tried else "stable"
            self._metrics.canary_seconds.labels(name).observe(seconds)
        with self._lock:
            seen = self._seen.setdefault(arm.canary.id, _Seen())
            if not seen.is_new(arm.key):
                return
            more = observe(seen.known, SIGNALS, values, arm.canary.fraction, canary=arm.tried)
            _add(seen.known, more)
            _add(seen.unsent, more)

    def tend(self) -> None:
        """Share what is new, and end canaries that have come to their end. Blocks on the disk.

        Raises:
            HubError: The registry cannot be written now; nothing is lost.
        """
        with self._lock:
            noted = set(self._seen)  # one that begins from here on is nothing to forget
        running = self._book.running
        for canary in running:
            sums = self._share(canary.id)
            verdict = judge(sums, canary.promote_after, golden=self._golden(canary.id))
            if verdict.action != "wait":
                self._end(canary, verdict)
        with self._lock:
            for number in noted - {canary.id for canary in running}:
                self._seen.pop(number, None)  # two looks at once both come here

    def shown(self, limit: int) -> list[tuple[Canary, Sums]]:
        """Return the canaries that run here with what is known of them, the first `limit`."""
        with self._lock:
            return [
                (canary, dict(self._seen.get(canary.id, _Seen()).known))
                for canary in self._book.running[:limit]
            ]

    def _share(self, canary_id: int) -> Sums:
        with self._lock:
            unsent = self._seen.setdefault(canary_id, _Seen()).unsent
            self._seen[canary_id].unsent = {}
        try:
            sums = (
                self._evidence.add(canary_id, unsent) if unsent else self._evidence.read(canary_id)
            )
        except BaseException:
            with self._lock:
                _add(self._seen[canary_id].unsent, unsent)
            raise
        with self._lock:
            seen = self._seen[canary_id]
            seen.known = dict(sums)
            _add(seen.known, seen.unsent)
        return sums

    def _end(self, canary: Canary, verdict: Verdict) -> None:
        outcome = _OUTCOMES[verdict.action]
        try:
            self._ender.end(canary.id, outcome, Note(_ACTOR, verdict.reason))
        except CanaryEndedError:
            return  # by another server, or by somebody
        finally:
            self._changed()
        self._metrics.canaries_ended.labels(outcome).inc()
        _audit.warning(
            "canary of version %d behind %s %s: %s",
            canary.canary, canary.ref, outcome.replace("_", " "), verdict.reason,
        )  # fmt: skip


def _add(sums: Sums, more: Mapping[str, float]) -> None:
    for key, value in more.items():
        sums[key] = sums.get(key, 0.0) + value


def note_arms(
    watch: CanaryWatch | None, arms: Iterable[Arm | None], items: Sequence[ItemResult]
) -> None:
    """Note a call, arm by arm: texts in several languages may belong to several canaries.

    Args:
        watch: None where there are no canaries.
        arms: The arm of each item.
        items: What became of them.
    """
    if watch is None:
        return
    grouped: dict[int, tuple[Arm, list[ItemResult]]] = {}
    for arm, item in zip(arms, items, strict=True):
        if arm is not None:
            grouped.setdefault(arm.canary.id, (arm, []))[1].append(item)
    for arm, own in grouped.values():
        watch.note(arm, own)


class CanaryKeeper:
    """The thread that tends the canaries."""

    def __init__(self, watch: CanaryWatch, seconds: float = INTERVAL_SECONDS) -> None:
        """Prepare; `start` begins."""
        self._watch = watch
        self._seconds = seconds
        self._untold = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary-keeper", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Share what is left and end the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
            self._tend()

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            self._tend()

    def _tend(self) -> None:
        try:
            self._watch.tend()
        except HubError as error:  # a registry that is busy or full for a while
            if error.message != self._untold:
                _log.warning("canaries are not tended now: %s", error.message)
            self._untold = error.message
        except Exception:
            _log.exception("canaries are not tended now")
        else:
            self._untold = ""
