"""Files of strangers: refused with a reason, in little time and memory, never with a traceback."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.documents import Options, format_of, formats, model, open_document, xml_reading
from hub.errors import DocumentError

NAMES = [one.name for one in formats()]
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<xliff version="1.2">&b;</xliff>'
)
FILE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xliff version="1.2">&e;</xliff>'


def zipped(parts: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize("source", [LAUGHS, FILE])
def test_document_types_are_refused(source: str) -> None:
    with pytest.raises(DocumentError, match="declares a document type"):
        open_document("a.xlf", source.encode())
    with pytest.raises(DocumentError, match="declares a document type"):
        open_document("a.xlf", source.replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"))
    with pytest.raises(DocumentError, match=r"part 'word/document.xml' declares"):
        open_document("a.docx", zipped({"word/document.xml": source.encode()}))


def test_archives_that_grow_are_refused_before_they_are_unpacked() -> None:
    bomb = zipped({"word/document.xml": b"<x>" + b"0" * (400 * 2**20 // 20) + b"</x>"})
    assert len(bomb) < 100_000
    with pytest.raises(DocumentError, match="at most 200 times"):
        open_document("a.docx", bomb)
    many = zipped({f"word/{index}": b"" for index in range(10_001)})
    with pytest.raises(DocumentError, match="10001 parts"):
        open_document("a.docx", many)


def test_archives_that_lie_about_a_size_are_refused() -> None:
    content = b"<x>" + b"a" * 5000 + b"</x>"
    lying = zipped({"word/document.xml": content})
    size = len(content).to_bytes(4, "little")
    lying = lying.replace(size, (10).to_bytes(4, "little"))
    with pytest.raises(DocumentError):
        open_document("a.docx", lying)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_part_that_is_larger_than_it_says_takes_no_memory(method: int) -> None:
    """zipfile itself unpacks such a part whole, and only then looks at its size."""
    size = 64 * 2**20
    bomb = bytearray(zipped({"word/document.xml": b" " * size}, method=method))
    assert len(bomb) < 100_000
    entry = bomb.rindex(b"PK\x01\x02") + 24
    assert int.from_bytes(bomb[entry : entry + 4], "little") == size
    bomb[entry : entry + 4] = (1000).to_bytes(4, "little")
    told = "damaged" if method == zipfile.ZIP_DEFLATED else f"method {method}"
    tracemalloc.start()
    try:
        with pytest.raises(DocumentError, match=told):
            open_document("a.docx", bytes(bomb))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_an_archive_of_very_many_parts_is_refused_before_they_are_counted() -> None:
    entry = zipped({"a": b""})
    start, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    many = 20_001 * entry[start:end]
    tail = entry[end : end + 12] + len(many).to_bytes(4, "little") + entry[end + 16 :]
    with pytest.raises(DocumentError, match="far more"):
        open_document("a.docx", entry[:start] + many + tail)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.docx", zipped({"xl/workbook.xml": b"<x/>"}), "has no part 'word/document.xml'"),
        ("a.docx", b"PK\x03\x04", "not a zip archive"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.json", b'{"a": }', "not JSON"),
        ("a.xlf", b"<a>" * 100_000, "deeper than 200"),
        ("a.xlf", b"<xliff version='3'/>", "'3' is not known"),
        ("a.xlf", b"<tmx/>", "XLIFF has 'xliff'"),
        ("a.xlf", b"<?xml version='1.0' encoding='klingon'?><a/>", "encoding"),
        ("a.po", b'msgid "a\nmsgstr ""\n', "line 1: not a string that ends"),
        ("a.po", b'msgstr ""\n', "without a msgid"),
        ("a.po", b'msgid ""\nmsgstr "charset=klingon\\n"\n', "'klingon' is not known"),
        ("a.srt", b"Hello\n", "times of a cue"),
        ("a.vtt", b"00:00.000 --> 00:01.000\nHi\n", "begins with the word WEBVTT"),
        ("a.txt", b"caf\xe9", "0xe9 at position 3 is not utf-8"),
        ("a.txt", b"\xff\xfea", "utf-16-le"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, data: bytes, told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        open_document(name, data)


MANY = 2_001
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b"a\n" * MANY),
        ("a.json", b"[" + b'"a",' * MANY + b'"a"]'),
        ("a.md", b"a\n\n" * MANY),
        ("a.po", b'msgid "a"\nmsgstr ""\n\n' * MANY),
        ("a.po", b'msgid "a"\nmsgid_plural "b"\n' + b'msgstr[0] ""\n' * 30 + b"\n" * 2),
        ("a.srt", b"00:00:01,000 --> 00:00:02,000\n" + b"-a\n" * MANY),
        ("a.xlf", b"<xliff version='1.2'>" + b"<trans-unit><source>a</source></trans-unit>" * MANY
         + b"</xliff>"),
        ("a.xlsx", zipped({"xl/workbook.xml": b"<x/>", "xl/sharedStrings.xml":
         f"<sst xmlns='{SHEET}'>".encode() + b"<si><t>a</t></si>" * MANY + b"</sst>"})),
    ],
)  # fmt: skip
def test_texts_are_counted_before_all_are_there(
    name: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 20 if b"plural" in data else MANY - 1
    monkeypatch.setattr(model, "MAX_UNITS", limit)
    with pytest.raises(DocumentError, match=f"more than {limit:,} (texts|lines)"):
        open_document(name, data)


def test_nodes_of_xml_are_counted_over_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = b"<a/><a b=''/><!----><?c?><![CDATA[]]>"  # six, with the attribute
    monkeypatch.setattr(xml_reading, "MAX_NODES", 60)
    monkeypatch.setattr(xml_reading.Room.__init__, "__defaults__", (60,))
    assert open_document("a.xlf", b"<xliff version='1.2'>" + nodes * 9 + b"</xliff>")
    with pytest.raises(DocumentError, match="over 60 elements"):
        open_document("a.xlf", b"<xliff version='1.2'>" + nodes * 10 + b"</xliff>")
    part = b"<x>" + nodes * 6 + b"</x>"
    slides = {"ppt/presentation.xml": b"<x/>", "ppt/slides/a.xml": part}
    assert not open_document("a.pptx", zipped(slides)).units
    with pytest.raises(DocumentError, match=r"part 'ppt/slides/b.xml' brings"):
        open_document("a.pptx", zipped({**slides, "ppt/slides/b.xml": part}))


def test_sheets_of_numbers_are_not_parsed() -> None:
    numbers = b"<worksheet>" + b"<c t='n'><v>1</v></c>" * 100 + b"</worksheet"
    parts = {"xl/workbook.xml": b"<x/>", "xl/worksheets/sheet1.xml": numbers}
    data = zipped(parts)
    document = open_document("a.xlsx", data)
    assert not document.units
    written = zipfile.ZipFile(io.BytesIO(document.render([]).data))
    assert {name: written.read(name) for name in written.namelist()} == parts
    parts["xl/worksheets/sheet1.xml"] = numbers.replace(b"'n'", b"'inlineStr'")
    with pytest.raises(DocumentError, match="not well-formed"):
        open_document("a.xlsx", zipped(parts))


@pytest.mark.parametrize(
    ("name", "main", "part", "space"),
    [
        ("a.docx", "word/document.xml", "word/document.xml", "wordprocessingml"),
        ("a.pptx", "ppt/presentation.xml", "ppt/slides/slide1.xml", "presentationml"),
        ("a.xlsx", "xl/workbook.xml", "xl/sharedStrings.xml", "spreadsheetml"),
    ],
)
def test_strict_open_xml_is_refused_not_overlooked(
    name: str, main: str, part: str, space: str
) -> None:
    strict = f"<w:a xmlns:w='http://purl.oclc.org/ooxml/{space}/main'><w:t>Hi</w:t></w:a>"
    with pytest.raises(DocumentError, match="strict Open XML"):
        open_document(name, zipped({main: b"<x/>", part: strict.encode()}))


def test_a_page_in_ascii_is_not_utf_16() -> None:
    page = "<meta charset=utf-16><p>Grüße an alle</p> "
    document = open_document("a.html", page.encode())
    assert [unit.text for unit in document.units] == [page]
    assert document.render([None]).data == page.encode()


@pytest.mark.parametrize("codec", ["punycode", "idna", "unicode_escape", "raw_unicode_escape"])
def test_codecs_that_are_no_encodings_of_files_are_refused(codec: str) -> None:
    header = f'msgid ""\nmsgstr "Content-Type: text/plain; charset={codec}\\n"\n'
    with pytest.raises(DocumentError, match=f"'{codec}' is not known"):
        open_document("a.po", header.encode())


def test_markdown_has_a_limit_of_its_own() -> None:
    with pytest.raises(DocumentError, match="4,194,304"):
        open_document("a.md", b" " * (4 * 2**20 + 1))


def test_encodings_that_make_no_text_are_refused() -> None:
    for name in ("base64", "rot13", "klingon", "undefined", "utf-8\0"):
        with pytest.raises(DocumentError):
            open_document("a.txt", b"a", Options(encoding=name))


def test_a_file_is_not_larger_than_the_limit() -> None:
    with pytest.raises(DocumentError, match="67,108,864"):
        open_document("a.txt", bytes(64 * 2**20 + 1))


def test_an_encoding_that_lacks_a_character_is_told() -> None:
    document = open_document("a.txt", b"caf\xe9", Options(encoding="latin-1"))
    with pytest.raises(DocumentError, match=r"U\+CEE4.*convert"):
        document.render(["\ucee4"])


@pytest.mark.parametrize(
    "text",
    [
        "<a " * 30_000,
        '<a "' * 30_000,
        "<!--" * 30_000,
        "[" * 20_000,
        "*a " * 10_000,
        "`" * 20_000,
        "> " * 5_000,
        "{\\" * 20_000,
        'msgid "' * 20_000,
        "\n" * 60_000,
        " " * 60_000,
        "a\u2028\x0b\x00" * 5_000,
    ],
)
@pytest.mark.parametrize("name", ["txt", "md", "html", "po", "srt", "json"])
def test_time_is_bounded(name: str, text: str) -> None:
    """A file of 60,000 characters is read and written; the suite's own limit ends what hangs."""
    framed = {
        "srt": f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n",
        "json": json.dumps(f"word {text}"),
        "po": f'msgid "{json.dumps(text)[1:-1]}"\nmsgstr ""\n',
    }.get(name, f"word {text}")
    try:
        document = open_document(name, framed.encode(), Options(unit_characters=1000))
    except DocumentError:
        return
    document.render([unit.text for unit in document.units])


