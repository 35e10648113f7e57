"""Tables and records: which delimiter, which columns, which keys."""

from __future__ import annotations

import json

import pytest

from hub.errors import CorpusError
from training.corpora.segments import Skipped


def texts(segments) -> list[tuple[str, str]]:
    return [(segment.source, segment.target) for segment in segments]


TREE = [("oak", "Eiche")]


# Headers


@pytest.mark.parametrize(
    "names",
    [
        ("en", "de"),
        ("EN", "De"),
        ("en-US", "de_AT"),
        ("English", "German"),
        ("english", "Deutsch"),
        ("English (en)", "German (de)"),
        ("English (US)", "German (Austria)"),
        ("source", "target"),
        ("src", "trg"),
        ("Src", "TGT"),
        ("source_text", "target_text"),
        ("Source segment", "Target segment"),
        ("Original", "Translation"),
        ("text_en", "text_de"),
        ("en_sentence", "de_sentence"),
        ("English text", "German translation"),
        ("\u00a0en ", "'de'"),
    ],
)
def test_a_header_chooses_the_columns(put, read, names) -> None:
    for order in (1, -1):
        rows = [("id", *names[::order]), ("7", *TREE[0][::order])]
        for name, delimiter in (("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")):
            path = put(name, "".join(delimiter.join(row) + "\n" for row in rows))
            skipped = Skipped()
            assert texts(read(path, "en-de", skipped=skipped)) == TREE
            (note,) = skipped.notes
            assert "its first row is a header" in note
            assert f"source is column {2 if order > 0 else 3}" in note


@pytest.mark.parametrize(
    "row", [("oak", "Eiche"), ("in", "am"), ("The source", "Die Quelle"), ("en", "Eiche"),
            ("source", "Quelle"), ("de_score", "en_score"), ("e" * 200, "de")],
)  # fmt: skip
def test_a_segment_is_no_header(put, read, row) -> None:
    path = put("a.tsv", "\t".join(row) + "\n")
    assert texts(read(path, "en-de")) == [row]


def test_columns_that_are_chosen_have_a_header_all_the_same(put, read) -> None:
    path = put("a.csv", "de,en\nEiche,oak\n")
    quiet, told = Skipped(), Skipped()
    assert texts(read(f"{path}#columns=2,1", "en-de", skipped=quiet)) == TREE
    assert quiet.notes == []
    assert texts(read(f"{path}#columns=1,2", "en-de", skipped=told)) == [("Eiche", "oak")]
    assert "if that is wrong, swap the columns" in told.notes[0]


def test_a_header_can_be_denied(put, read) -> None:
    path = put("a.tsv", "en\tde\noak\tEiche\n")
    assert texts(read(f"{path}#header=0", "en-de")) == [("en", "de"), *TREE]


def test_a_language_twice_is_a_choice_for_the_user(put, read) -> None:
    path = put("a.csv", "en,en-US,de\noak,live oak,Eiche\n")
    with pytest.raises(CorpusError, match=r"columns en, en-US of its header are all 'en'"):
        read(path, "en-de")
    assert texts(read(f"{path}#columns=1,3", "en-de")) == TREE


def test_a_header_of_another_pair_is_no_segment(put, read) -> None:
    for names in (("English", "Korean"), ("en", "ko"), ("pt-BR", "de")):
        path = put("a.tsv", "\t".join(names) + "\noak\tEiche\n")
        with pytest.raises(CorpusError, match=f"names {names[0]}, {names[1]}, not the languages"):
            read(path, "en-de")
        assert texts(read(f"{path}#columns=1,2&header=1", "en-de")) == TREE
        assert texts(read(f"{path}#header=0", "en-de")) == [names, *TREE]
    for names in (("Afrikaans", "Afrikaans"), ("Korean", "Koreanisch"), ("is", "it")):
        assert texts(read(put("b.tsv", "\t".join(names)), "en-de")) == [names]


# Delimiters


