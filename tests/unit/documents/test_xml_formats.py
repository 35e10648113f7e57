"""XLIFF and office files: structure kept, read back by other libraries."""

from __future__ import annotations

import io
import re
import zipfile

import docx
import pytest
from docx.shared import Pt
from lxml import etree

from hub.documents import Document, Options, State, Unit, open_document

XLIFF_1 = """<?xml version="1.0" encoding="UTF-8"?>\r
<!-- kept -->\r
<xliff version="1.2" xmlns="urn:oasis:names:tc:xliff:document:1.2" xmlns:z="urn:z">\r
 <file source-language="en" datatype="html" original="x" z:odd="1"><body>\r
  <trans-unit id="1">\r
    <source>Hi <g id="1">bold <x id="2" equiv-text="{{n}}"/></g> &amp; <bpt id="3">&lt;b></bpt>all<ept id="3">&lt;/b></ept></source>\r
  </trans-unit>\r
  <trans-unit id="2" translate="no"><source>No</source></trans-unit>\r
  <trans-unit id="3"><source>A. B.</source><seg-source><mrk mtype="seg" mid="1">A one.</mrk> <mrk mtype="seg" mid="2">B two.</mrk></seg-source></trans-unit>\r
  <trans-unit id="4"><source>Old</source><target state="needs-review-translation">x</target></trans-unit>\r
  <trans-unit id="5"><source>Done</source><target>y</target></trans-unit>\r
 </body></file>\r
</xliff>\r
"""  # noqa: E501
XLIFF_2 = """<xliff xmlns="urn:oasis:names:tc:xliff:document:2.0" version="2.0" srcLang="en">
<file id="f"><unit id="u"><segment id="s">
 <source>Hi <pc id="1">there <ph id="2"/></pc> <sc id="3"/>you<ec startRef="3"/></source>
</segment><ignorable><source> </source></ignorable><segment state="initial">
 <source>Two</source>
 <target>Zwei</target>
</segment></unit></file></xliff>
"""


def loud(unit: Unit) -> str:
    if unit.mime_type == "text/plain":
        return unit.text.upper()
    return re.sub(
        r"<[^>]*>|&\w+;|[^<&]+", lambda m: m[0] if m[0][0] in "<&" else m[0].upper(), unit.text
    )


def translated(document: Document) -> bytes:
    rendered = document.render([loud(unit) for unit in document.units])
    assert rendered.left == ()
    return rendered.data


def canonical(data: bytes) -> bytes:
    return etree.tostring(etree.fromstring(data), method="c14n")


@pytest.mark.parametrize("source", [XLIFF_1, XLIFF_2])
def test_without_translations_xliff_means_the_same(source: str) -> None:
    document = open_document("a.xlf", source.encode())
    same = document.render([None] * len(document.units)).data
    assert canonical(same) == canonical(source.encode())
    assert same.splitlines()[0] == source.encode().splitlines()[0]


def test_targets_of_xliff_1_have_the_elements_of_their_sources() -> None:
    document = open_document("a.xliff", XLIFF_1.encode(), Options(target="ko"))
    assert [(unit.place, unit.state) for unit in document.units] == [
        ("unit 1", State.UNTRANSLATED),
        ("unit 3 1", State.UNTRANSLATED),
        ("unit 3 2", State.UNTRANSLATED),
        ("unit 4", State.FUZZY),
        ("unit 5", State.TRANSLATED),
    ]
    data = translated(document)
    state = ' state="translated" state-qualifier="mt-suggestion"'
    expected = (
        XLIFF_1.replace(
            "</source>\r\n",
            f'</source>\r\n    <target{state}>HI <g id="1">BOLD <x id="2" equiv-text="{{{{n}}}}"/>'
            '</g> &amp; <bpt id="3">&lt;b></bpt>ALL<ept id="3">&lt;/b></ept></target>\r\n',
        )
        .replace(
            "</seg-source>",
            f'</seg-source><target{state}><mrk mtype="seg" mid="1">A ONE.</mrk> '
            '<mrk mtype="seg" mid="2">B TWO.</mrk></target>',
        )
        .replace(' state="needs-review-translation">x', f"{state}>OLD")
        .replace("<target>y", f"<target{state}>DONE")
        .replace('z:odd="1"', 'z:odd="1" target-language="ko"')
    )
    assert canonical(data) == canonical(expected.encode())
    assert data.count(b"\r\n") == data.count(b"\n")


def test_a_part_without_an_id_is_a_part() -> None:
    source = XLIFF_1.replace(' mid="1"', "").replace(' mid="2"', "")
    data = translated(open_document("a.xliff", source.encode()))
    assert data.count(b'<mrk mtype="seg">A ONE.</mrk>') == 1


