"""Several translations of one text as one stream: each column's sentences as they are finished."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

from hub.errors import HubError
from server.faults import as_hub_error
from server.messages import FinishedItem, FinishedSegment, ItemResult, TranslateCommand
from server.telemetry.calls import note_result
from server.translation.translator import Translator
from server.web.events import Event


async def translate_columns(
    translator: Translator, commands: Sequence[TranslateCommand]
) -> AsyncIterator[Event]:
    """Yield "segment", "item" and "error" events with the number of their column, then "end".

    The columns run side by side, so that their adapters share the engine's steps. A generator that
    is closed, because the caller left, withdraws all of them.
    """
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_column(translator, command, number, queue))
        for number, command in enumerate(commands)
    ]
    try:
        left = len(tasks)
        while left:
            event = await queue.get()
            if event is None:
                left -= 1
            else:
                yield event
        yield Event("end", {})
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _column(
    translator: Translator,
    command: TranslateCommand,
    column: int,
    queue: asyncio.Queue[Event | None],
) -> None:
    try:
        async for part in translator.stream(command):
            if isinstance(part, FinishedSegment):
                queue.put_nowait(_segment(column, part))
            elif isinstance(part, FinishedItem):
                queue.put_nowait(_item(column, part.result))
            else:
                note_result(part)
    except Exception as error:
        queue.put_nowait(_error(column, as_hub_error(error, "translating a column")))
    finally:
        queue.put_nowait(None)


def confidence_of(mean_log_probability: float) -> float:
    """Return the geometric mean of the tokens' probabilities, 0 to 1: the model's own estimate."""
    return round(math.exp(min(0.0, mean_log_probability)), 4)


def _segment(column: int, segment: FinishedSegment) -> Event:
    return Event(
        "segment",
        {
            "column": column,
            "index": segment.index,
            "text": segment.text,
            "start": segment.start,
            "end": segment.end,
            "confidence": confidence_of(segment.signals.mean_log_probability),
        },
    )


def _item(column: int, item: ItemResult) -> Event:
    if item.error is not None:
        return _error(column, item.error)
    return Event("item", {"column": column, **_made(item)})


def _made(item: ItemResult) -> dict[str, Any]:
    timings, detected = item.timings, item.detected
    subjects = {detail.flag: list(detail.subjects) for detail in item.details}
    return {
        "text": item.text,
        "source": item.source,
        "detected": detected and {"language": item.source, "confidence": detected.confidence},
        "adapter_version": item.adapter_version,
        "adapter_digest": item.adapter_digest,
        "fallback": item.fallback.value if item.fallback else "",
        "confidence": confidence_of(item.signals.mean_log_probability),
        "warnings": [
            {"flag": flag.value, "subjects": subjects.get(flag, [])} for flag in item.flags
        ],
        "milliseconds": round(1000 * (timings.ended_at - timings.accepted_at), 1),
        "batch_rows": timings.batch_rows,
        "batch_adapters": timings.batch_distinct_adapters,
        "tokens": item.output_tokens,
    }


def _error(column: int, error: HubError) -> Event:
    return Event("error", {"column": column, "message": error.message, "reason": error.reason})
