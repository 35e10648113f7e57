"""Files through the translator: the same at every door."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from hub.documents import format_of
from hub.errors import LanguageError, QueueFullError, TextError
from server.messages import Detected, ItemResult, TranslateCommand, TranslateResult
from server.translation.files import TranslatedFile, open_file, translate_file
from server.translation.waiting import LONGEST_SECONDS, WaitingTranslator


class Upper:
    """Translates into capitals, and refuses what it is told to."""

    limits = SimpleNamespace(max_contents=2)

    def __init__(self, refused: str = "", full: int = 0) -> None:
        self.commands: list[TranslateCommand] = []
        self._refused = refused
        self._full = full

    async def translate(self, command: TranslateCommand) -> TranslateResult:
        if self._full:
            self._full -= 1
            raise QueueFullError("full")
        self.commands.append(command)
        items = tuple(map(self._item, command.contents))
        return TranslateResult(items, command.source, command.target, 0, {})

    def _item(self, text: str) -> ItemResult:
        if text == self._refused:
            return ItemResult(error=TextError("no"))
        return ItemResult(text=text.upper(), segments=1)

    def detect(self, contents: Sequence[str], mime_type: str = "") -> list[list[Detected]]:
        return [[Detected("en", 0.9)] for _ in contents]


def translated(
    translator: Any, name: str, data: bytes, *, source: str = "en", target: str = "ko"
) -> TranslatedFile:
    opened = open_file(format_of(name), data, source, target)
    command = TranslateCommand((), source, target)
    with ThreadPoolExecutor(1) as pool:
        return asyncio.run(translate_file(translator, command, opened, pool))


def test_translations_that_a_file_has_are_kept() -> None:
    entry = 'msgid "{}"\nmsgstr "{}"\n\n'
    done = entry.format("may", "Wonnemonat")
    po = done + entry.format("monday", "")
    translator = Upper()
    made = translated(translator, "a.po", po.encode())
    assert made.data.decode() == entry.format("may", "Wonnemonat") + entry.format(
        "monday", "MONDAY"
    )
    assert [command.contents for command in translator.commands] == [("monday",)]
    assert len(made.result.items) == 1


def test_units_of_both_kinds_are_one_request_of_a_canary() -> None:
    translator = Upper()
    made = translated(translator, "a.json", b'["a", "b <b>c</b> d", "e", "f"]')
    assert made.data == b'["A", "b <b>c</b> d", "E", "F"]'  # capitals damage the tags
    assert made.left == 1
    assert len(translator.commands) == 3
    assert len({command.routing_key for command in translator.commands} - {""}) == 1


def test_what_fails_is_told_and_stays_as_it_was() -> None:
    made = translated(Upper(refused="b"), "a.txt", b"a\nb\nc\n")
    assert made.data == b"A\nb\nC\n"
    assert isinstance(made.error, TextError)
    assert translated(Upper(), "a.txt", b"a\n").error is None
    with pytest.raises(TextError):
        translated(Upper(refused="b"), "a.txt", b"b\n")


def test_the_language_is_told_from_all_of_a_file() -> None:
    translator = Upper()
    made = translated(translator, "a.txt", b"a\nb\nc\n", source="")
    assert made.detected == Detected("en", 0.9)
    assert {command.source for command in translator.commands} == {"en"}
    with pytest.raises(LanguageError, match="Source and target language are equal"):
        translated(Upper(), "a.txt", b"a\n", source="", target="en-GB")


def test_a_file_without_words_comes_back() -> None:
    assert translated(Upper(), "a.txt", b"1\n\n2\n", source="").data == b"1\n\n2\n"


def test_what_nobody_waits_for_waits_for_room() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    busy = Upper(full=2)
    made = translated(WaitingTranslator(busy, sleep), "a.txt", b"a\nb\nc\n")  # type: ignore[arg-type]
    assert made.data == b"A\nB\nC\n"
    assert len(waited) == 2
    with pytest.raises(QueueFullError):
        translated(WaitingTranslator(Upper(full=10**6), sleep), "a.txt", b"a\n")  # type: ignore[arg-type]
    assert sum(waited[2:]) <= LONGEST_SECONDS
