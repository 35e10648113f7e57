"""Catalogues as tools and people write them: headers, charsets, plural rules, comments."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from hub.errors import CorpusError
from training.corpora.plurals import plural_forms, read_plural_forms, usual_plural_forms
from training.corpora.segments import Skipped

ENTRY = 'msgid "moon"\nmsgstr "Mond"\n'
MSGINIT = (
    "bg", "cs", "de", "es", "fr", "ga", "hr", "ja", "lt", "lv", "nb", "pl", "pt_BR", "ro", "ru",
    "sl", "tr",
)  # fmt: skip
LEFT = "plural form without counterpart"


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def header(*fields: str, charset: str = "UTF-8") -> str:
    lines = (f"Content-Type: text/plain; charset={charset}", *fields)
    return 'msgid ""\nmsgstr ""\n' + "".join(f'"{line}\\n"\n' for line in lines) + "\n"


def plural(*forms: str) -> str:
    return 'msgid "%d moon"\nmsgid_plural "%d moons"\n' + "".join(
        f'msgstr[{number}] "{form}"\n' for number, form in enumerate(forms)
    )


# Charsets


def test_a_byte_order_mark_goes_before_the_header(put, read) -> None:
    body = header(charset="ISO-8859-1") + 'msgid "moon"\nmsgstr "Mönd"\n'
    skipped = Skipped()
    found = read(put("a.po", b"\xef\xbb\xbf" + body.encode()), "en-de", skipped=skipped)
    assert texts(found) == [("moon", "Mönd")]
    assert skipped.notes == []
    marked = header("Language: pl", "Plural-Forms: nplurals=3; plural=(n==1 ? 2 : n==2 ? 1 : 0);")
    path = put("b.po", b"\xef\xbb\xbf" + (marked + plural("a", "b", "c")).encode())
    assert texts(read(path, "en-pl")) == [("%d moon", "c"), ("%d moons", "a")]


def test_utf_8_with_the_label_of_one_byte_a_character_is_said(put, read) -> None:
    body = header(charset="ISO-8859-1") + 'msgid "moon"\nmsgstr "Mönd"\n'
    skipped = Skipped()
    assert texts(read(put("a.po", body), "en-de", skipped=skipped)) == [("moon", "Mönd")]
    assert len(skipped.notes) == 1
    assert "says charset=ISO-8859-1, but all of it is valid UTF-8" in skipped.notes[0]
    quiet = Skipped()
    latin = put("b.po", body.encode("latin-1"))
    assert texts(read(latin, "en-de", skipped=quiet)) == [("moon", "Mönd")]
    assert quiet.notes == []


def test_utf_8_that_may_be_another_encoding_is_said(put, read) -> None:
    text = "中文"
    assert text.encode().decode("gb18030") != text
    skipped = Skipped()
    body = header(charset="GBK") + f'msgid "moon"\nmsgstr "{text}"\n'
    found = read(put("a.po", body), "en-zh", skipped=skipped)
    assert texts(found) == [("moon", text.encode().decode("gb18030"))]
    assert "all of it is valid UTF-8, too" in skipped.notes[0]


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("Shift_JIS", "cp932", "表ソ能"),
        ("x-sjis", "cp932", "申 表"),
        ("Big5", "big5", "許功蓋"),
        ("GBK", "gbk", "陳誠俓"),
        ("GB18030", "gb18030", "陳誠俓"),
    ],
)
def test_a_backslash_inside_a_character_ends_no_header(put, read, charset, codec, name) -> None:
    assert b"\\" in name.encode(codec)
    fields = (f"Last-Translator: {name}", f"Language-Team: {name}")
    body = (header(*fields, charset=charset) + f'msgid "moon"\nmsgstr "{name}月"\n').encode(codec)
    found = read(put("a.po", body), "en-zh")
    assert texts(found) == [("moon", f"{name}月")]


def test_an_ascii_header_cannot_be_utf_16(put, read) -> None:
    body = header(charset="UTF-16") + 'msgid "moon"\nmsgstr "Mönd"\n'
    assert texts(read(put("a.po", body), "en-de")) == [("moon", "Mönd")]


# The header


def test_the_header_may_stand_anywhere(put, read) -> None:
    own = header("Language: pl", charset="ISO-8859-2")
    body = ('msgid "moon"\nmsgstr "księżyc"\n\n' + own).encode("iso-8859-2")
    assert texts(read(put("a.po", body), "en-pl")) == [("moon", "księżyc")]
    with pytest.raises(CorpusError, match=r"the catalogue is in 'pl', which is neither"):
        read(put("a.po", body), "en-de")


def test_an_entry_with_a_context_is_no_header(put, read) -> None:
    trap = 'msgctxt "menu"\nmsgid ""\nmsgstr "Content-Type: text/plain; charset=KOI8-R\\n"\n\n'
    skipped = Skipped()
    found = read(put("a.po", trap + header() + 'msgid "m"\nmsgstr "ö"\n'), "en-de", skipped=skipped)
    assert texts(found) == [("m", "ö")]
    assert skipped == {"untranslated": 1}


def test_an_empty_context_makes_no_other_header(put, read) -> None:
    body = ('msgctxt ""\n' + header(charset="ISO-8859-1") + 'msgid "m"\nmsgstr "ö"\n').encode(
        "latin-1"
    )
    assert texts(read(put("a.po", body), "en-de")) == [("m", "ö")]


def test_fields_are_known_in_small_letters(put, read) -> None:
    body = header("language: pl", charset="ISO-8859-2").lower() + 'msgid "m"\nmsgstr "ś"\n'
    path = put("a.po", body.encode("iso-8859-2"))
    assert texts(read(path, "pl-en")) == [("ś", "m")]


def test_a_fault_in_the_header_is_placed(put, read) -> None:
    body = "# c\n\n" + header("Language: de").replace('de\\n"', "de\\n")
    with pytest.raises(CorpusError, match=r"a\.po:6: not a PO catalogue: an unclosed string"):
        read(put("a.po", body + ENTRY), "en-de")


@pytest.mark.parametrize("stated", ["LANGUAGE", "ll_CC", "ll", "", "German", "de_DE_formal"])
def test_a_language_may_be_unfilled_or_a_name(put, read, stated: str) -> None:
    path = put("a.po", header(f"Language: {stated}") + ENTRY)
    assert texts(read(path, "en-de")) == [("moon", "Mond")]


# The syntax


def test_a_mark_of_doubt_inside_an_entry_counts_for_it(put, read) -> None:
    body = 'msgid "sun"\n#, fuzzy\nmsgstr "Sonde"\n\n' + ENTRY
    skipped = Skipped()
    assert texts(read(put("a.po", header() + body), "en-de", skipped=skipped)) == [("moon", "Mond")]
    assert skipped == {"fuzzy": 1}


@pytest.mark.parametrize(
    "content",
    [
        'domain "planets"\n' + header() + ENTRY,
        header() + ENTRY + "\x1a",
        header() + "\u00a0\n" + ENTRY,
        (header() + ENTRY).replace("\n", "\r"),
        "# a comment\r" + (header() + ENTRY).replace("\n", "\r"),
    ],
    ids=["domain", "end of a DOS file", "no-break space", "classic Mac OS", "with a comment"],
)
def test_what_stands_between_entries_costs_nothing(put, read, content: str) -> None:
    assert texts(read(put("a.po", content), "en-de")) == [("moon", "Mond")]


def test_a_compiled_catalogue_is_named(put, read) -> None:
    for magic in (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"):
        with pytest.raises(CorpusError, match=r"make a PO file of it with msgunfmt"):
            read(put("a.po", magic + bytes(40)), "en-de")


# Plural forms


@pytest.mark.parametrize(
    "spelling",
    [
        "nplurals=2; plural=(n != 1);",
        "nplurals=2; plural=(n != 1);;",
        "nplurals=2;plural=n!=1",
        "plural=(n != 1); nplurals=2;",
        "nplurals=2 plural=n != 1",
        "nplurals = 2 ; plural = n != 1 ; # two",
        "NPLURALS=2; PLURAL=N != 1;",
    ],
)
def test_the_rule_is_found_in_any_spelling(spelling: str) -> None:
    assert read_plural_forms(spelling) == plural_forms(2, "n != 1")


def test_a_rule_may_go_on_in_the_next_field(put, read) -> None:
    fields = ("Language: pl", "Plural-Forms: nplurals=3;", "plural=(n==1 ? 2 : n==2 ? 1 : 0);")
    found = read(put("a.po", header(*fields) + plural("a", "b", "c")), "en-pl")
    assert texts(found) == [("%d moon", "c"), ("%d moons", "a")]


@pytest.mark.parametrize("rule", ["n/0", "n", "n != !1", "(" * 500 + "n", "foo(n)"])
def test_an_unreadable_rule_costs_the_plural_forms_alone(put, read, rule: str) -> None:
    fields = ("Language: de", f"Plural-Forms: nplurals=2; plural={rule};")
    skipped = Skipped()
    path = put("a.po", header(*fields) + plural("a", "b") + plural("x", "y") + ENTRY)
    assert texts(read(path, "en-de", skipped=skipped)) == [("moon", "Mond")]
    assert skipped == {LEFT: 2, "stated twice": 1}
    assert len(skipped.notes) == 1
    assert "its Plural-Forms cannot be used" in skipped.notes[0]


def test_a_bad_rule_that_is_not_needed_is_no_matter(put, read) -> None:
    skipped = Skipped()
    path = put("a.po", header("Plural-Forms: nplurals=2; plural=n/0;") + ENTRY)
    assert texts(read(path, "en-de", skipped=skipped)) == [("moon", "Mond")]
    assert (skipped, skipped.notes) == ({}, [])


@pytest.mark.parametrize(
    ("language", "forms", "found"),
    [
        ("fr", ("a", "b"), [("%d moons", "b")]),
        ("es", ("a", "b"), [("%d moon", "a"), ("%d moons", "b")]),
        ("it", ("a", "b"), [("%d moon", "a"), ("%d moons", "b")]),
        ("pt", ("a", "b"), [("%d moons", "b")]),
        ("lv", ("a", "b", "c"), [("%d moons", "b")]),
        ("ar", ("a", "b", "c", "d", "e", "f"), [("%d moon", "b"), ("%d moons", "e")]),
        ("fa", ("a", "b"), [("%d moons", "b")]),
        # As many as CLDR has, in an order that nobody knows; or more than there are.
        ("cy", ("a", "b", "c", "d", "e", "f"), []),
        ("fr", ("a", "b", "c"), []),
        ("de", ("a",), []),
    ],
)
def test_without_a_rule_gettexts_counts(put, read, language, forms, found) -> None:
    skipped = Skipped()
    path = put("a.po", header(f"Language: {language}") + plural(*forms) + ENTRY)
    assert texts(read(path, f"en-{language}", skipped=skipped)) == [*found, ("moon", "Mond")]
    assert skipped[LEFT] == len(forms) - len(found)


@pytest.mark.parametrize("language", MSGINIT)
def test_msginit_writes_the_same_rules(tmp_path, language: str) -> None:
    """GNU gettext's own table is the reference."""
    if shutil.which("msginit") is None:
        pytest.skip("GNU gettext is not installed")
    template = tmp_path / "a.pot"
    template.write_text(
        header("Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;") + plural("", "")
    )
    made = subprocess.run(
        ["msginit", "--no-translator", "--no-wrap", "-l", language, "-i", template, "-o", "-"],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    written = re.search(r"Plural-Forms: (.*?)\\n", made.stdout)
    assert written is not None
    assert usual_plural_forms(language) == read_plural_forms(written[1])
