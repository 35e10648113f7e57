"""HTML comes back with its text translated and everything else as it was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from server.messages import Flag
from server.translation.documents import Rendered
from server.translation.html_scan import Kind, scan
from server.translation.html_tree import read_tree
from server.translation.markup import html_units
from server.translation.offsets import Link, Part, UnitTranslation, join_segments, unchanged
from tests.support.careless import careless


def texts(html: str) -> list[str]:
    return [one.text for one in html_units(html).units]


def render(html: str, translate: Callable[[str], UnitTranslation | None]) -> Rendered:
    document = html_units(html)
    return document.render([translate(one.text) for one in document.units])


def words(table: dict[str, str], order: Sequence[str]) -> Callable[[str], UnitTranslation]:
    """A translator of single words that writes them in another order."""

    def translate(text: str) -> UnitTranslation:
        pieces, links, length = [], [], 0
        for source in order:
            start = text.index(source)
            own = table.get(source, source)
            links.append(Link(length, length + len(own), start, start + len(source)))
            pieces.append(own)
            length += len(own) + 1
        return UnitTranslation(" ".join(pieces), tuple(links))

    return translate


def test_blocks_are_units_and_inline_tags_are_not() -> None:
    html = "<h1>One</h1><p>Two <b>three</b> four<br>five <img src=x> six</p>\n<ul><li>a<li>b</ul>"
    assert texts(html) == ["One", "Two three four", "five six", "a", "b"]


@pytest.mark.parametrize(
    "html",
    ["<!DOCTYPE html>\n<html lang=en>\r\n<!-- a > b --><script>if (a</b>) '<p>x</p>';</script>",
     "<style>p > a { content: '<b>' }</style><![CDATA[ <b>x ]]><?php echo 1 ?>",
     "<p translate='no'>Some <b>text</b></p><div class='x notranslate'>more</div>",
     "<code>x = 1</code> <kbd>Ctrl</kbd>", "<textarea><b>typed</textarea>", "<p>{name}</p>",
     "<svg><text>x</text></svg>", "&nbsp;<p> </p>&#8203;", "<a b='unfinished", "<", "</", "<!-"],
)  # fmt: skip
def test_what_is_not_text_is_not_touched(html: str) -> None:
    assert [one for one in texts(html) if one not in ("<", "</")] == []
    assert html_units(html).render([None] * len(texts(html))).text == html


def test_tags_follow_their_words() -> None:
    html = '<p>The <a href="/x?a=1&b">red</a> <b>house</b> stands.</p>'
    table = {"The": "La", "red": "roja", "house": "casa", "stands.": "está."}
    assert render(html, words(table, ["The", "house", "red", "stands."])) == Rendered(
        '<p>La <b>casa</b> <a href="/x?a=1&b">roja</a> está.</p>'
    )


def test_nested_tags_stay_nested_when_words_are_torn_apart() -> None:
    html = "<p>a <b>b <i>c</i> d</b> e</p>"
    rendered = render(html, words({}, ["b", "a", "d", "e", "c"]))
    assert well_formed(rendered.text)
    assert tags(rendered.text) == tags(html)
    assert "<b>b" in rendered.text


def test_tags_around_a_whole_unit_stay_around_it() -> None:
    html = "<p><!-- c --><span class=x><em>Hello there</em></span> </p>"
    assert render(html, lambda _: UnitTranslation("Hallo")).text == (
        "<p><!-- c --><span class=x><em>Hallo</em></span> </p>"
    )


def test_a_tag_without_content_stays_beside_its_word() -> None:
    html = "<p>red<sup></sup> house <img src=a>big</p>"
    rendered = render(html, words({}, ["house", "big", "red"]))
    assert rendered == Rendered("<p>house <img src=a>big red<sup></sup></p>")


def test_a_part_of_a_word_is_marked_as_that_word() -> None:
    html = "<p>ein <b>Haus</b>tür da</p>"
    text = "ein Haustür da"
    assert texts(html) == [text]
    link = (Link(0, 3, 4, 11), Link(4, 9, 12, 14))
    rendered = render(html, lambda _: UnitTranslation("door there", link))
    assert rendered.text == "<p><b>door</b> there</p>"


def test_without_an_alignment_tags_go_to_an_end_and_are_reported() -> None:
    html = '<p>Hello <b id="x">big</b> world<wbr></p>'
    rendered = render(html, lambda _: UnitTranslation("Hallo Welt"))
    assert rendered.text == '<p>Hallo Welt<b id="x"></b><wbr></p>'
    (detail,) = rendered.details
    assert (detail.flag, detail.subjects) == (Flag.TAG_MISMATCH, ('<b id="x">',))


def test_what_is_not_to_be_translated_is_a_placeholder() -> None:
    html = "<p>Press <kbd>A&amp;B</kbd> for <span translate=no>x <i>y</i></span>!</p>"
    (text,) = texts(html)
    first, second = re.findall(r"\d+", text)
    assert text == f"Press {first} for {second}!"
    rendered = render(html, lambda _: UnitTranslation(f"Für {second} drücke {first}!"))
    assert rendered == Rendered(
        "<p>Für <span translate=no>x <i>y</i></span> drücke <kbd>A&amp;B</kbd>!</p>"
    )
    lost = render(html, lambda _: UnitTranslation("Drücke"))
    assert lost.text.count("<kbd>A&amp;B</kbd>") == 1
    assert {one.flag for one in lost.details} == {Flag.PLACEHOLDER_MISMATCH}


def test_translate_yes_ends_translate_no() -> None:
    html = "<div translate=no>No <p translate=yes>Yes <code>x</code></p> no</div>"
    (text,) = texts(html)
    assert text.startswith("Yes ")


def test_references_are_read_and_written() -> None:
    html = "<p>R&amp;D &lt;now&gt; caf&eacute;&nbsp;x &notanentity; &#x41; &#99999999999;</p>"
    (text,) = texts(html)
    assert text == "R&D <now> café\u00a0x ¬anentity; A &#99999999999;"
    assert render(html, lambda _: UnitTranslation("A&B <c>\u00a0é")).text == (
        "<p>A&amp;B &lt;c&gt;&nbsp;é</p>"
    )


def test_placeholders_keep_their_own_spelling() -> None:
    html = "<p>See https://a.example/?b=1&amp;c=2 now</p>"
    (text,) = texts(html)
    number = re.findall(r"\d+", text)[0]
    assert render(html, lambda _: UnitTranslation(f"Siehe {number}")).text == (
        "<p>Siehe https://a.example/?b=1&amp;c=2</p>"
    )


def test_attributes_that_people_read() -> None:
    html = (
        '<p title=\'A "cat"\' data-title="no">x <img alt="It\'s <b> {n}" src=a> y</p>'
        "<input placeholder=Name aria-label=\"Go on\"><code title='no'>z</code>"
    )
    found = texts(html)
    assert [re.sub(r"\d+", "N", one) for one in found] == [
        'A "cat"', "x y", "It's <b> N", "Go on"
    ]  # fmt: skip
    rendered = render(html, lambda text: unchanged(text + " & 'q' \"r\""))
    assert 'title=\'A "cat" &amp; &#39;q&#39; "r"\'' in rendered.text
    assert "alt=\"It's &lt;b&gt; {n} &amp; 'q' &quot;r&quot;\" src=a>" in rendered.text
    assert "placeholder=Name" in rendered.text
    assert "<code title='no'>z</code>" in rendered.text


def test_preformatted_text_keeps_its_lines_and_columns() -> None:
    html = "<pre>one two\n  three   four\n\t<b>five\nsix</b></pre>"
    assert texts(html) == ["one two", "three", "four", "five", "six"]
    assert render(html, lambda text: UnitTranslation(text.upper())).text == (
        "<pre>ONE TWO\n  THREE   FOUR\n\t<b>FIVE\nSIX</b></pre>"
    )


def test_blanks_between_units_and_lines_inside_them() -> None:
    html = "<p>\n  one\n  <b>two</b>\n</p>"
    assert texts(html) == ["one two"]
    assert render(html, lambda _: unchanged("one two.")).text == "<p>\n  one <b>two</b>.\n</p>"


def test_sentences_are_joined_to_their_unit() -> None:
    html = "<p>One <b>two</b>. Three <i>four</i>.</p>"
    (text,) = texts(html)
    first, second = text.split(". ")
    parts = [
        Part(0, len(first) + 1, words({"two.": "zwei."}, ["two.", "One"])(first + ".")),
        Part(len(first) + 2, len(text), words({}, ["four.", "Three"])(second), before="  "),
    ]
    rendered = html_units(html).render([join_segments(text, parts)])
    assert rendered.text == "<p><b>zwei.</b> One  <i>four.</i> Three</p>"


def test_joined_sentences_keep_what_lies_between() -> None:
    joined = join_segments(" - a\nb ", [Part(3, 4, unchanged("a")), Part(5, 6, unchanged("b"))])
    assert joined.text == " - a\nb "
    assert Link(5, 6, 5, 6) in joined.links
    assert Link(1, 2, 1, 2) in joined.links


def test_tags_are_those_of_the_standard() -> None:
    """Cases of the standard's own text: quotes, slashes, comments, elements without tags."""
    cases = {
        '<p title="a>b">x': ['<p title="a>b">'],
        "<a href=foo/>x</a>": ["<a href=foo/>", "</a>"],
        "<!-->a<!--->b<!-- x --!>c": [],
        "a < b <3 </ p>": [],
        "<title><b></TITLE ><b>": ["<title>", "</TITLE >", "<b>"],
        "<B\tid = 'x' / hidden\n>": ["<B\tid = 'x' / hidden\n>"],
        "<p/x=1=2>": ["<p/x=1=2>"],
    }
    for html, expected in cases.items():
        found = [html[one.start : one.end] for one in scan(html)
                 if one.kind in (Kind.START, Kind.END)]  # fmt: skip
        assert found == expected, html


