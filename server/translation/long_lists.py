"""Lists of texts of any length, for doors whose own limits are higher than those of a command."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, Protocol

from hub.routing_keys import whole_key
from hub.text import is_blank
from server.access.admission import HTML, Limits
from server.messages import Detected, ItemResult, TranslateCommand, TranslateResult
from server.translation.detection import MAX_CHARACTERS, best

_LOOKED_AT: Final = 4 * MAX_CHARACTERS
"""Characters by which the one language of many texts is told; tags are among them."""


class Translates(Protocol):
    """What carries out commands."""

    @property
    def limits(self) -> Limits:
        """Return the most that one command may ask for."""

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        """Translate."""


class Detects(Protocol):
    """What tells languages."""

    def detect(self, contents: Sequence[str], mime_type: str = "") -> list[list[Detected]]:
        """Tell the language of texts; blocks."""


def language_of(translator: Detects, texts: Iterable[str]) -> Detected:
    """Return the one language of several texts. Blocks.

    Args:
        translator: Tells languages.
        texts: Plain or HTML.

    Raises:
        LanguageError: It cannot be told.
    """
    joined, length = [], 0
    for text in texts:
        joined.append(text)
        length += len(text)
        if length >= _LOOKED_AT:
            break
    return best(translator.detect(["\n".join(joined)[:_LOOKED_AT]], HTML)[0])


async def translate_texts(
    translator: Translates, command: TranslateCommand, texts: Sequence[tuple[str, str]]
) -> TranslateResult:
    """Translate texts of several MIME types, any number of them.

    Args:
        translator: Translates.
        command: Says how; its contents and its MIME type do not count.
        texts: Each with its MIME type; possibly none.

    Returns:
        Items in the order of the texts; some may have an error.

    Raises:
        HubError: Nothing of one of the commands can be done.
    """
    if not command.routing_key:
        key = whole_key(command.target, (text for text, _ in texts))
        command = replace(command, routing_key=key)
    items = [ItemResult() for _ in texts]
    results: list[TranslateResult] = []
    for kind in dict.fromkeys(kind for _, kind in texts):
        places = [index for index, (_, one) in enumerate(texts) if one == kind]
        contents = tuple(texts[place][0] for place in places)
        part = replace(command, contents=contents, mime_type=kind)
        results.append(await translate_list(translator, part))
        for place, item in zip(places, results[-1].items, strict=True):
            items[place] = item
    return _whole([text for text, _ in texts], items, results)


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
    return _whole(command.contents, items, results)


def _whole(
    texts: Sequence[str], items: Sequence[ItemResult], results: Sequence[TranslateResult]
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
        input_characters=sum(len(text) for text in texts),
        stage_seconds=MappingProxyType(seconds),
    )


def raise_first(result: TranslateResult) -> None:
    """Raise the error of the first text that was not translated, with its place as the field.

    Raises:
        HubError: Some text was not.
    """
    for index, item in enumerate(result.items):
        if item.error is not None:
            error = item.error
            raise type(error)(error.message, field=f"contents[{index}]", metadata=error.metadata)
