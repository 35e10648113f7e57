"""Texts from the command line and from standard input, whatever bytes they are."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from hub.commands.texts import InputText, one_line, read_lines, read_words, unlocked_lines


def lines(data: bytes) -> list[InputText]:
    return list(read_lines(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\nb", ["a", "b"]),
        (b"\n\nb\n", ["", "", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"a\r\r\n", ["a\r"]),
        ("a\u2028b\u0085c\x0bd\x0ce\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce"]),
        ("\ufeffa\n\ufeffb\n".encode(), ["a", "\ufeffb"]),
    ],
)
def test_a_line_ends_where_other_tools_end_it(data: bytes, expected: list[str]) -> None:
    found = lines(data)
    assert [one.text for one in found] == expected
    assert [one.line for one in found] == list(range(1, len(expected) + 1))
    assert all(one.error is None for one in found)
    assert len(found) == data.count(b"\n") + bool(data and not data.endswith(b"\n"))


def test_a_line_that_is_not_utf8_fails_alone_and_names_the_byte() -> None:
    good, bad, last = lines(b"Monday\ncaf\xe9 at noon\nFriday\n")
    assert (good.error, last.error) == (None, None)
    assert bad.error is not None
    assert "byte 0xe9 at position 3 is not UTF-8" in bad.error.message
    assert bad.text == r"caf\xe9 at noon"
    assert str(bad) == r"line 2 ('caf\xe9 at noon')"
    for data in (b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\xff\xfea\0"):
        assert lines(data)[0].error is not None


def test_words_are_taken_as_they_are() -> None:
    assert list(read_words(["a", "월요일", "", "a\nb"])) == [
        InputText(text) for text in ("a", "월요일", "", "a\nb")
    ]


def test_words_that_the_locale_could_not_decode_are_read_as_utf8(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a C locale the interpreter hands over undecoded bytes, as surrogates."""
    monkeypatch.setattr(os, "fsencode", lambda word: word.encode("ascii", "surrogateescape"))
    korean = "월요일".encode().decode("ascii", "surrogateescape")
    assert korean != "월요일"
    found, bad, lone = read_words([korean, "a\udce9", "\ud800"])
    assert found == InputText("월요일")
    assert bad.error is not None
    assert "byte 0xe9 at position 1" in bad.error.message
    assert lone.error is not None


def test_a_translation_is_one_line() -> None:
    assert one_line("a \r\n b\u2028c\x0bd\n\ne") == "a b c d e"
    assert one_line("12\u202f000\t€ ") == "12\u202f000\t€ "


def test_a_long_text_is_named_by_its_beginning() -> None:
    assert str(InputText("x" * 100)) == repr("x" * 39 + "…")


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"a", b"a\n", b"a\r\nb", b"\n\nb\n", b"x" * 200_000 + b"\n" + b"y" * 3]
)
def test_lines_are_those_of_the_stream_without_its_lock(data: bytes, tmp_path: Path) -> None:
    expected = data.splitlines(keepends=True) if b"\r" not in data else [b"a\r\n", b"b"]
    assert list(unlocked_lines(io.BytesIO(data))) == expected
    file = tmp_path / "lines"
    file.write_bytes(data)
    with file.open("rb") as stream:
        assert list(unlocked_lines(stream)) == expected
        assert stream.raw.tell() == len(data)