PIECES = [
    "word", " ", "two words", "日本", "{name}", "&amp;", "&", "<", ">", "5", "<b>", "</b>",
    "<i x='1>2'>", "</i>", "<a href=x>", "</a>", "<br>", "<img src=a alt='a cat'>", "<p>", "</p>",
    "<div>", "</div>", "<!-- c -->", "<code>x</code>", "<span translate=no>n</span>", "</span>",
    "<script>a<b</script>", "<li>", "<title>t</title>", "<pre>", "</pre>", "\n", "<sup></sup>",
    "\x00", "<a b='", "</",
]  # fmt: skip
PAGES = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@settings(max_examples=500, deadline=None)
@given(PAGES | st.text(st.sampled_from("<>/ab='\"!-& \n"), max_size=40), st.integers(0, 10**6))
@example("<b><i>x</b>y</i>z <b>w</b> q", 1)
def test_every_tag_comes_back_once_and_nested(html: str, seed: int) -> None:
    document = html_units(html)
    count = len(document.units)
    assert document.render([None] * count).text == html
    assert document.render([unchanged(one.text) for one in document.units]).text == html
    for aligned in (True, False):
        translations = [careless(one.text, seed, aligned=aligned) for one in document.units]
        rendered = document.render(translations)
        assert tags(rendered.text) == tags(html)
        if well_formed(html):
            assert well_formed(rendered.text)
        assert code(rendered.text) == code(html)


