"""Our M2M-100 tokenizer against transformers', and what ours does differently on purpose."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.bases import open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.errors import LanguageError
from hub.text import normal

TEXTS = [
    ("en", "Friday, October 3, 2008"),
    ("ko", "7,030.00 이스라엘 신권 세켈"),
    ("ar", "الأربعاء، 11 مايو 1983"),
    ("ja", "フランス、ドイツ、または日本"),
    ("de", "Färöer ½ …  and  spaces "),
    ("zh", "鬱龘靐齉爨灪"),
]


@pytest.fixture(scope="module")
def ours() -> BaseTokenizer:
    return load_tokenizer(open_base())


@pytest.fixture(scope="module")
def theirs():
    from transformers import M2M100Tokenizer

    return M2M100Tokenizer.from_pretrained(open_base().folder)


@pytest.mark.parametrize(("language", "text"), TEXTS)
def test_ids_are_those_of_transformers(ours, theirs, language, text):
    theirs.src_lang = theirs.tgt_lang = language
    assert ours.encode_source(text, language) == theirs(text)["input_ids"]
    assert ours.encode_target(text, language) == theirs(text_target=text)["input_ids"]
    assert ours.target_prefix(language) == [theirs.get_lang_id(language)]


@pytest.mark.parametrize(("language", "text"), TEXTS)
def test_decoding_gives_the_text_back_as_transformers_does(ours, theirs, language, text):
    ids = ours.encode_target(text, language)
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.decode(ids) == " ".join(text.split(" ")).strip().replace("  ", " ")


def test_special_ids_are_those_of_transformers(ours, theirs):
    assert (ours.pad_id, ours.eos_id) == (theirs.pad_token_id, theirs.eos_token_id)
    assert ours.decoder_start_id == open_base().config["decoder_start_token_id"]


def test_the_unknown_token_is_left_out_as_in_transformers(ours, theirs):
    ids = ours.encode_target("Monday morning", "en")
    holed = [*ids[:2], ours.unk_id, *ids[2:]]
    assert "⁇" in ours._pieces.decode_pieces([ours._piece_of_id[ours.unk_id]])  # else it shows
    assert ours.decode(holed) == theirs.decode(holed, skip_special_tokens=True)
    assert ours.decode(holed) == "Monday morning"


def test_a_variety_has_the_ids_of_its_language(ours):
    for variety in ("en-GB", "en_AU", "eng_Latn"):
        assert ours.encode_source("colour", variety) == ours.encode_source("colour", "en")
    assert ours.target_prefix("pt-PT") == ours.target_prefix("pt")
    assert ours.target_prefix("zh-Hant-HK") == ours.target_prefix("zh")


def test_control_tokens_in_text_are_text(ours, theirs):
    text = "</s> __ko__ <pad>"
    ids = ours.encode_source(text, "en")
    assert ours.decode(ids) == text
    assert ids.count(ours.eos_id) == 1
    assert theirs(text)["input_ids"].count(theirs.eos_token_id) > 1  # why ours is our own


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), max_size=60))
def test_any_text_survives(text: str):
    tokenizer = load_tokenizer(open_base())
    assert (
        tokenizer.decode(tokenizer.encode_source(text, "en"))
        == normal(text).replace("▁", " ").strip()
    )


# What people have in files, and the same text as the base has learnt it.
FORMS = [
    ("Monday\u00a0morning", "Monday morning"),
    ("Monday\tmorning", "Monday morning"),
    ("Monday\r\nmorning", "Monday morning"),
    ("Monday\u2028 \u3000morning\n", "Monday morning"),
    ("Monday\u200bmorning", "Monday morning"),
    ("\ufeffMon\u00adday \u200emorning\u2069", "Monday morning"),
    ("cafe\u0301 a\u0308", "caf\u00e9 \u00e4"),
    ("\u1100\u1161", "\uac00"),
]


@pytest.mark.parametrize(("written", "plain"), FORMS)
def test_one_text_in_other_forms_has_the_same_ids(ours, theirs, written, plain):
    assert written != plain
    expected = theirs(plain)["input_ids"]
    assert theirs(written)["input_ids"] != expected  # why it is mended before the tokenizer
    theirs.src_lang = "en"
    assert ours.encode_source(written, "en") == theirs(plain)["input_ids"]


def test_targets_keep_their_typography_but_not_their_line_ends(ours, theirs):
    theirs.src_lang = theirs.tgt_lang = "fr"
    kept = "12\u202f000\u00a0€"
    assert ours.encode_target(kept, "fr") == theirs(text_target=kept)["input_ids"]
    assert ours.encode_target(kept, "fr") != ours.encode_source(kept, "fr")
    plain = theirs(text_target="e\u0301te\u0301")["input_ids"]
    assert plain != theirs(text_target="\u00e9t\u00e9")["input_ids"]
    for written in ("\u00e9t\u00e9 12", "e\u0301te\u0301 \r\n 12", "\u00e9t\u00e9\t12"):
        assert (
            ours.encode_target(written, "fr") == theirs(text_target="\u00e9t\u00e9 12")["input_ids"]
        )


def test_a_language_the_base_lacks_is_named_with_those_it_has(ours):
    with pytest.raises(LanguageError, match=r"no language 'zu'; it has: .*\bko\b"):
        ours.encode_source("x", "zu")