def test_time_is_bounded_where_much_belongs_together() -> None:
    """Each of these took the square of its size once, or would if something were looked for."""
    many = 10_000
    tags = "<b>" * many + "word" + "</i>" * many
    open_document("a.json", json.dumps(tags).encode())
    with pytest.raises(DocumentError, match="more than 40 keywords"):
        open_document("a.po", b'msgid "a"\n' + b'msgstr[1] ""\n' * many)
    marks = "".join(f'<mrk mtype="seg" mid="{n}">word</mrk>' for n in range(many))
    unit = f"<source>x</source><seg-source>{marks}</seg-source><target>{marks}</target>"
    file = f'<xliff version="1.2"><trans-unit id="1">{unit}</trans-unit></xliff>'
    assert len(open_document("a.xlf", file.encode()).units) == many
    slides = {f"ppt/slides/slide{n}.xml": b"<x/>" for n in range(9000)}
    assert not open_document("a.pptx", zipped({"ppt/presentation.xml": b"<x/>", **slides})).units
    page = "<p>word</p>\n" * 100_000
    assert len(open_document("a.html", page.encode(), Options(unit_characters=100)).units) > 1000


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    try:
        document = open_document(name, data)
    except DocumentError:
        return
    document.render([None] * len(document.units))


PIECES = st.sampled_from(
    ["word", " ", "\n", "\r\n", "*", "**", "_", "`", "[", "](", ")", "<b>", "</b>", "<", "&amp;",
     "&", "\\", "#", "> ", "- ", "1. ", "|", "\n\n", "~~", "!", "  \n", "\t",
     "<!-- ", "-->", "<p>", "```"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["txt", "md", "html"]), st.lists(PIECES, max_size=30).map("".join))
def test_a_text_translated_by_itself_has_the_same_units(name: str, text: str) -> None:
    document = open_document(name, text.encode())
    units = [unit.text for unit in document.units]
    rendered = document.render(units)
    again = [unit.text for unit in open_document(name, rendered.data).units]
    assert again == units or rendered.left


def test_every_format_has_a_reader_and_a_type() -> None:
    for one in formats():
        assert format_of(f"x{one.suffixes[0]}") is format_of(one.mime_type) is one
        with pytest.raises(DocumentError):
            open_document(one, b"\xff\xfe\x00\xd8")