def tags(html: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in scan(html):
        if one.kind in (Kind.START, Kind.END, Kind.OTHER):
            tag = html[one.start : one.end]
            found[re.sub("alt='[^']*", "alt='", tag)] += 1
    return found


def code(html: str) -> int:
    """How many elements with code there are."""
    pieces = [html[one.start : one.end] for one in scan(html)]
    triples = zip(pieces, pieces[1:], pieces[2:], strict=False)
    return sum(three == ("<code>", "x", "</code>") for three in triples)


def well_formed(html: str) -> bool:
    """Whether every inline tag has its partner in the right place."""
    tokens = list(scan(html))
    tree = read_tree(html, tokens)
    return all(
        tree.partner[index] >= 0
        for index, one in enumerate(tokens)
        if one.kind in (Kind.START, Kind.END) and one.name in ("b", "i", "a", "span", "sup")
    )


JUNK = [
    "<b>", "<b>x", "<b>x</b>", "<b>x</i>", "<", "<a '", "<!--", "<![CDATA[", "</", "<script>",
    "<p>x", "<title/>", "&", "&amp;", "&#", "\0", "x<!---->", "x<br>", "<i>x <b>y</b></i> ",
    "<img alt='x'>", "<code>x</code>", "{x}", "<pre>", "<li translate=no>x", "<a b=c", "</b>",
    "<b> </b>x", "<a title='x'>y</a>",
]  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("size", [10_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_hostile_pages_come_to_an_end(junk: str, size: int) -> None:
    """What is quadratic runs into the time limit at the larger size."""
    html = junk * (size // len(junk))
    document = html_units(html)
    assert document.render([None] * len(document.units)).text == html
    document.render([unchanged(one.text + "!") for one in document.units])


@pytest.mark.parametrize("tag", ["b", "div"])
@pytest.mark.parametrize("depth", [10_000, pytest.param(40_000, marks=pytest.mark.slow)])
def test_deep_nesting(tag: str, depth: int) -> None:
    html = f"<{tag}>" * depth + "text" + f"</{tag}>" * depth
    document = html_units(html)
    assert [one.text for one in document.units] == ["text"]
    assert document.render([UnitTranslation("Text")]).text == html.replace("text", "Text")
    halves = html.replace("text", "one <i>two</i> three") + "</i>" * 1000
    document = html_units(halves)
    assert document.render([unchanged(one.text) for one in document.units]).text == halves
