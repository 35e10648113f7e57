"""TMX and XLIFF as tools write them: declarations, namespaces, languages, inline elements."""

from __future__ import annotations

import pytest

from hub.errors import CorpusError
from training.corpora.segments import Skipped


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def tmx(body: str, head: str = "", attributes: str = "") -> str:
    return f'{head}<tmx version="1.4" {attributes}><body>{body}</body></tmx>'


def unit(source: str, target: str = "Ziel", tags: tuple[str, str] = ("en", "de")) -> str:
    sides = zip(tags, (source, target), strict=True)
    variants = (f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>' for tag, text in sides)
    return f"<tu>{''.join(variants)}</tu>"


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE tmx []>",
        "<!DOCTYPE tmx SYSTEM 'tmx14.dtd' [\n <!-- nothing here -->\n]>",
        "<!DOCTYPE tmx [ <?tool made it?> ]>",
    ],
)
def test_a_doctype_is_judged_by_what_it_declares(put, read, doctype: str) -> None:
    path = put("a.tmx", tmx(unit("goal"), doctype))
    assert texts(read(path, "en-de")) == [("goal", "Ziel")]


def test_predefined_entities_stay(put, read) -> None:
    head = '<!DOCTYPE tmx SYSTEM "x.dtd">'
    path = put("a.tmx", tmx(unit("a &lt; b &amp; c&#8211;d", "x"), head, 'note="&quot;&#233;"'))
    assert texts(read(path, "en-de")) == [("a < b & c–d", "x")]


def test_lines_are_counted_with_the_declaration(put, read) -> None:
    head = '<?xml version="1.0"\n  encoding="utf-8"\n?>\n'
    (segment,) = read(put("a.tmx", tmx("\n" + unit("goal"), head)), "en-de")
    assert segment.line == 5


# Languages


def test_a_unit_gives_its_language_to_its_variants(put, read) -> None:
    body = "<tuv><seg>goal</seg></tuv><tuv xml:lang='de'><seg>Ziel</seg></tuv>"
    assert texts(read(put("a.tmx", tmx(f"<tu xml:lang='en'>{body}</tu>")), "en-de")) == [
        ("goal", "Ziel")
    ]
    whole = tmx(f"<tu>{body}</tu>", attributes='xml:lang="en"')
    assert texts(read(put("b.tmx", whole), "en-de")) == [("goal", "Ziel")]


def test_languages_by_name_and_with_variants(put, read) -> None:
    for tags in (("English", "German"), ("en-US", "de-1996"), ("en_US_POSIX", "de_DE_formal")):
        assert texts(read(put("a.tmx", tmx(unit("goal", tags=tags))), "en-de")) == [
            ("goal", "Ziel")
        ]
    plain = "<tu>{}{}{}</tu>".format(
        *(
            f'<tuv xml:lang="{tag}"><seg>{text}</seg></tuv>'
            for tag, text in (("en", "goal"), ("de-1901", "Alt"), ("de", "Ziel"))
        )
    )
    assert texts(read(put("b.tmx", tmx(plain)), "en-de")) == [("goal", "Ziel")]


def test_a_file_without_languages_says_so(put, read) -> None:
    silent = "<tu><tuv><seg>goal</seg></tuv><tuv><seg>Ziel</seg></tuv></tu>"
    with pytest.raises(CorpusError, match=r"do not say their language; give each an xml:lang"):
        read(put("a.tmx", tmx(silent)), "en-de")
    with pytest.raises(CorpusError, match=r"hold no <tuv> with a <seg>"):
        read(put("b.tmx", tmx("<tu></tu>")), "en-de")


def test_a_unit_in_a_unit_is_read_once(put, read) -> None:
    skipped = Skipped()
    nested = f"<tu>{unit('goal')}</tu>" + unit("end", "Ende")
    found = read(put("a.tmx", tmx(nested)), "en-de", skipped=skipped)
    assert texts(found) == [("goal", "Ziel"), ("end", "Ende")]
    assert skipped == {"without both languages": 1}


