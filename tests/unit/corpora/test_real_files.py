"""Files as localisation tools really write them, each kind of oddity once."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata

import pytest

from hub.errors import CorpusError
from training.corpora.inline import FlatText
from training.corpora.plurals import plural_forms, read_plural_forms, usual_plural_forms
from training.corpora.segments import Skipped, one_line
from training.corpora.tags import EXACT, OTHER, VARIANT, match, plain_tag

HEADER = (
    'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset={charset}\\n"\n'
    '"Language: {language}\\n"\n'
)


def po(body: str, language: str = "de", charset: str = "UTF-8", more: str = "") -> str:
    return HEADER.format(charset=charset, language=language) + more + "\n" + body


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def plural_header(text: str) -> str:
    return f'"Plural-Forms: {text}\\n"\n'


# Plural forms


RUSSIAN = "n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2"


@pytest.mark.parametrize(
    ("count", "expression", "singular", "plural"),
    [
        (2, "(n != 1)", 0, 1),
        (2, "n > 1", None, 1),  # French says the first form of 0 too
        (1, "0", None, 0),
        (3, RUSSIAN, None, 2),  # the first form is said of 21 too
        (4, f"n==1 ? 3 : {RUSSIAN}", 3, 2),  # KDE's
        (4, "(n%100==1 ? 1 : n%100==2 ? 2 : n%100==3 || n%100==4 ? 3 : 0)", None, 0),
        (
            6,
            "n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5",
            1,
            4,
        ),
    ],
)
def test_forms_are_told_by_the_numbers_that_take_them(count, expression, singular, plural) -> None:
    found = plural_forms(count, expression)
    assert (found.singular, found.plural) == (singular, plural)


@pytest.mark.parametrize(
    "header",
    [
        "nplurals=300000000; plural=0;",
        "nplurals=0; plural=0;",
        "nplurals=2; plural=n/0;",
        "nplurals=2; plural=n;",
        "nplurals=2; plural=__import__('os');",
        "nplurals=2; plural=" + "(" * 500 + "n" + ")" * 500,
        "nplurals=2; plural=" + "n+" * 5000 + "n",
        "plural=n != 1",
    ],
    ids=lambda text: text[:40],
)
def test_bad_plural_headers_are_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_plural_forms(header)


def test_an_unfilled_template_says_nothing() -> None:
    assert read_plural_forms("nplurals=INTEGER; plural=EXPRESSION;") is None
    usual = usual_plural_forms("de")
    assert usual is not None
    assert (usual.singular, usual.plural) == (0, 1)


def test_plurals_are_paired_by_meaning_and_the_rest_is_counted(put, read) -> None:
    body = 'msgid "One owl"\nmsgid_plural "%d owls"\n' + "".join(
        f'msgstr[{i}] "форма {i}"\n' for i in range(3)
    )
    skipped = Skipped()
    header = plural_header(f"nplurals=3; plural={RUSSIAN};")
    found = read(put("a.po", po(body, "ru", more=header)), "en-ru", skipped=skipped)
    assert texts(found) == [("%d owls", "форма 2")]
    assert skipped == {"plural form without counterpart": 2}


def test_without_a_header_the_language_says_the_forms(put, read) -> None:
    body = 'msgid "One owl"\nmsgid_plural "%d owls"\nmsgstr[0] "Eule"\nmsgstr[1] "Eulen"\n'
    template = plural_header("nplurals=INTEGER; plural=EXPRESSION;")
    for more in ("", template):
        found = read(put("a.po", po(body, more=more)), "en-de")
        assert texts(found) == [("One owl", "Eule"), ("%d owls", "Eulen")]


def test_an_entry_with_a_form_too_many_is_left_out_and_counted(put, read) -> None:
    body = 'msgid "o"\nmsgid_plural "os"\nmsgstr[0] "a"\nmsgstr[1] "b"\nmsgstr[2] "c"\n'
    header = plural_header("nplurals=2; plural=(n != 1);")
    skipped = Skipped()
    other = 'msgid "one"\nmsgstr "eins"\n'
    found = read(put("a.po", po(body + other, more=header)), "en-de", skipped=skipped)
    assert texts(found) == [("one", "eins")]
    assert skipped == {"plural form without counterpart": 3}


# The syntax of PO


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('msgstr "Ein Hund bellt in der Na', "an unclosed string"),
        ('msgstr "Ein Hund"junk', "text after a string"),
        ("msgstr Ein Hund", "not a line of a PO file"),
        ('msgstr "Ein "Hund" bellt"', "text after a string"),
        ('msgstr "Ein \\q Hund"', "no escape of C"),
        ('msgstr[99] "Ein Hund"', "at most 32 plural forms"),
    ],
)
def test_nothing_of_a_string_is_cut_off(put, read, line: str, said: str) -> None:
    path = put("a.po", po(f'msgid "A dog"\n{line}\n'))
    with pytest.raises(CorpusError, match=said) as caught:
        read(path, "en-de")
    assert f"{path}:7: " in caught.value.message


def test_what_tools_write_beside_the_messages_costs_nothing(put, read) -> None:
    body = (
        '#. a comment\n#: a.c:1\n#| msgid "old"\nmsgctxt "m"\nmsgid\t"one"\nmsgstr\t"eins" "!"\n'
        '#~| msgid "older"\n#~ msgid "gone"\n#~ msgstr "weg"\n\n'
        '#, c-format, fuzzy\nmsgid "two"\nmsgstr "zwei"\n'
        'msgid ""\n"three\\n"\n"four"\nmsgstr ""\n"drei\\n"\n"vier"\n'
    )
    for date in ("", "2024-03-05", "2024-03-05 10:11:12+0000", "YEAR-MO-DA HO:MI+ZONE"):
        skipped = Skipped()
        more = f'"PO-Revision-Date: {date}\\n"\n'
        found = read(put("a.po", po(body, more=more)), "en-de", skipped=skipped)
        assert texts(found) == [("one", "eins!"), ("three four", "drei vier")]
        assert skipped == {"obsolete": 1, "fuzzy": 1}


def test_escapes_of_c_are_read(put, read) -> None:
    body = 'msgid "a\\tb \\x41\\101 \\303\\251 \\"q\\" \\\\"\nmsgstr "ä"\n'
    assert texts(read(put("a.po", po(body)), "en-de")) == [('a b AA é "q" \\', "ä")]


def test_the_second_entry_for_a_message_is_counted(put, read) -> None:
    entry = 'msgid "one"\nmsgstr "{}"\n'
    other = 'msgctxt "menu"\nmsgid "one"\nmsgstr "Eins"\n'
    skipped = Skipped()
    body = entry.format("eins") + entry.format("ein") + other
    found = read(put("a.po", po(body)), "en-de", skipped=skipped)
    assert texts(found) == [("one", "eins"), ("one", "Eins")]
    assert skipped == {"stated twice": 1}


@pytest.mark.parametrize("charset", ["CHARSET", "US-ASCII", "utf8", "EUC-KR", "cp949", "UTF-8"])
def test_a_catalogue_is_read_in_its_charset(put, read, charset: str) -> None:
    codec = {"EUC-KR": "euc-kr", "cp949": "cp949"}.get(charset, "utf-8")
    body = 'msgid "Content-Type: text/html; charset=iso-8859-1"\nmsgstr "하나"\n'
    path = put("a.po", po(body, "ko", charset).encode(codec))
    assert [target for _, target in texts(read(path))] == ["하나"]


@pytest.mark.parametrize(
    ("language", "pair"),
    [("ca@valencia", "en-ca"), ("sr@latin", "en-sr_Latn"), ("de_DE.UTF-8", "en-de"),
     ("sr_RS@cyrillic", "en-sr_Cyrl"), ("de_AT@euro", "en-de"), ("nb", "en-no")],
)  # fmt: skip
def test_locales_are_languages(put, read, language: str, pair: str) -> None:
    assert texts(read(put("a.po", po('msgid "a"\nmsgstr "b"\n', language)), pair)) == [("a", "b")]


def test_a_header_left_over_from_the_template_is_told_and_overruled(put, read) -> None:
    path = put("a.po", po('msgid "a"\nmsgstr "b"\n', "en"))
    skipped = Skipped()
    assert texts(read(path, "en-de", skipped=skipped)) == [("b", "a")]
    assert len(skipped.notes) == 1
    assert "#language=de" in skipped.notes[0]
    quiet = Skipped()
    assert texts(read(f"{path}#language=de", "en-de", skipped=quiet)) == [("a", "b")]
    assert quiet.notes == []


@pytest.mark.parametrize("name", ["a.po", "a.tsv", "a.jsonl", "a.csv"])
def test_a_file_with_nothing_in_it_is_an_error(put, read, name: str) -> None:
    with pytest.raises(CorpusError, match="there is no segment for en-de in it"):
        read(put(name, ""), "en-de")


def test_gettext_reads_the_same_messages(put, read) -> None:
    """GNU gettext's own reader is the reference for strings, escapes and charsets."""
    if shutil.which("msgfmt") is None:
        pytest.skip("GNU gettext is not installed")
    import gettext

    body = (
        'msgid "a\\tb \\x41 \\\\ \\"q\\""\nmsgstr "ä\\tb \\101"\n'
        'msgid ""\n"long\\n"\n"er"\nmsgstr "län" "ger"\n'
        'msgid "One owl"\nmsgid_plural "%d owls"\nmsgstr[0] "Eule"\nmsgstr[1] "Eulen"\n'
    )
    path = put("a.po", po(body, more=plural_header("nplurals=2; plural=(n != 1);")))
    compiled = path.with_suffix(".mo")
    subprocess.run(["msgfmt", "-o", compiled, path], check=True)
    with compiled.open("rb") as file:
        reference = gettext.GNUTranslations(file)
    assert texts(read(path, "en-de")) == [
        (one_line(text), one_line(reference.gettext(text)))
        for text in ('a\tb A \\ "q"', "long\ner")
    ] + [
        ("One owl", reference.ngettext("One owl", "%d owls", 1)),
        ("%d owls", reference.ngettext("One owl", "%d owls", 5)),
    ]


