"""Lists of texts of any length, for doors whose own limits are higher than those of a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from hub.text import is_blank
from server.access.admission import Limits
from server.messages import ItemResult, TranslateCommand, TranslateResult
from server.quality.canary.split import whole_key


class Translates(Protocol):
    """What carries out commands."""

    @property
    def limits(self) -> Limits:
        """Return the most that one command may ask for."""

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        """Translate."""


async def translate_list(translator: Translates, command: TranslateCommand) -> TranslateResult:
    """Translate a command with any number of texts, as many at a time as one command may have.

    Texts without anything to translate come back as they are.

    Raises:
        HubError: Nothing of one of the commands can be done.
    """
    if not command.contents:
        return await translator.translate(command)  # refuses it
    wanted = [index for index, text in enumerate(command.contents) if not is_blank(text)]
    items = [ItemResult(text=text, segments=0) for text in command.contents]
    results: list[TranslateResult] = []
    size = translator.limits.max_contents
    if len(wanted) > size and not command.routing_key:
        command = replace(command, routing_key=whole_key(command.target, command.contents))
    for start in range(0, len(wanted), size):
        places = wanted[start : start + size]
        part = replace(command, contents=tuple(command.contents[index] for index in places))
        results.append(await translator.translate(part))
        for index, item in zip(places, results[-1].items, strict=True):
            items[index] = item
    return _whole(command, items, results)


def _whole(
    command: TranslateCommand, items: Sequence[ItemResult], results: Sequence[TranslateResult]
) -> TranslateResult:
    seconds: dict[str, float] = {"route": 0.0, "tokenize": 0.0, "total": 0.0}
    for result in results:
        for stage, spent in result.stage_seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    sources = {result.source for result in results}
    targets = {result.target for result in results}
    return TranslateResult(
        items=tuple(items),
        source=sources.pop() if len(sources) == 1 else "",
        target=targets.pop() if len(targets) == 1 else "",
        input_characters=sum(len(text) for text in command.contents),
        stage_seconds=MappingProxyType(seconds),
    )


def first_error(result: TranslateResult) -> Exception | None:
    """Return the first error of an item, with the item's place as its field."""
    for index, item in enumerate(result.items):
        if item.error is not None:
            error = item.error
            return type(error)(error.message, field=f"contents[{index}]", metadata=error.metadata)
    return None