def test_a_segment_in_a_segment_ends_neither_it_nor_its_unit(put, read) -> None:
    inner = "<tu><tuv xml:lang='de'><seg>inner</seg></tuv></tu>"
    path = put("a.tmx", tmx(unit(f"goal {inner} post") + unit("end", "Ende")))
    assert texts(read(path, "en-de")) == [("goal inner post", "Ziel"), ("end", "Ende")]
    units = (
        "<trans-unit id='1'><source>goal <trans-unit id='2'><source>inner</source></trans-unit> "
        "post</source><target>Ziel</target></trans-unit>"
    )
    xliff = f"<xliff><file source-language='en' target-language='de'>{units}</file></xliff>"
    assert texts(read(put("a.xlf", xliff), "en-de")) == [("goal inner post", "Ziel")]


# Inline elements


@pytest.mark.parametrize(
    ("source", "flat"),
    [
        ("first<br/>second", "first second"),
        ("first<lb/>second", "first second"),
        ("first<tool:tab xmlns:tool='urn:t'/>second", "first second"),
        ("un<b>believ</b>able", "unbelievable"),
        ("un<g id='1'/>believable", "unbelievable"),
        ("<p>first</p><p>second</p>", "first second"),
        ("first<?break?>second", "first second"),
        ("first<!-- no break -->second", "firstsecond"),
        ("<bpt i='1'>&lt;p&gt;</bpt>first<ept i='1'>&lt;/p&gt;</ept>second", "first second"),
        ("<bpt i='1'>&lt;div class='x'&gt;</bpt>first<ept i='1'/>second", "first second"),
        ("<bpt i='1'>&lt;b&gt;</bpt>un<ept i='1'>&lt;/b&gt;</ept>able", "unable"),
        ("<bpt i='1'>&lt;pre-x&gt;</bpt>un<ept i='1'/>able", "unable"),
        ("first<bpt i='2' type='lb'>x</bpt>second", "first second"),
        ("first<bx id='1' equiv-text='&lt;li&gt;'/>second", "first second"),
        ("first<g id='1' ctype='x-html-p'>second</g>third", "first second third"),
        ("first<pc id='1' subType='xlf:lb'>second</pc>", "first second"),
        ("first<sc id='1' dispStart='&lt;td&gt;'/>second<ec startRef='1'/>third",
         "first second third"),
        ("un<bpt i='1'>&lt;i<sub>title</sub>&gt;</bpt>able", "unable"),
    ],
)  # fmt: skip
def test_breaks_by_any_name_keep_words_apart(put, read, source: str, flat: str) -> None:
    assert texts(read(put("a.tmx", tmx(unit(source))), "en-de")) == [(flat, "Ziel")]


# Namespaces


def test_elements_of_other_namespaces_are_no_sides(put, read) -> None:
    other = "<o:{0} xmlns:o='urn:other'>extra</o:{0}>"
    units = (
        "<trans-unit id='1'><source>goal</source>{}<target>Ziel</target>{}</trans-unit>"
        "<o:trans-unit xmlns:o='urn:other'><o:source>x</o:source><o:target>y</o:target>"
        "</o:trans-unit>"
    ).format(other.format("source"), other.format("target"))
    for root in ("xmlns='urn:oasis:names:tc:xliff:document:1.2'", ""):
        path = put(
            "a.xlf",
            f"<xliff version='1.2' {root}><file source-language='en' target-language='de'>"
            f"<body>{units}</body></file></xliff>",
        )
        assert texts(read(path, "en-de")) == [("goal", "Ziel")]


def test_a_prefix_for_everything_is_only_a_spelling(put, read) -> None:
    path = put(
        "a.xlf",
        "<x:xliff xmlns:x='urn:oasis:names:tc:xliff:document:2.0' srcLang='en' trgLang='de'>"
        "<x:file><x:unit><x:segment><x:source>goal</x:source><x:target>Ziel</x:target>"
        "</x:segment></x:unit></x:file></x:xliff>",
    )
    assert texts(read(path, "en-de")) == [("goal", "Ziel")]
