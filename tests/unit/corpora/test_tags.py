"""Languages as files name them."""

from __future__ import annotations

import gzip

import pytest

from training.corpora.tags import EXACT, OTHER, VARIANT, best_names, is_code, match, plain_tag


@pytest.mark.parametrize(
    ("tag", "plain"),
    [
        ("de-1996", "de"),
        ("de-DE-1901", "de-DE"),
        ("ca-ES-valencia", "ca-ES"),
        ("de_DE_formal", "de-DE"),
        ("en_US_POSIX", "en-US"),
        ("de-x-formal", "de"),
        ("zh-CHS", "zh-Hans"),
        ("zh_CHT", "zh-Hant"),
        ("zh-Hant-HK", "zh-Hant-HK"),
        ("es-419", "es-419"),
        ("zh-yue", "zh-yue"),
        ("LANGUAGE", ""),
        ("ll_CC", ""),
    ],
)
def test_what_says_more_is_dropped(tag: str, plain: str) -> None:
    assert plain_tag(tag).tag == plain


@pytest.mark.parametrize(
    ("tag", "language", "how"),
    [
        ("de-1996", "de", VARIANT),
        ("de_DE_formal", "de", VARIANT),
        ("zh-CHS", "zh-Hans", EXACT),
        ("zh-CHT", "zh", VARIANT),
        ("German", "de", EXACT),
        ("deutsch", "de", EXACT),
        ("한국어", "ko", EXACT),
        ("German (de)", "de", EXACT),
        ("German (fr)", "de", OTHER),
        ("Portuguese (Brazil)", "pt", VARIANT),
        ("German", "en", OTHER),
        ("LANGUAGE", "de", OTHER),
        ("x-de", "de", OTHER),
        ("zh-yue", "zh", OTHER),
    ],
)
def test_tags_and_names_match(tag: str, language: str, how: int) -> None:
    assert match(tag, language) == how


def test_a_column_that_says_more_is_no_language() -> None:
    assert best_names(["de_score", "de", "de_source"], "de") == ["de"]
    assert best_names(["de_score", "de_AT"], "de") == ["de_AT"]
    assert best_names(["de_score"], "de") == []
    assert [is_code(text) for text in ("de", "de-1996", "German", "LANGUAGE")] == [
        True, True, False, False
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "spec"),
    [
        (("c.en.gz", "c.de.gz"), "c.{en,de}"),
        (("c.en", "c.de.GZ"), "c.{en,de}"),
        (("c.en", "c.de"), "c.{EN,DE}"),
        (("c.EN", "c.DE"), "c.{en,de}"),
        (("c.en", "c.de"), "c.{ en, de }"),
        (("c.src", "c.trg"), "c.{SRC,TRG}"),
        (("c.en.GZ", "c.de.gz"), "c"),
    ],
)
def test_pairs_of_files_are_found(put, read, tmp_path, names, spec: str) -> None:
    for name, text in zip(names, (b"oak\n", b"Eiche\n"), strict=True):
        put(name, gzip.compress(text) if name.lower().endswith(".gz") else text)
    (segment,) = read(tmp_path / spec, "en-de")
    assert (segment.source, segment.target) == ("oak", "Eiche")


def test_the_plain_file_goes_before_the_compressed_one(put, read, tmp_path) -> None:
    put("c.en", "oak\n")
    put("c.en.gz", gzip.compress(b"ash\n"))
    put("c.de", "Eiche\n")
    (segment,) = read(tmp_path / "c.{en,de}", "en-de")
    assert segment.source == "oak"