# TMX and XLIFF


def tmx(units: str, head: str = "") -> str:
    return f'{head}<tmx version="1.4"><body>{units}</body></tmx>'


def unit(source: str, target: str, language: str = "de") -> str:
    sides = (("en", source), (language, target))
    variants = "".join(f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>' for tag, text in sides)
    return f"<tu>{variants}</tu>"


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE tmx SYSTEM "tmx14.dtd">',
        '<!DOCTYPE tmx PUBLIC "-//LISA//DTD TMX" "http://x/t.dtd">',
    ],
)
def test_a_doctype_that_declares_nothing_is_passed_over(put, read, doctype: str) -> None:
    path = put("a.tmx", tmx(unit("a &amp; b", "c"), doctype))
    assert texts(read(path, "en-de")) == [("a & b", "c")]


@pytest.mark.parametrize(
    ("declared", "codec", "language", "text"),
    [
        ("EUC-KR", "cp949", "ko", "여객선은 정오에 떠납니다. 똠"),
        ("Shift_JIS", "cp932", "ja", "フェリーは正午に出ます。①"),
        ("GB2312", "gb18030", "zh", "渡轮中午离开。镕"),
        ("Big5", "big5", "zh_TW", "渡輪中午離開。"),
        ("KOI8-R", "koi8-r", "ru", "Паром уходит в полдень."),
        ("windows-1252", "cp1252", "de", "Fähre – „mittags“"),
        ("iso-8859-1", "cp1252", "de", "Fähre – „mittags“"),
        ("utf8", "utf-8", "de", "Fähre"),
        ("US-ASCII", "utf-8", "de", "Fähre"),
        ("UTF-16", "utf-8", "de", "Fähre"),
    ],
)
def test_encodings_are_decoded(put, read, declared, codec, language, text) -> None:
    long = text * 9000  # characters fall across the blocks that are read
    content = tmx(unit("a", text, language) + unit("b", long, language))
    head = f'<?xml version="1.0" encoding="{declared}"?>\n'
    path = put("a.tmx", head.encode() + content.encode(codec))
    pair = f"en-{language}"
    assert [target for _, target in texts(read(path, pair))] == [text, long]
    xliff = (
        f'{head}<xliff version="1.2"><file source-language="en" target-language="{language}"><body>'
        f"<trans-unit><source>a</source><target>{text}</target></trans-unit></body></file></xliff>"
    )
    assert texts(read(put("a.xlf", xliff.encode(codec)), pair)) == [("a", text)]


