"""The tokens of a language: what a translation into it may need, and little of the others'."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.bases import open_base
from hub.bases import vocabulary as lists
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.bases.vocabulary import LanguageLists, adapter_tokens, language_tokens
from hub.engine.shortlists import Shortlist
from hub.errors import CorruptBlobError
from hub.vocabulary import VOCABULARY_FILE, parse_vocabulary, read_vocabulary, vocabulary_json

# Unicode blocks, by hand: Hangul syllables, Cyrillic, Thai, Devanagari, Greek.
BLOCKS = {
    "ko": ("\uac00", "\ud7a3"), "ru": ("\u0400", "\u04ff"), "th": ("\u0e00", "\u0e7f"),
    "hi": ("\u0900", "\u097f"), "el": ("\u0370", "\u03ff"),
}  # fmt: skip
TEXTS = {
    "ko": "2026년 11월 27일 금요일: 5.5km/h, €1,000", "de": "Größe: 5 kg — 3,50 € (ungefähr)",
    "ru": "Понедельник, 27 ноября 2026 г.", "hi": "सोमवार, २७ नवंबर", "th": "วันจันทร์ที่ 27",
    "ja": "月曜日のカレンダー、5kmです。", "el": "Δευτέρα 27 Νοεμβρίου", "vi": "Thứ Hai 27 thg 11",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> BaseTokenizer:
    return load_tokenizer(open_base())


@pytest.mark.parametrize("language", TEXTS)
def test_a_list_holds_what_its_language_is_written_in(
    tokenizer: BaseTokenizer, language: str
) -> None:
    tokens = set(language_tokens(tokenizer, language) or ())
    [_, *pieces] = tokenizer.encode_target(TEXTS[language], language)
    assert len(pieces) > 3
    assert tokens.issuperset(pieces)
    assert tokens.issuperset(tokenizer.byte_ids)
    assert {tokenizer.eos_id, tokenizer.unk_id} <= tokens < set(tokenizer.tokens)


@pytest.mark.parametrize("language", BLOCKS)
def test_a_list_holds_all_of_its_block_and_nothing_of_others(
    tokenizer: BaseTokenizer, language: str
) -> None:
    tokens = set(language_tokens(tokenizer, language) or ())
    for other, (first, last) in BLOCKS.items():
        block = {
            token
            for token, piece in tokenizer.tokens.items()
            if any(first <= character <= last and character.isalpha() for character in piece)
            and not any("A" <= character <= "z" for character in piece)
        }
        assert len(block) > 300
        assert block <= tokens if other == language else not block & tokens


def test_languages_of_one_script_share_a_list(tokenizer: BaseTokenizer) -> None:
    found = LanguageLists(tokenizer)
    assert found.of("de") is found.of("fr") is found.of("vi")
    assert found.of("ru") is found.of("uk")
    assert found.of("ru") != found.of("de")
    report = "\n".join(found.report())
    assert "ru, uk: " in report
    assert f" of {len(tokenizer.tokens):,} tokens" in report


def test_a_script_that_is_not_known_has_no_list(
    tokenizer: BaseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert language_tokens(tokenizer, "jv-Java") is None
    assert adapter_tokens(tokenizer, "jv-Java", []) is None
    assert LanguageLists(tokenizer).of("jv-Java") is None


def test_an_adapters_list_is_of_its_texts_and_the_frequent_pieces(
    tokenizer: BaseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "FREQUENT", 1_000)
    monkeypatch.setattr(lists, "ASCII_PIECES", 50)
    written = tokenizer.encode_target("Понедельник", "ru")
    plain = set(adapter_tokens(tokenizer, "ko", []) or ())
    found = set(adapter_tokens(tokenizer, "ko", [written]) or ())
    assert found == plain | set(written) != plain
    assert plain < set(language_tokens(tokenizer, "ko") or ())
    assert len(plain) <= 1_000 + 50 + 256 + 4
    monkeypatch.setattr(lists, "MOST_LISTED", len(found) - 1)
    assert adapter_tokens(tokenizer, "ko", [written]) is None


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_vocabulary(tmp_path) is None
    (tmp_path / VOCABULARY_FILE).write_text(vocabulary_json("ko", [2, 5, 9]))
    assert read_vocabulary(tmp_path) == (2, 5, 9)
    assert json.loads((tmp_path / VOCABULARY_FILE).read_bytes())["language"] == "ko"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1,2]", "schema version"),
        ('{"schema_version":2,"tokens":[1]}', "schema version"),
        ('{"schema_version":1}', "not a list of token ids"),
        ('{"schema_version":1,"tokens":[]}', "not a list of token ids"),
        ('{"schema_version":1,"tokens":[true]}', "not a list of token ids"),
        ('{"schema_version":1,"tokens":[1,2.5]}', "not a list of token ids"),
        ('{"schema_version":1,"tokens":[2,2]}', "not ascending"),
        ('{"schema_version":1,"tokens":[-1,2]}', "not ascending"),
        ('{"schema_version":1,"tokens":[1,2147483648]}', "not ascending"),
    ],
)
def test_what_is_no_list_is_refused(text: str, why: str) -> None:
    with pytest.raises(CorruptBlobError, match=why):
        parse_vocabulary(text.encode())


def test_the_longest_list_fits_into_a_folder() -> None:
    longest = range(10**6 - lists.MOST_LISTED, 10**6)
    assert len(vocabulary_json("ko", longest)) < 1 << 20
    assert len(Shortlist(longest)) == lists.MOST_LISTED