def unit_of(inner: str, around: str = "<body>{}</body>") -> bytes:
    """Return a file of XLIFF 1.2 with one unit."""
    unit = around.format(f"<trans-unit id='1'>{inner}</trans-unit>")
    return f"<xliff version='1.2'><file target-language='de'>{unit}</file></xliff>".encode()


def test_segments_with_one_id_each_have_their_translation() -> None:
    seg = "<mrk mtype='seg' mid='1'>{}</mrk>"
    source = f"<source>x</source><seg-source>{seg.format('one')}{seg.format('two')}</seg-source>"
    for there in ("", seg.format("ein"), seg.format("ein") + seg.format("zwei")):
        document = open_document("a.xlf", unit_of(f"{source}<target>{there}</target>"))
        assert [unit.text for unit in document.units] == ["one", "two"]
        written = etree.fromstring(document.render(["EINS", "ZWEI"]).data)
        assert [one.text for one in written.iterfind(".//target/mrk")] == ["EINS", "ZWEI"]


def test_a_segment_in_a_segment_is_translated_once() -> None:
    inner = "<mrk mtype='seg' mid='1'>one <mrk mtype='seg' mid='2'>two</mrk></mrk>"
    document = open_document(
        "a.xlf", unit_of(f"<source>x</source><seg-source>{inner}</seg-source>")
    )
    (unit,) = document.units
    written = etree.fromstring(document.render([unit.text.replace("two", "zwei")]).data)
    target = written.find(".//target")
    assert target is not None
    assert "".join(target.itertext()) == "one zwei"


@pytest.mark.parametrize(
    ("around", "translated"),
    [
        ("<body translate='no'><group>{}</group></body>", False),
        ("<body translate='no'><group translate='yes'>{}</group></body>", True),
        ("<body translate='yes'><group translate='no'>{}</group></body>", False),
    ],
)
def test_what_is_said_nearest_to_a_text_decides(around: str, translated: bool) -> None:
    document = open_document("a.xlf", unit_of("<source>one</source>", around))
    assert [unit.text for unit in document.units] == ["one"] * translated


def test_segments_of_xliff_2_are_filled() -> None:
    document = open_document("a.xlf", XLIFF_2.encode(), Options(target="de"))
    assert [unit.state for unit in document.units] == [State.UNTRANSLATED, State.FUZZY]
    expected = (
        XLIFF_2.replace('srcLang="en"', 'srcLang="en" trgLang="de"')
        .replace('<segment id="s"', '<segment id="s" state="translated"')
        .replace('<segment state="initial"', '<segment state="translated"')
        .replace("Zwei", "TWO")
        .replace(
            '3"/></source>\n',
            '3"/></source>\n <target>HI <pc id="1">THERE <ph id="2"/></pc> '
            '<sc id="3"/>YOU<ec startRef="3"/></target>\n',
        )
    )
    assert canonical(translated(document)) == canonical(expected.encode())


def test_codes_that_a_translation_damages_leave_the_unit_as_it_was() -> None:
    document = open_document("a.xlf", XLIFF_2.encode())
    unit = document.units[0]
    for damaged in (
        "HI",
        unit.text.replace("</g>", "", 1),
        unit.text + '<x id="9"></x>',
        f"{unit.text}{unit.text}",
    ):
        again = open_document("a.xlf", XLIFF_2.encode())
        rendered = again.render([damaged, None])
        assert rendered.left == (0,)
        assert canonical(rendered.data) == canonical(XLIFF_2.encode())


def word_file() -> bytes:
    made = docx.Document()
    paragraph = made.add_paragraph("Hello ")
    paragraph.add_run("bold").bold = True
    paragraph.add_run(" and more")
    paragraph.add_run("\tafter a tab")
    made.add_heading("A heading")
    made.add_table(1, 2).cell(0, 0).text = "in a cell"
    made.sections[0].header.paragraphs[0].text = "running head"
    big = made.add_paragraph().add_run("all in one size")
    big.font.size = Pt(20)
    written = io.BytesIO()
    made.save(written)
    return written.getvalue()


def test_word_files_keep_runs_tables_and_headers() -> None:
    source = word_file()
    data = translated(open_document("a.docx", source))
    read = docx.Document(io.BytesIO(data))
    first, heading, big = read.paragraphs
    assert [(run.text, run.bold) for run in first.runs] == [
        ("HELLO ", None), ("BOLD", True), (" AND MORE", None), ("\t", None), ("AFTER A TAB", None),
    ]  # fmt: skip
    assert (heading.text, heading.style.name) == ("A HEADING", "Heading 1")
    assert [(run.text, run.font.size) for run in big.runs] == [("ALL IN ONE SIZE", Pt(20))]
    assert read.tables[0].cell(0, 0).text == "IN A CELL"
    assert read.sections[0].header.paragraphs[0].text == "RUNNING HEAD"
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(io.BytesIO(data)) as new:
        assert new.namelist() == old.namelist()
        changed = {name for name in old.namelist() if old.read(name) != new.read(name)}
    assert {name.rpartition("/")[2].rstrip("0123456789.xml") for name in changed} == {
        "document",
        "header",
    }