@pytest.mark.parametrize(
    ("source", "flat"),
    [
        ("First line.<ph>&lt;br/&gt;</ph>Second line.", "First line. Second line."),
        ('floor<x id="1" ctype="lb"/>second', "floor second"),
        ("un<g id='1'>believ</g>able", "unbelievable"),
        ("un<bpt>b</bpt>believ<ept>b</ept>able", "unbelievable"),
        ('Hello <x id="N"/>, you', "Hello , you"),
        ('(<x id="N"/>inside)', "(inside)"),
        ('l\'<x id="N"/>eau', "l'eau"),
        ("行く。<ph/>次へ", "行く。次へ"),
        ("가다.<ph/>다음", "가다. 다음"),
        ("<mrk mtype='seg'>A.</mrk><mrk mtype='seg'>B.</mrk>", "A. B."),
        ("a <mrk mtype='term'>b</mrk>c", "a bc"),
        ("a <ph>x<sub>inner</sub></ph>b", "a b"),
    ],
)
def test_words_are_kept_apart_where_a_tag_stood(put, read, source: str, flat: str) -> None:
    assert texts(read(put("a.tmx", tmx(unit(source, "z"))), "en-de")) == [(flat, "z")]


def test_code_in_code_is_all_left_out() -> None:
    flat = FlatText("x")
    for name in ("ph", "sub"):
        flat.start(name, {})
        flat.text("code")
    flat.end()
    flat.end()
    flat.text("text")
    assert flat.flat == "text"


