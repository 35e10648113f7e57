"""One list of texts in as many calls as a server's limits ask for.

The server says what it takes in the errors of calls that are over a limit: the number of texts in
the metadata of its own error, the size of a message in gRPC's. Each part is smaller than what was
refused, so the calls come to an end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from hub.errors import MAX_CONTENTS, HubError, OverloadedError, TextError
from hub.replies import ItemReply, ItemTimings, Quality, TranslateReply

MAX_MESSAGE: Final = "max_message_bytes"
"""Key of the metadata that says how large a message may be."""

_TOO_LARGE: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")


def message_too_large(target: str, details: str) -> OverloadedError | None:
    """Return what gRPC's refusal of a message means, None where it refused something else."""
    found = _TOO_LARGE.search(details)
    if found is None:
        return None
    return OverloadedError(
        f"a message to or from {target} has {found[1]} bytes; at most {found[2]} are allowed, so "
        "send less at once",
        metadata={MAX_MESSAGE: found[2]},
    )


def allowed_contents(error: HubError) -> int | None:
    """Return how many texts a server takes in one call, None where the error is another."""
    stated = error.metadata.get(MAX_CONTENTS, "")
    return int(stated) if stated.isascii() and stated.isdigit() and int(stated) else None


def smaller_parts(error: HubError, contents: Sequence[str]) -> list[Sequence[str]] | None:
    """Return parts of a refused call that may be taken, None where smaller ones cannot help."""
    if len(contents) < 2:
        return None
    limit = allowed_contents(error)
    if limit is None and MAX_MESSAGE in error.metadata:
        limit = len(contents) // 2
    if limit is None or limit >= len(contents):
        return None
    return list(cut(contents, limit))


def cut(contents: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the texts in order, at most `size` at once."""
    for start in range(0, len(contents), size):
        yield contents[start : start + size]


def unencodable(contents: Sequence[str]) -> dict[int, TextError]:
    """Return the errors of texts without a UTF-8 form, by index: those cannot be sent."""
    errors = {}
    for index, text in enumerate(contents):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            errors[index] = TextError(
                f"text {index} has a lone surrogate at character {error.start}; "
                "decode the input as UTF-8 or replace it",
                field=f"contents[{index}]",
            )
    return errors


def text_too_large(text: str, error: HubError) -> TranslateReply:
    """Return the reply to a text that no message can carry."""
    size, limit = len(text.encode()), error.metadata[MAX_MESSAGE]
    told = f"text has {size} bytes; a message may have {limit}, so split it"
    return _reply([failed_item(TextError(told))])


def failed_item(error: HubError) -> ItemReply:
    """Return what became of a text that was not sent, or not taken."""
    return ItemReply("", "", "", Quality(), (), ItemTimings(), (), error)


def joined(replies: Sequence[TranslateReply], unsent: Mapping[int, HubError]) -> TranslateReply:
    """Return one reply for all texts, in order.

    Args:
        replies: Of the calls, in the order of their texts.
        unsent: Errors of the texts that were in no call, by their index among all texts.
    """
    sent = iter([item for reply in replies for item in reply.items])
    count = sum(len(reply.items) for reply in replies) + len(unsent)
    items = [
        failed_item(unsent[index]) if index in unsent else _placed(next(sent), index)
        for index in range(count)
    ]
    named = next((reply for reply in replies if reply.base_digest), replies[0])
    return replace(
        named,
        items=tuple(items),
        input_characters=sum(reply.input_characters for reply in replies),
        input_tokens=sum(reply.input_tokens for reply in replies),
        output_tokens=sum(reply.output_tokens for reply in replies),
        total_ms=sum(reply.total_ms for reply in replies),
    )


def _placed(item: ItemReply, index: int) -> ItemReply:
    """Let an item's error name its place among all texts, not in its call."""
    error = item.error
    if error is None or error.field == f"contents[{index}]":
        return item
    field = f"contents[{index}]"
    return replace(item, error=type(error)(error.message, field=field, metadata=error.metadata))


def _reply(items: Sequence[ItemReply]) -> TranslateReply:
    return TranslateReply(tuple(items), "", "", "", 0, 0, 0, 0.0)