@pytest.mark.parametrize(
    ("content", "found"),
    [
        # More commas than semicolons in the first row, but in no equal number.
        ("oak, ash, elm;Eiche\nfir;Tanne\n", [("oak, ash, elm", "Eiche"), ("fir", "Tanne")]),
        ("Price 1,50;Preis 1,50\nPrice 2,50;Preis 2,50\n",
         [("Price 1,50", "Preis 1,50"), ("Price 2,50", "Preis 2,50")]),
        ('"oak, ash; elm";"Eiche"\n', [("oak, ash; elm", "Eiche")]),
        ('"oak; ash; elm","Eiche"\n', [("oak; ash; elm", "Eiche")]),
        ('"oak\nash, elm";Eiche\nfir;Tanne\n', [("oak ash, elm", "Eiche"), ("fir", "Tanne")]),
        ("oak, ash\tEiche, Esche\n", [("oak, ash", "Eiche, Esche")]),
        ("oak|Eiche\nfir|Tanne\n", [("oak", "Eiche"), ("fir", "Tanne")]),
        ('"oak", "Eiche"\n"ash, elm", "Esche, Ulme"\n',
         [("oak", "Eiche"), ("ash, elm", "Esche, Ulme")]),
        ("\n\noak;Eiche\n", TREE),
        ("oak,Eiche,\nfir,Tanne,\n", [("oak", "Eiche"), ("fir", "Tanne")]),
        ("sep=;\noak, ash;Eiche\n", [("oak, ash", "Eiche")]),
        ('"sep=|"\nen|de\noak|Eiche\n', TREE),
        ("a;en;de\n1,5;oak;Eiche\n2,5;fir;Tanne\n", [("oak", "Eiche"), ("fir", "Tanne")]),
    ],
)  # fmt: skip
def test_the_delimiter_divides_all_rows_alike(put, read, content: str, found) -> None:
    path = put("a.csv", content)
    assert texts(read(path, "en-de")) == found


def test_a_tie_is_a_choice_for_the_user(put, read) -> None:
    path = put("a.csv", "Yes, sure;Jawohl\nNo, never;Niemals\n")
    with pytest.raises(CorpusError, match=r"#delimiter=comma or #delimiter=semicolon"):
        read(path, "en-de")
    found = texts(read(f"{path}#delimiter=semicolon", "en-de"))
    assert found == [("Yes, sure", "Jawohl"), ("No, never", "Niemals")]