def xliff(units: str, attributes: str = 'source-language="en" target-language="de"') -> str:
    return f'<xliff version="1.2"><file {attributes}><body>{units}</body></file></xliff>'


def test_segments_of_a_unit_are_aligned_by_their_number(put, read) -> None:
    skipped = Skipped()
    units = (
        "<trans-unit id='1'><source>One. Two. Three.</source><seg-source>"
        "<mrk mtype='seg' mid='1'>One.</mrk> <mrk mtype='seg' mid='2'>Two.</mrk> "
        "<mrk mtype='seg' mid='3'>Three <g id='1'>x</g>.</mrk></seg-source><target>"
        "<mrk mtype='seg' mid='3'>Drei <g id='1'>x</g>.</mrk><mrk mtype='seg' mid='2'></mrk>"
        "<mrk mtype='seg' mid='1'>Eins.</mrk></target></trans-unit>"
    )
    found = read(put("a.xlf", xliff(units)), "en-de", skipped=skipped)
    assert texts(found) == [("One.", "Eins."), ("Three x.", "Drei x.")]
    assert skipped == {"untranslated": 1}


def test_states_and_translate_no_are_left_out(put, read) -> None:
    def one(number: int, unit: str = "", target: str = "") -> str:
        return (
            f"<trans-unit id='{number}' {unit}><source>s{number}</source><target {target}>"
            f"t{number}</target></trans-unit>"
        )

    units = (
        one(1) + one(2, target="state='needs-adaptation'") + one(3, target="state='needs-l10n'")
        + one(4, target="state='needs-review-translation'") + one(5, "translate='no'")
        + "<group translate='no'>" + one(6) + one(7, "translate='yes'") + "</group>"
        + one(8, "approved='no'")
    )  # fmt: skip
    skipped = Skipped()
    found = read(put("a.xlf", xliff(units)), "en-de", skipped=skipped)
    assert [source for source, _ in texts(found)] == ["s1", "s4", "s7", "s8"]
    assert skipped == {"in a state that needs work": 2, "not for translation": 2}
    two = (
        '<xliff version="2.0" srcLang="en" trgLang="de"><file><unit translate="no"><segment>'
        "<source>a</source><target>b</target></segment></unit><unit><segment><source>c</source>"
        "<target>d</target></segment></unit></file></xliff>"
    )
    assert texts(read(put("b.xlf", two), "en-de")) == [("c", "d")]


UNIT = "<trans-unit id='1'><source>a</source><target {}>b</target></trans-unit>"


