"""The demo's translation calls: one alone, then many at once, then each text by itself again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier

from hub.client import HubClient, ItemReply

MIXING_ROUNDS = 5


@dataclass(frozen=True)
class Call:
    """One TranslateText call: texts of one pair for one adapter, or for the base ("")."""

    pair: str
    adapter: str
    texts: tuple[str, ...]

    def send(self, client: HubClient) -> list[Line]:
        """Send it and return its lines.

        Raises:
            HubError: The call failed, or one of its texts.
        """
        source, target = self.pair.split("-")
        reply = client.translate(self.texts, source, target, adapter=self.adapter)
        for item in reply.items:
            if item.error is not None:
                raise item.error
        return [Line(self, text, item) for text, item in zip(self.texts, reply.items, strict=True)]

    def one_by_one(self) -> list[Call]:
        """Return a call for each text."""
        return [Call(self.pair, self.adapter, (text,)) for text in self.texts]


@dataclass(frozen=True)
class Line:
    """One source text with what became of it."""

    call: Call
    source: str
    item: ItemReply


def send_at_once(client: HubClient, calls: Sequence[Call]) -> list[Line]:
    """Send calls concurrently until rows of all the calls' adapters have shared a step.

    The first round may find an adapter still on its way into memory; then its rows run later than
    the others, and the calls are sent again. At most `MIXING_ROUNDS` rounds are sent; the last
    one's lines are returned, mixed or not: they say what batch each row ran in.

    Raises:
        HubError: A call failed.
    """
    lines: list[Line] = []
    for _ in range(MIXING_ROUNDS):
        start = Barrier(len(calls))
        with ThreadPoolExecutor(len(calls)) as pool:
            replies = pool.map(partial(_send_after, start, client), calls)
            lines = [line for reply in replies for line in reply]
        if mixed(lines):
            break
    return lines


def mixed(lines: Sequence[Line]) -> bool:
    """Return whether rows of all the adapters of these lines have shared a step."""
    adapters = {line.call.adapter for line in lines} - {""}
    return max(line.item.timings.batch_distinct_adapters for line in lines) >= len(adapters)


def adapters_act(lines: Sequence[Line]) -> bool:
    """Return whether an adapter said something else than the base to the same source."""
    base = {
        (line.call.pair, line.source): line.item.text for line in lines if not line.call.adapter
    }
    return any(
        base.get((line.call.pair, line.source), line.item.text) != line.item.text for line in lines
    )


def texts_alone(client: HubClient, calls: Sequence[Call]) -> list[str]:
    """Return each text's translation when nothing else runs, in the order of the calls.

    Raises:
        HubError: A call failed.
    """
    return [
        line.item.text for call in calls for one in call.one_by_one() for line in one.send(client)
    ]


def _send_after(start: Barrier, client: HubClient, call: Call) -> list[Line]:
    start.wait()
    return call.send(client)
