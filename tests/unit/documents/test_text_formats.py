"""Text formats: what is a unit, and that everything else stays to the byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polib
import pytest
from markdown_it import MarkdownIt

from hub.documents import Document, Options, State, Unit, open_document
from hub.errors import DocumentError


def loud(unit: Unit) -> str:
    """A translation that can be told from its source: capitals, tags as they are."""
    if unit.mime_type == "text/plain":
        return unit.text.upper()
    return re.sub(
        r"<[^>]*>|&\w+;|[^<&]+", lambda m: m[0].upper() if m[0][0] not in "<&" else m[0], unit.text
    )


def translated(document: Document) -> bytes:
    rendered = document.render([loud(unit) for unit in document.units])
    assert rendered.left == ()
    return rendered.data


def texts(name: str, data: str, **options: str) -> list[str]:
    return [unit.text for unit in open_document(name, data.encode(), Options(**options)).units]


JSON = (
    '{\r\n "key one": "Hello \\"you\\" & <b>me</b>",\t'
    '"n": {"b": ["one", 2, null, "{x}", "12"]}\r\n}'
)
SRT = (
    "1\r\n00:00:01,000 --> 00:00:02,000\r\nHello, <i>my old</i>\r\nfriend of many years\r\n\r\n"
    "2\r\n00:00:03,000 --> 00:00:04,500 X1:40\r\n- Yes & no\r\n- {\\an8}No\r\n"
)
VTT = "WEBVTT\n\nNOTE to all\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hi &amp; bye</v>\n"
MARKDOWN = r"""---
title: front matter
---
# Title *here* #

