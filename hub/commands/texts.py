"""The texts that a command is given: words of the command line, or lines of standard input.

Both are bytes of somebody else's making. What is not UTF-8 becomes the error of that text, so that
the others are translated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from hub.errors import TextError

_SHOWN: Final = 40
_CHUNK: Final = 2**16
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# Only from the first blank of a run: else a run of n blanks without a line end costs n² steps.
_LINE_ENDS: Final = re.compile("(?<!\\s)\\s*[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]\\s*")


@dataclass(frozen=True, slots=True)
class InputText:
    """One text to work on.

    Attributes:
        text: What could be read of it; bytes that are not UTF-8 are escaped.
        line: Its line in standard input, from 1; 0 for a word of the command line.
        error: Why it cannot be worked on, None where it can.
    """

    text: str
    line: int = 0
    error: TextError | None = None

    def __str__(self) -> str:
        """Name it in a message."""
        shown = self.text if len(self.text) <= _SHOWN else self.text[: _SHOWN - 1] + "…"
        quoted = repr(shown) if self.error is None else f"'{shown}'"
        return f"line {self.line} ({quoted})" if self.line else quoted


def read_lines(stream: Iterable[bytes]) -> Iterator[InputText]:
    r"""Yield the lines of a stream of bytes.

    A line ends with \n or \r\n. No other character ends one, a lone \r or U+2028 neither, so that
    there are as many lines as any other tool counts.
    """
    for number, line in enumerate(stream, 1):
        data = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        yield _read(data.removesuffix(b"\n").removesuffix(b"\r"), number)


def unlocked_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a stream without holding its lock while waiting for them.

    A thread that waits in a buffered stream holds a lock that the interpreter wants when it ends.
    """
    source = getattr(stream, "raw", stream)
    rest: list[bytes] = []
    while chunk := source.read(_CHUNK):
        *lines, last = chunk.split(b"\n")
        for line in lines:
            yield b"".join((*rest, line, b"\n"))
            rest = []
        rest.append(last)
    if any(rest):
        yield b"".join(rest)


def read_words(words: Sequence[str]) -> Iterator[InputText]:
    """Yield words of the command line; where the locale could not decode one, UTF-8 is tried."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            yield _read(_bytes_of(word), 0)
        else:
            yield InputText(word)


def one_line(text: str) -> str:
    """Return a text on one line: a line end in it becomes a space."""
    return _LINE_ENDS.sub(" ", text)


def _bytes_of(word: str) -> bytes:
    """Return the bytes that a word had before the interpreter decoded it."""
    try:
        return os.fsencode(word)
    except UnicodeEncodeError:
        return word.encode("utf-8", "surrogatepass")


def _read(data: bytes, line: int) -> InputText:
    try:
        return InputText(data.decode(), line)
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at position {error.start}"
        shown = data.decode("utf-8", "backslashreplace")
        return InputText(shown, line, TextError(f"{byte} is not UTF-8; convert the input"))