def test_a_cell_may_go_on_beyond_the_sample(put, read) -> None:
    long = "\n".join(f"line {number}" for number in range(900))
    path = put("a.csv", f'en;de\noak;Eiche\n"{long}";"x"\nfir;Tanne\n')
    found = read(path, "en-de")
    assert texts(found) == [*TREE, (long.replace("\n", " "), "x"), ("fir", "Tanne")]
    assert [segment.line for segment in found] == [2, 3, 903]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "oak\nfir\n", "a.csv:1: 1 column, where 2 must be; neither comma, semicolon"),
        ("a.csv", "oak,Eiche,chêne\n", "it has: oak | Eiche | chêne; choose two of several with"),
        ("a.csv", '"say \\"oak\\"","x"\n', 'is written twice (""), and a backslash is text'),
        ("a.csv", "en,de\noak,Eiche\nfir\n", "a.csv:3: 1 column, where at least 2 must be"),
        ("a.csv", "en,de\roak,Eiche\r", "its lines end at carriage returns alone"),
        ("a.tsv", "oak,Eiche\n", "if commas or semicolons divide it, say csv:"),
        ("a.tsv", "oak\tEiche\n\nfir\tTanne\n", "a.tsv:2: 1 tab-separated column"),
        ("a.tsv", "\t\n\t\n", "all its entries were left out: 2 with an empty side"),
        ("a.tsv", "\u200b\tEiche\n", "1 with an empty side"),
        ("a.jsonl", '{"en": "", "de": ""}\n', "1 with an empty side"),
    ],
)
def test_what_is_wrong_is_named(put, read, name: str, content: str, said: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read(put(name, content), "en-de")
    assert said in caught.value.message


def test_the_end_of_a_tsv_file_may_be_blank(put, read) -> None:
    assert texts(read(put("a.tsv", "oak\tEiche\t\n\n  \n"), "en-de")) == TREE


# Records


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


OWN = {"en": "oak", "de": "Eiche", "source": "web", "target": "train"}


def test_keys_are_those_of_the_first_record(put, read) -> None:
    for first, second, said in (
        (OWN, {"en": "fir", "source": "web", "target": "train"}, "no key 'de' among: en, source"),
        ({"source": "oak", "target": "Eiche"}, OWN, "keys 'en' and 'de', where the first"),
    ):
        with pytest.raises(CorpusError, match=said) as caught:
            read(put("a.jsonl", lines(first, second)), "en-de")
        assert "a.jsonl:2: " in caught.value.message


@pytest.mark.parametrize(
    ("record", "options"),
    [
        ({**OWN, "translation": {"by": "hand"}}, ""),
        ({**OWN, "translation": "by hand"}, ""),
        ({"translation": {"e": "oak", "d": "Eiche"}}, "#source=e&target=d"),
        ({"translation": {"en": "oak", "de": "Eiche"}, "source": "web"}, ""),
        ({"text": "oak", "de": "Eiche"}, "#source=text"),
        ({"text": "oak", "translation": {"de": "Eiche"}}, "#source=text"),
        ({"source": "oak", "answer": "Eiche"}, "#target=answer"),
        ({"text": "oak", "target": "Eiche"}, "#source=text"),
        ({"English": "oak", "German": "Eiche", "de_score": 0.5}, ""),
        ({"source": "oak", "target": "Eiche", "en_score": 1, "de_score": 1}, ""),
    ],
)
def test_keys_are_found(put, read, record, options: str) -> None:
    path = put("a.jsonl", lines(record))
    assert texts(read(f"{path}{options}", "en-de")) == TREE


def test_null_is_untranslated(put, read) -> None:
    skipped = Skipped()
    records = ({"en": "fir", "de": None}, {"en": "oak", "de": "Eiche"}, {"en": None, "de": "x"})
    assert texts(read(put("a.jsonl", lines(*records)), "en-de", skipped=skipped)) == TREE
    inner = ({"translation": {"en": "oak", "de": "Eiche"}}, {"translation": None})
    assert texts(read(put("b.jsonl", lines(*inner)), "en-de", skipped=skipped)) == TREE
    assert skipped == {"untranslated": 3}


def test_a_record_may_say_which_languages_its_sides_are(put, read) -> None:
    skipped = Skipped()
    path = put(
        "a.jsonl",
        lines(
            {"source": "oak", "target": "Eiche", "source_lang": "en", "target_lang": "de-AT"},
            {"source": "Tanne", "target": "fir", "source_lang": "de", "target_lang": "en"},
            {"source": "sapin", "target": "fir", "source_lang": "fr", "target_lang": "en"},
        ),
    )
    assert texts(read(path, "en-de", skipped=skipped)) == [*TREE, ("fir", "Tanne")]
    assert skipped == {"without both languages": 1}


def test_a_mark_in_a_later_line_is_no_part_of_it(put, read) -> None:
    content = lines({"en": "oak", "de": "Eiche"}) + "\ufeff" + lines({"en": "fir", "de": "Tanne"})
    assert texts(read(put("a.jsonl", content), "en-de")) == [*TREE, ("fir", "Tanne")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"en": "oak", "en": "fir", "de": "Eiche"}', "the key 'en' stands in it twice"),
        (json.dumps([OWN]), "one list of all is turned into lines with jq -c '.[]'"),
        (json.dumps([OWN], indent=1), "bring the file into this form with jq -c '.[]'"),
        (json.dumps(OWN, indent=1), "bring the file into this form with jq -c ."),
    ],
)
def test_what_is_no_record_a_line_is_named(put, read, content: str, said: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read(put("a.jsonl", content), "en-de")
    assert said in caught.value.message