@pytest.mark.parametrize(
    "content",
    [
        xliff(UNIT.format(""), 'source-language="en"'),
        xliff(UNIT.format('xml:lang="de"'), 'source-language="en"'),
        '<xliff version="2.0" srcLang="en"><file><unit><segment><source>a</source>'
        "<target>b</target></segment></unit></file></xliff>",
    ],
)
def test_a_target_language_that_is_not_stated_is_the_pairs(put, read, content: str) -> None:
    path = put("a.xlf", content)
    assert texts(read(path, "en-de")) == [("a", "b")]
    assert texts(read(path, "de-en")) == [("b", "a")]


def test_a_stated_language_is_not_overlooked(put, read) -> None:
    path = put("a.xlf", xliff(UNIT.format('xml:lang="fr"'), 'source-language="en"'))
    with pytest.raises(CorpusError, match="it has en to fr"):
        read(path, "en-de")
    assert texts(read(f"{path}#source=en&target=de", "en-de")) == [("a", "b")]


# Tables and lines


def test_the_pairs_own_keys_win_over_provenance(put, read) -> None:
    row = '{"en": "owl", "ko": "올빼미", "source": "web", "target": "app"}\n'
    assert texts(read(put("a.jsonl", row))) == [("owl", "올빼미")]
    plain = '{"source": "owl", "target": "올빼미", "en": "note"}\n'
    assert texts(read(put("b.jsonl", plain))) == [("owl", "올빼미")]


def test_marks_inside_are_removed_and_texts_are_composed(put, read) -> None:
    decomposed = unicodedata.normalize("NFD", "올빼미 é")
    row = f"caf\u0065\u0301\t\ufeff{decomposed}\n"
    assert texts(read(put("a.tsv", row))) == [("café", "올빼미 é")]
    persian = "کتاب\u200cهای"
    assert texts(read(put("b.tsv", f"books\t{persian}\n"), "en-fa")) == [("books", persian)]


@pytest.mark.parametrize(
    "content",
    [
        'source,target\n"The owl, grey,\nsleeps.","올빼미, ""회색"""\n',
        '\ufeff"en";"ko"\r\n"The owl, grey,\r\nsleeps.";"올빼미, ""회색"""\r\n',
        'ko,id,en\n"올빼미, ""회색""",7,"The owl, grey,\nsleeps."\n',
    ],
)
def test_spreadsheets(put, read, content: str) -> None:
    assert texts(read(put("a.csv", content))) == [("The owl, grey, sleeps.", '올빼미, "회색"')]


def test_csv_options_and_faults(put, read) -> None:
    path = put("a.csv", "x;y,z;w\na;b,c;d\n")
    found = read(f"{path}#columns=1,3&header=1&delimiter=semicolon", "en-de")
    assert texts(found) == [("a", "d")]
    for content, said in (
        ("a,b\nonly\n", "a.csv:2: 1 column, where 2 must be"),
        ('a,b\n"open,c\n', "a.csv:2: not CSV"),
        ("a,b,c\n", "a.csv:1: 3 columns, where 2 must be"),
    ):
        with pytest.raises(CorpusError, match=r"must be|not CSV") as caught:
            read(put("a.csv", content), "en-de")
        assert said in caught.value.message


def test_mere_names_are_no_languages(put, read, tmp_path) -> None:
    """src and tgt are codes of Sardinian and of Tagbanwa."""
    put("c.src", "owl\n")
    put("c.tgt", "올빼미\n")
    assert texts(read(f"{tmp_path}/c.{{src,tgt}}")) == [("owl", "올빼미")]


@pytest.mark.parametrize(
    ("tag", "language", "how"),
    [("nb", "no", VARIANT), ("no", "nb", VARIANT), ("nn", "no", OTHER),
     ("sr@latin", "sr-Latn", EXACT), ("sr-Latn", "sr", VARIANT),
     ("de_DE.UTF-8", "de", EXACT), ("", "de", OTHER)],
)  # fmt: skip
def test_tags_match(tag: str, language: str, how: int) -> None:
    assert match(tag, language) == how


def test_modifiers() -> None:
    found = [plain_tag(tag).tag for tag in ("sr_RS@latin", "ca@valencia", "ko_KR.EUC-KR", "en")]
    assert found == ["sr-Latn-RS", "ca", "ko-KR", "en"]