A paragraph with `code`, a [link *x*](http://x.y "T t") and ![img](a.png),
wrapped **bold** <b>tag</b> \* star, fish &amp; chips\
hard <http://auto.link> and [ref][r] snake_case.

> quoted text
> goes on

- item one
- item *two*
  goes on

| a b | c d |
|-----|:----|
| one \| x `y` | two |

```
code here
```

Setext
======

<div>
 <p>html</p>
</div>

[r]: http://ref "x"
"""
PO = r"""# Translators: nobody
msgid ""
msgstr ""
"Project-Id-Version: x\n"
"Language: \n"
"Content-Type: text/plain; charset=UTF-8\n"
"X-Odd: kept\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\n"

#. extracted
#: a.c:1 b.c:2
#, fuzzy, c-format
#| msgid "Hi %s"
msgid "Hello \"%s\",\n"
msgstr "x"

msgctxt "menu"
msgid ""
"long text that is <b>wrapped</b> over lines because it is a longer text indeed "
"and more"
msgstr ""

msgid "one file"
msgid_plural "%d files"
msgstr[0] ""
msgstr[1] ""

msgid "done"
msgstr "fertig"

#~ msgid "gone"
#~ msgstr "weg"
"""


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", "One\r\n\r\n  two  \n12:30\n\tlast"),
        ("a.json", JSON),
        ("a.srt", SRT),
        ("a.vtt", VTT),
        ("a.md", MARKDOWN),
        ("a.md", MARKDOWN.replace("\n", "\r\n")),
        ("a.po", PO),
        ("a.html", "<!doctype html><P class=a>Hi &eacute;<br>there"),
    ],
)
def test_without_translations_a_file_stays_to_the_byte(name: str, data: str, mark: bytes) -> None:
    content = mark + data.encode()
    document = open_document(name, content)
    assert document.units
    assert document.render([None] * len(document.units)).data == content


def test_lines_of_text_stay_lines() -> None:
    document = open_document("a.txt", b"One\r\n\r\n  two  \r\n12:30\r\nlast")
    assert [(unit.text, unit.place) for unit in document.units] == [
        ("One", "line 1"), ("two", "line 3"), ("last", "line 5"),
    ]  # fmt: skip
    assert document.render(["EINS\nZWEI", None, "X"]).data == (
        b"EINS ZWEI\r\n\r\n  two  \r\n12:30\r\nX"
    )


def test_json_is_json_again_with_keys_and_other_values_untouched() -> None:
    data = translated(open_document("a.json", JSON.encode()))
    expected = {"key one": 'HELLO "YOU" & <b>ME</b>', "n": {"b": ["ONE", 2, None, "{X}", "12"]}}
    assert json.loads(data) == expected
    assert b'\r\n "key one": "' in data


def test_json_in_ascii_stays_in_ascii() -> None:
    document = open_document("a.json", b'{"a": "caf\\u00e9"}')
    assert document.render(["\u00e9t\u00e9"]).data == b'{"a": "\\u00e9t\\u00e9"}'


def test_cues_keep_their_lines_speakers_and_tags() -> None:
    assert texts("a.srt", SRT) == [
        'Hello, <g id="0">my old</g> friend of many years', "Yes & no", "No",
    ]  # fmt: skip
    data = translated(open_document("a.srt", SRT.encode())).decode()
    assert data == SRT.replace(
        "Hello, <i>my old</i>\r\nfriend", "HELLO, <i>MY OLD</i>\r\nFRIEND"
    ).replace("of many years", "OF MANY YEARS").replace("Yes & no", "YES & NO").replace(
        "}No", "}NO"
    )
    assert (
        translated(open_document("a.vtt", VTT.encode()))
        == VTT.replace("Hi &amp; bye", "HI &amp; BYE").encode()
    )


def test_markdown_renders_as_the_source_does_with_its_words_translated() -> None:
    """The judge is markdown-it's own HTML of both."""
    data = translated(open_document("a.md", MARKDOWN.encode())).decode()
    judge = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    front = MARKDOWN.index("# Title")

    def page(text: str) -> str:
        html = judge.render(text[front:])
        kept = re.split(
            r"(<pre>.*?</pre>|<code>.*?</code>|<[^>]*>|&\w+;|http://auto\.link)", html, flags=re.S
        )
        return " ".join("".join(
            part if index % 2 else part.upper() for index, part in enumerate(kept)
        ).split())  # fmt: skip

    assert page(data) == page(MARKDOWN)
    assert data[:front] == MARKDOWN[:front]
    for kept in (
        '(http://x.y "T t")',
        "![img](a.png)",
        "snake_case".upper(),
        "[REF][r]",
        r"ONE \| X `y`",
    ):
        assert kept in data
    assert "> QUOTED TEXT GOES ON\n\n- ITEM ONE\n- ITEM *TWO* GOES ON\n" in data


def test_a_translation_is_never_read_as_markup() -> None:
    document = open_document("a.md", b"Hello *you* there\n")
    unit = document.units[0]
    assert unit.text == 'Hello <g id="0">you</g> there'
    written = document.render(['<g id="0">a*b_c_</g> [x](y) `t` &lt;b&gt; *z*']).data.decode()
    html = MarkdownIt().render(written)
    assert html == "<p><em>a*b_c_</em> [x](y) `t` &lt;b&gt; *z*</p>\n"


@pytest.mark.parametrize("text", ["# a", "- a", "1. a", "> a", "```", "    a"])
def test_a_translation_begins_no_block(text: str) -> None:
    document = open_document("a.md", b"Hello\n")
    html = MarkdownIt().render(document.render([text]).data.decode())
    assert html.startswith("<p>")


def test_po_reads_in_polib_as_it_was_written(tmp_path: Path) -> None:
    document = open_document("a.po", PO.encode(), Options(target="pt-BR"))
    assert [unit.state for unit in document.units] == [
        State.FUZZY, State.UNTRANSLATED, State.UNTRANSLATED, State.UNTRANSLATED, State.TRANSLATED,
    ]  # fmt: skip
    data = translated(document).decode()
    before, after = polib.pofile(PO), polib.pofile(data)
    assert after.metadata == {**before.metadata, "Language": "pt_BR"}
    for old, new in zip(before, after, strict=True):
        assert (new.msgid, new.msgctxt, new.occurrences, new.comment, new.obsolete) == (
            old.msgid, old.msgctxt, old.occurrences, old.comment, old.obsolete,
        )  # fmt: skip
    hello, long, files, done, gone = after
    assert (hello.msgstr, hello.flags, hello.previous_msgid) == (
        'HELLO "%S",\n', ["c-format"], None,
    )  # fmt: skip
    assert long.msgstr == long.msgid.upper().replace("B>", "b>")
    assert files.msgstr_plural == {0: "ONE FILE", 1: "%D FILES"}
    assert (done.msgstr, gone.msgstr) == ("DONE", "weg")
    start = data.index('msgstr ""\n"LONG')
    assert max(map(len, data[start : data.index("msgid", start)].splitlines())) <= 79
    untouched = [
        line for line in PO.splitlines() if line.startswith(("#:", "#.", "#~", "# ", '"X-'))
    ]
    assert [line for line in data.splitlines() if line in untouched] == untouched


def test_forms_of_po_are_known_by_their_numbers() -> None:
    entry = 'msgid "one file"\nmsgid_plural "%d files"\nmsgstr[1] ""\nmsgstr[0] ""\n'
    document = open_document("a.po", entry.encode())
    assert [unit.text for unit in document.units] == ["%d files", "one file"]
    alone = entry.replace('msgstr[1] ""\n', "")  # of a language with one form
    assert [unit.text for unit in open_document("a.po", alone.encode()).units] == ["%d files"]


def test_po_in_another_charset_comes_out_in_utf8() -> None:
    header = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=ISO-8859-1\\n"\n\n'
    source = header + 'msgid "caf\xe9"\nmsgstr ""\n'
    document = open_document("a.po", source.encode("latin-1"))
    assert [unit.text for unit in document.units] == ["caf\xe9"]
    data = document.render(["\ucee4\ud53c"]).data.decode()
    assert polib.pofile(data)[0].msgstr == "\ucee4\ud53c"
    assert "charset=UTF-8" in data


def test_html_is_cut_between_blocks_and_not_inside_what_is_kept() -> None:
    kept = '<div translate="no"><div><p>no</p></div><p>no</p></div><pre><p>x</p></pre>'
    page = "<main>" + "<p>Hello world</p>\n" * 30 + kept + "<p>Hello</p>" * 20 + "</main>"
    document = open_document("a.html", page.encode(), Options(unit_characters=60))
    parts = [unit.text for unit in document.units]
    assert len(parts) > 10
    assert "".join(parts) == page
    assert sum(kept in part for part in parts) == 1


def test_html_declares_its_new_language_and_keeps_its_charset() -> None:
    page = '<html lang="en"><meta charset="windows-1252"><p>caf\xe9</p></html>'.encode("cp1252")
    document = open_document("a.html", page, Options(source="en", target="ko"))
    (unit,) = document.units
    data = document.render([unit.text.replace("caf\xe9", "\ucee4")]).data
    assert data == b'<html lang="ko"><meta charset="windows-1252"><p>&#52964;</p></html>'


def test_a_format_is_found_by_name_ending_or_type() -> None:
    for name in ("x.PO", "po", "text/x-gettext-translation"):
        assert texts(name, 'msgid "a"\nmsgstr ""\n') == ["a"]
    with pytest.raises(DocumentError, match=r"no known format.*xliff"):
        open_document("a.exe", b"")
