"""The syntax of --data: what is a weight, a format, a path, an option; and what never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import CorpusError
from training.corpora.sources import FORMATS, OPTIONS, parse_source, parse_sources


@pytest.mark.parametrize(
    ("text", "path", "kind", "weight", "options"),
    [
        ("a.tsv", "a.tsv", "tsv", 1.0, {}),
        ("a.TSV", "a.TSV", "tsv", 1.0, {}),
        ("a.tsv.gz", "a.tsv.gz", "tsv", 1.0, {}),
        ("a.jsonl.zst", "a.jsonl.zst", "jsonl", 1.0, {}),
        ("a.tmx", "a.tmx", "tmx", 1.0, {}),
        ("a.xlf", "a.xlf", "xliff", 1.0, {}),
        ("ko.po", "ko.po", "po", 1.0, {}),
        ("data.parquet", "data.parquet", "hf", 1.0, {}),
        ("corpus", "corpus", "moses", 1.0, {}),
        ("corpus.{en,ko}", "corpus.{en,ko}", "moses", 1.0, {}),
        ("2@a.tsv", "a.tsv", "tsv", 2.0, {}),
        ("0.5@a.tsv", "a.tsv", "tsv", 0.5, {}),
        (".5@tsv:a", "a", "tsv", 0.5, {}),
        ("tsv:notes.txt", "notes.txt", "tsv", 1.0, {}),
        ("3@hf:user/name#config=de-en&split=train", "user/name", "hf", 3.0,
         {"config": "de-en", "split": "train"}),
        ("a.tsv#columns=1,3", "a.tsv", "tsv", 1.0, {"columns": "1,3"}),
        # What only looks like a part of the syntax belongs to the path.
        ("a:2.tsv", "a:2.tsv", "tsv", 1.0, {}),
        ("C:/tsv:a.tsv", "C:/tsv:a.tsv", "tsv", 1.0, {}),
        ("./tsv:a.tsv", "./tsv:a.tsv", "tsv", 1.0, {}),
        ("./2@a.tsv", "./2@a.tsv", "tsv", 1.0, {}),
        ("me@host/a.tsv", "me@host/a.tsv", "tsv", 1.0, {}),
        ("v2@a.tsv", "v2@a.tsv", "tsv", 1.0, {}),
        ("notes#2.tsv", "notes#2.tsv", "tsv", 1.0, {}),
        ("a#b=c.tsv", "a#b=c.tsv", "tsv", 1.0, {}),
    ],
)  # fmt: skip
def test_a_source_is_read_from_its_text(text, path, kind, weight, options) -> None:
    source = parse_source(text)
    assert (source.path, source.format, source.weight) == (path, kind, weight)
    assert source.options == options
    assert source.typed == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0@a.tsv", "weight 0 must be above 0 and at most 100"),
        ("101@a.tsv", "at most 100"),
        ("a.tmx#columns=1,2", "tmx has no option 'columns'; it has source, target"),
        ("a.tsv#split=train", "tsv has no option 'split'; it has columns, header"),
        ("#columns=1,2", "moses has no option"),
        ("tsv:#columns=1,2", "no path"),
    ],
)
def test_a_bad_source_is_refused(text: str, said: str) -> None:
    with pytest.raises(CorpusError) as caught:
        parse_source(text)
    assert said in caught.value.message
    assert text in caught.value.message
    assert caught.value.exit_code == 65


def test_a_source_named_twice_is_refused() -> None:
    parse_sources(["a.tsv", "b.tsv", "a.tsv#columns=1,3"])
    with pytest.raises(CorpusError, match="named twice"):
        parse_sources(["a.tsv", "b.tsv", "2@a.tsv"])


@given(st.text(alphabet=st.characters(exclude_characters="#"), min_size=1))
def test_any_path_can_be_named(name: str) -> None:
    """With ./ in front and the format before that, nothing in a path is syntax."""
    for kind in FORMATS:
        source = parse_source(f"2@{kind}:./{name}")
        assert (source.path, source.format, source.weight) == (f"./{name}", kind, 2.0)


def test_every_format_has_a_reader() -> None:
    from training.corpora.formats import READERS

    assert set(READERS) == set(OPTIONS) == set(FORMATS)