def office(main: str, parts: dict[str, str]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(main, "<x/>")
        for name, content in parts.items():
            archive.writestr(name, content)
    return written.getvalue()


def part(data: bytes, name: str) -> str:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name).decode()


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def test_links_fields_and_text_boxes_of_word() -> None:
    source = (
        f'<w:document {W}><w:body><w:p><w:pPr/><w:r><w:t xml:space="preserve">See </w:t></w:r>'
        '<w:hyperlink w:anchor="x"><w:r><w:t>this page</w:t></w:r></w:hyperlink>'
        '<w:r><w:t xml:space="preserve"> on </w:t></w:r>'
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>'
        '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
        "<w:sdt><w:sdtPr/><w:sdtContent><w:r><w:t>a choice</w:t></w:r></w:sdtContent></w:sdt>"
        "<w:r><w:pict><w:p><w:r><w:t>inside a box</w:t></w:r></w:p></w:pict></w:r></w:p>"
        "<w:p><w:r><w:t>12 %</w:t></w:r></w:p></w:body></w:document>"
    )
    document = open_document("a.docx", office("word/document.xml", {"word/header1.xml": source}))
    assert [unit.text for unit in document.units] == [
        'See <g id="0">this page</g> on <code id="1"></code><g id="2">a choice</g>',
        "inside a box",
    ]  # fmt: skip
    expected = source
    for words in ("See ", "this page", " on ", "a choice", "inside a box"):
        expected = expected.replace(f">{words}<", f">{words.upper()}<")
    made = part(translated(document), "word/header1.xml")
    assert canonical(made.encode()) == canonical(expected.encode())


WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word(paragraph: str) -> bytes:
    """Return a Word file with one paragraph."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        body = f"<w:document xmlns:w='{WORD}'><w:p>{paragraph}</w:p></w:document>"
        archive.writestr("word/document.xml", body)
    return made.getvalue()


@pytest.mark.parametrize("name", ["ins", "moveTo", "bdo", "dir", "smartTag", "hyperlink"])
def test_words_in_elements_around_runs_are_translated(name: str) -> None:
    run = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>"
    inner = f"<w:{name}>{run.format('red')}</w:{name}>"
    document = open_document("a.docx", word(run.format("a ") + inner + run.format(" rose")))
    (unit,) = document.units
    assert re.sub("<[^>]*>", "", unit.text) == "a red rose"
    data = document.render([unit.text.replace("red", "rote")]).data
    (again,) = open_document("a.docx", data).units
    assert re.sub("<[^>]*>", "", again.text) == "a rote rose"


def test_text_behind_a_comment_is_not_lost() -> None:
    document = open_document("a.docx", word("<w:r><w:t>one <!-- no -->two</w:t></w:r>"))
    assert [unit.text for unit in document.units] == ["one two"]


def test_slides_keep_the_end_of_their_paragraphs() -> None:
    source = (
        f'<a:txBody {A}><a:p><a:pPr/><a:r><a:rPr b="1"/><a:t>Big</a:t></a:r><a:r><a:rPr/>'
        '<a:t> and small words</a:t></a:r><a:endParaRPr lang="en"/></a:p></a:txBody>'
    )
    document = open_document(
        "a.pptx", office("ppt/presentation.xml", {"ppt/slides/slide1.xml": source})
    )
    assert [unit.text for unit in document.units] == ['<g id="0">Big</g> and small words']
    expected = source.replace("Big", "BIG").replace(" and small words", " AND SMALL WORDS")
    made = part(translated(document), "ppt/slides/slide1.xml")
    assert canonical(made.encode()) == canonical(expected.encode())


def test_strings_of_sheets_but_not_the_names_of_columns() -> None:
    source = (
        f"<sst {S}><si><t>Price</t></si><si><t>a text</t></si><si><r><t>plain and long </t></r>"
        "<r><rPr><b/></rPr><t>and bold</t></r></si></sst>"
    )
    parts = {
        "xl/sharedStrings.xml": source,
        "xl/tables/table1.xml": f'<table {S}><tableColumn name="Price"/></table>',
    }
    document = open_document("a.xlsx", office("xl/workbook.xml", parts))
    assert [unit.text for unit in document.units] == [
        "a text",
        'plain and long <g id="0">and bold</g>',
    ]
    made = part(translated(document), "xl/sharedStrings.xml")
    assert "<si><t>Price</t></si><si><t>A TEXT</t></si>" in made
    assert '<r><t xml:space="preserve">PLAIN AND LONG </t></r>' in made
    assert "<r><rPr><b/></rPr><t>AND BOLD</t></r>" in made
