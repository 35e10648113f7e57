"""Units of XLIFF: their segments, their languages, their plural forms."""

from __future__ import annotations

import pytest

from hub.errors import CorpusError
from training.corpora.segments import Skipped


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


def xliff(units: str, attributes: str = 'source-language="en" target-language="de"') -> str:
    return f'<xliff version="1.2"><file {attributes}><body>{units}</body></file></xliff>'


def cut(source: str, target: str) -> str:
    return (
        "<trans-unit id='1'><source>Wind. Rain.</source>"
        f"<seg-source>{source}</seg-source><target>{target}</target></trans-unit>"
    )


def mrk(text: str, mid: str | None = None) -> str:
    number = "" if mid is None else f" mid='{mid}'"
    return f"<mrk mtype='seg'{number}>{text}</mrk>"


BOTH = [("Wind.", "Wind!"), ("Rain.", "Regen!")]
WHOLE = [("Wind. Rain.", "Wind! Regen!")]


@pytest.mark.parametrize(
    ("mids", "others", "found", "left"),
    [
        (("1", "2"), ("1", "2"), BOTH, 0),
        ((None, None), (None, None), BOTH, 0),
        (("1", "1"), ("1", "1"), BOTH, 0),
        (("1", "2"), (None, None), BOTH, 0),
        (("1", "2"), ("1", "1"), [], 2),  # either might be the second
        (("1", None), (None, "1"), [], 2),
    ],
)
def test_segments_without_numbers_of_their_own(put, read, mids, others, found, left) -> None:
    source = mrk("Wind.", mids[0]) + " " + mrk("Rain.", mids[1])
    target = mrk("Wind!", others[0]) + " " + mrk("Regen!", others[1])
    skipped = Skipped()
    rest = "<trans-unit id='2'><source>sun</source><target>Sonne</target></trans-unit>"
    path = put("a.xlf", xliff(cut(source, target) + rest))
    assert texts(read(path, "en-de", skipped=skipped)) == [*found, ("sun", "Sonne")]
    assert skipped == ({"segment without counterpart": left} if left else {})


@pytest.mark.parametrize(
    ("source", "target", "found", "skipped"),
    [
        # The second segment was joined to the first, in one side or in both.
        (mrk("Wind. Rain.", "1"), mrk("Wind!", "1") + " Regen!", WHOLE, {}),
        (mrk("Wind.", "1") + " Rain.", mrk("Wind!", "1") + " Regen!", WHOLE, {}),
        # Blanks and tags are no text.
        (
            mrk("Wind.", "1") + "\n<x id='1'/>" + mrk("Rain.", "2"),
            mrk("Wind!", "1") + " <ph id='1'>&lt;br&gt;</ph>" + mrk("Regen!", "2"),
            BOTH,
            {},
        ),
        # Which of the two is the text outside?
        (
            mrk("Wind.", "1") + mrk("Rain.", "2"),
            mrk("Wind!", "1") + " Regen!",
            [],
            {"segment without counterpart": 2},
        ),
        # A half that is not translated is no whole.
        (
            mrk("Wind.", "1") + " Rain.",
            mrk("", "1") + " Regen!",
            [],
            {"segment without counterpart": 1},
        ),
        (
            mrk("Wind.", "1") + mrk("Rain.", "2"),
            mrk("Wind!", "1") + mrk("Regen!", "2") + mrk("Hagel!", "3"),
            BOTH,
            {"segment without counterpart": 1},
        ),
        (
            mrk("Wind.", "1") + mrk("Rain.", "2"),
            mrk("Wind!", "1"),
            BOTH[:1],
            {"untranslated": 1},
        ),
    ],
)
def test_text_beside_segments_is_not_lost(put, read, source, target, found, skipped) -> None:
    counts = Skipped()
    rest = "<trans-unit id='2'><source>sun</source><target>Sonne</target></trans-unit>"
    path = put("a.xlf", xliff(cut(source, target) + rest))
    assert texts(read(path, "en-de", skipped=counts)) == [*found, ("sun", "Sonne")]
    assert counts == skipped


def test_a_side_that_stands_twice_is_left_out(put, read) -> None:
    skipped = Skipped()
    units = (
        "<trans-unit id='1'><source>wind</source><target>Wind</target><target>Brise</target>"
        "</trans-unit><trans-unit id='2'><source>sun</source><alt-trans><target>Stern</target>"
        "</alt-trans><target>Sonne</target></trans-unit>"
    )
    found = read(put("a.xlf", xliff(units)), "en-de", skipped=skipped)
    assert texts(found) == [("sun", "Sonne")]
    assert skipped == {"with a side more than once": 1}


