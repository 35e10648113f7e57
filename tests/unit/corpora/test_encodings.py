"""What a file is encoded in: its byte order mark says it, else its label."""

from __future__ import annotations

import codecs

import pytest

from hub.errors import CorpusError
from training.corpora.encodings import find_codec, is_single_byte, settle_codec, text_decoder
from training.corpora.segments import Skipped

UNIT = (
    '<tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>ferry</seg></tuv>'
    '<tuv xml:lang="de"><seg>{}</seg></tuv></tu></body></tmx>'
)
XLIFF = (
    '<xliff version="1.2"><file source-language="en" target-language="de"><body><trans-unit id="1">'
    "<source>ferry</source><target>{}</target></trans-unit></body></file></xliff>"
)
MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
# What Python's XML parser knows, what only Python knows, and what nobody knows.
LABELS = ["ISO-8859-1", "windows-1252", "UTF-8", "UTF-16", "US-ASCII", "Shift_JIS", "EUC-KR",
          "unicode", "ucs-2", "zlib", "x-of-our-own", "u" * 70]  # fmt: skip


def declared(label: str, content: str) -> str:
    return f'<?xml version="1.0" encoding="{label}"?>\n{content}'


def only(segments) -> tuple[str, str]:
    (segment,) = segments
    return segment.source, segment.target


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("codec", MARKS)
def test_a_byte_order_mark_goes_before_the_label(put, read, codec: str, label: str) -> None:
    for name, content in (("a.tmx", UNIT), ("a.xlf", XLIFF)):
        text = declared(label, content.format("Fähre – 渡船"))
        path = put(name, MARKS[codec] + text.encode(codec))
        skipped = Skipped()
        assert only(read(path, "en-de", skipped=skipped)) == ("ferry", "Fähre – 渡船")
        assert skipped.notes == []


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="utf-8"?>'])
def test_wide_characters_are_seen_without_a_mark(put, read, codec: str, head: str) -> None:
    path = put("a.tmx", (head + UNIT.format("Fähre")).encode(codec))
    assert only(read(path, "en-de")) == ("ferry", "Fähre")


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("x-sjis", "cp932", "渡船①"),
        ("Windows-31J", "cp932", "渡船①"),
        ("windows-949", "cp949", "나룻배똠"),
        ("ks_c_5601-1987", "cp949", "나룻배"),
        ("x-euc-jp", "euc_jp", "渡船"),
        ("x-mac-roman", "mac_roman", "Fähre"),
        ("Windows1252", "cp1252", "Fähre – „x“"),
        ("cp1252", "cp1252", "Fähre"),
        ("iso-8859-8-i", "iso8859_8", "מעבורת"),
        ("windows-874", "cp874", "เรือ"),
        ("TIS-620", "cp874", "เรือ"),
        ("cp437", "cp437", "Fähre"),
        ("hz-gb-2312", "hz", "渡轮"),
        ("gb_2312-80", "gb18030", "渡轮镕"),
        ("utf8mb4", "utf-8", "Fähre"),
        ("iso-8859-9", "cp1254", "feribot ğ"),
    ],
)
def test_labels_of_the_web_and_of_programs_are_known(put, read, label, codec, text) -> None:
    path = put("a.tmx", declared(label, UNIT.format(text)).encode(codec))
    assert only(read(path, "en-de")) == ("ferry", text)
    header = f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset={label}\\n"\n\n'
    path = put("a.po", (header + f'msgid "ferry"\nmsgstr "{text}"\n').encode(codec))
    assert only(read(path, "en-de")) == ("ferry", text)


@pytest.mark.parametrize(
    "label", ["charmap", "x-user-defined", "undefined", "zlib", "rot13", "8bit", "ANSI", "", "a\0b"]
)
def test_what_is_no_encoding_of_files_is_refused(label: str) -> None:
    assert find_codec(label) is None


def test_every_byte_of_windows_code_pages_is_read() -> None:
    """As the WHATWG Encoding Standard has it; ISO 8859-1 has controls at these places."""
    found = text_decoder("cp1252").decode(b"\x80 \x81 \x9d \xe4", True)
    assert found == "€ \x81 \x9d ä"
    with pytest.raises(UnicodeDecodeError):
        b"\x81".decode("cp1252")
    with pytest.raises(UnicodeDecodeError):  # beyond 0x9F nothing is made up
        text_decoder("cp1253").decode(b"\xd2", True)


def test_bytes_that_are_not_of_the_encoding_are_placed(put, read) -> None:
    content = UNIT.replace("<body>", "<body>\n\n").format("F\xe4hre").encode("latin-1")
    with pytest.raises(CorpusError, match=r"a\.tmx:3: byte 0xe4 is not valid in utf-8, the enc"):
        read(put("a.tmx", content), "en-de")
    fixed = b'<?xml version="1.0" encoding="windows-1252"?>' + content  # what the message advises
    assert only(read(put("a.tmx", fixed), "en-de")) == ("ferry", "Fähre")
    with pytest.raises(CorpusError, match=r"which its byte order mark says it is in"):
        read(put("b.tmx", codecs.BOM_UTF8 + content), "en-de")
    late = declared("EUC-KR", UNIT.format("\n" * 200_000 + "@")).encode("cp949")
    with pytest.raises(CorpusError, match=r"c\.tmx:200002: byte 0xff .*declares as EUC-KR"):
        read(put("c.tmx", late.replace(b"@", b"\xff")), "en-de")


def test_utf_8_with_the_label_of_one_byte_a_character_is_said(put, read) -> None:
    skipped = Skipped()
    path = put("a.tmx", declared("ISO-8859-1", UNIT.format("Fähre")).encode())
    assert only(read(path, "en-de", skipped=skipped)) == ("ferry", "Fähre")
    assert len(skipped.notes) == 1
    assert "it declares encoding=ISO-8859-1, but all of it is valid UTF-8, so" in skipped.notes[0]
    for text in ("Fahre", "Fähre"):
        quiet = Skipped()
        real = put("b.tmx", declared("ISO-8859-1", UNIT.format(text)).encode("latin-1"))
        assert only(read(real, "en-de", skipped=quiet)) == ("ferry", text)
        assert quiet.notes == []


def test_a_label_that_is_left_over_is_told() -> None:
    utf8 = "Fähre 渡船".encode()
    pieces = [bytes([byte]) for byte in utf8]
    assert settle_codec("cp1252", "it says", pieces)[0] == "utf-8"
    assert settle_codec("cp949", "it says", pieces)[0] == "cp949"
    assert settle_codec("cp949", "it says", pieces)[1].startswith("it says, but all of it is valid")
    for other in (utf8[:-1], b"ferry", "Fähre".encode("latin-1")):
        assert settle_codec("cp1252", "it says", [other]) == ("cp1252", "")
    assert settle_codec("utf-8", "it says", [utf8]) == ("utf-8", "")


def test_single_byte_encodings_are_told() -> None:
    single = ["cp1252", "koi8-r", "iso8859-8", "cp874", "mac-roman", "cp437"]
    several = ["utf-8", "cp932", "gb18030", "big5", "euc_jp", "iso2022_jp", "utf-7", "johab"]
    assert [codec for codec in single + several if is_single_byte(codec)] == single