# Languages


UNIT = "<trans-unit id='1'><source{}>{}</source><target{}>{}</target></trans-unit>"


def test_a_file_inherits_no_language_from_the_one_before(put, read) -> None:
    one = UNIT.format("", "wind", "", "Wind")
    files = "".join(
        f"<file {attributes}><body>{unit}</body></file>"
        for attributes, unit in (
            ('source-language="en" target-language="de"', one),
            ('original="b"', UNIT.format("", "vent", "", "vento")),
            ('source-language="de" target-language="en"', UNIT.format("", "Eis", "", "ice")),
        )
    )
    skipped = Skipped()
    path = put("a.xlf", f"<xliff version='1.2'>{files}</xliff>")
    assert texts(read(path, "en-de", skipped=skipped)) == [("wind", "Wind"), ("ice", "Eis")]
    assert skipped == {"without a stated source language": 1}


def test_the_sides_may_state_the_languages(put, read) -> None:
    unit = UNIT.format(' xml:lang="en-GB"', "wind", ' xml:lang="de-AT"', "Wind")
    path = put("a.xlf", xliff(unit, 'original="a"'))
    assert texts(read(path, "en-de")) == [("wind", "Wind")]
    assert texts(read(path, "de-en")) == [("Wind", "wind")]
    with pytest.raises(CorpusError, match="it has en-GB to de-AT"):
        read(path, "en-fr")


def test_capitals_are_another_name(put, read) -> None:
    with pytest.raises(CorpusError, match="there is no <xliff> element, in small letters"):
        read(put("a.xlf", xliff(UNIT.format("", "a", "", "b")).upper()), "en-de")


# The plural forms of gettext


def plurals(*forms: str, sources: tuple[str, str] = ("%d wind", "%d winds")) -> str:
    units = "".join(
        f"<trans-unit id='7[{number}]'><source>{sources[number > 0]}</source>"
        f"<target>{form}</target></trans-unit>"
        for number, form in enumerate(forms)
    )
    return f"<group restype='x-gettext-plurals'><note>n</note>{units}</group>"


@pytest.mark.parametrize(
    ("language", "forms", "found", "skipped"),
    [
        ("de", ("%d Wind", "%d Winde"), [("%d wind", "%d Wind"), ("%d winds", "%d Winde")], {}),
        ("pl", ("a", "b", "c"), [("%d wind", "a"), ("%d winds", "c")],
         {"plural form without counterpart": 1}),
        ("ru", ("a", "b", "c"), [("%d winds", "c")], {"plural form without counterpart": 2}),
        ("ja", ("a", ""), [("%d winds", "a")], {}),
        ("pl", ("a", "b"), [], {"plural form without counterpart": 2}),
        ("de", ("", ""), [], {"untranslated": 1}),
    ],
)  # fmt: skip
def test_plural_forms_are_paired_by_meaning(put, read, language, forms, found, skipped) -> None:
    counts = Skipped()
    rest = UNIT.format("", "sun", "", "x")
    path = put(
        "a.xlf",
        xliff(plurals(*forms) + rest, f'source-language="en" target-language="{language}"'),
    )
    assert texts(read(path, f"en-{language}", skipped=counts)) == [*found, ("sun", "x")]
    assert counts == skipped
    back = texts(read(path, f"{language}-en"))
    assert back == [(target, source) for source, target in [*found, ("sun", "x")]]


def test_the_catalogues_own_rule_goes_before_the_languages(put, read) -> None:
    header = (
        "<trans-unit id='0' restype='x-gettext-domain-header'><source>Language: \n</source><target>"
        "Language: pl\nPlural-Forms: nplurals=3; plural=(n==1 ? 2 : n==2 ? 1 : 0);\n</target>"
        "</trans-unit>"
    )
    attributes = 'source-language="en" target-language="pl"'
    found = read(put("a.xlf", xliff(header + plurals("a", "b", "c"), attributes)), "en-pl")
    assert texts(found) == [("%d wind", "c"), ("%d winds", "a")]


def test_a_form_that_needs_work_costs_the_message(put, read) -> None:
    counts = Skipped()
    units = plurals("a", "b").replace("<target>", "<target state='needs-translation'>", 1)
    path = put("a.xlf", xliff(units + UNIT.format("", "sun", "", "Sonne")))
    assert texts(read(path, "en-de", skipped=counts)) == [("sun", "Sonne")]
    assert counts == {"in a state that needs work": 1, "plural form without counterpart": 1}
