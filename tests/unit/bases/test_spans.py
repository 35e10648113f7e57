"""Where tokens stand: in the text that was given, and in the text that comes out."""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from hub.bases import open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.bases.tokenizers.spans import normal_spans
from hub.text import normal

from .test_family_tokenizers import base_of, marian_folder, train, write

TEXTS = [
    "The lazy fox", "  금요일\t 7:30 ", "Der Hund\u00a0 jumps,   nicht", "", "鬱 unknown 😀!", "a",
    "e\u0301te\u0301 \u1112\u1161\u11ab", "ﬁne Ａ\u00adB\u200bC \u202bx\u202c", "<2ko> </s> <0x41>",
    "क्षि नमस्ते", "👩\u200d👩\u200d👧 ok", "½ ﷺ x",
]  # fmt: skip


@pytest.fixture(scope="module")
def embedded() -> BaseTokenizer:
    return load_tokenizer(open_base("embedded"))


def check(tokenizer: BaseTokenizer, text: str, source: str, target: str) -> None:
    ids = tokenizer.encode_source(text, source, target)
    spans = tokenizer.source_spans(text, source, target)
    assert len(spans) == len(ids)
    own = [span for span in spans if span is not None]
    assert all(0 <= start <= end <= len(text) for start, end in own)
    assert own == sorted(own)
    covered = {place for start, end in own for place in range(start, end)}
    _, places = normal_spans(text)
    for start, end in places:
        assert text[start:end].isspace() or not text[start:end].strip("\u200b") or (
            covered & set(range(start, end))
        )  # fmt: skip


def check_output(tokenizer: BaseTokenizer, ids: list[int]) -> None:
    text = tokenizer.decode(ids)
    spans = tokenizer.target_spans(ids)
    assert len(spans) == len(ids)
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered >= {place for place, one in enumerate(text) if not one.isspace()}
    assert covered <= set(range(len(text)))


def roundtrip(tokenizer: BaseTokenizer, source: str, target: str) -> None:
    for text in TEXTS:
        check(tokenizer, text, source, target)
        check_output(tokenizer, tokenizer.encode_source(text, source, target))
        check_output(tokenizer, tokenizer.encode_target(text, target))


@pytest.mark.parametrize("normalizer", ["identity", "nmt_nfkc"])
def test_nllb(tmp_path: Path, normalizer: str) -> None:
    from transformers import NllbTokenizer

    path = train(
        tmp_path / "sentencepiece.bpe.model",
        model_type="bpe", normalization_rule_name=normalizer,
    )  # fmt: skip
    write(tmp_path, "special_tokens_map.json",
          {"additional_special_tokens": list(FAIRSEQ_LANGUAGE_CODES)})  # fmt: skip
    base = base_of(tmp_path, "m2m_100", decoder_start_token_id=2)
    roundtrip(load_tokenizer(base), "en", "ko")
    NllbTokenizer.from_pretrained(
        tmp_path, additional_special_tokens=list(FAIRSEQ_LANGUAGE_CODES)
    ).save_pretrained(tmp_path)
    path.unlink()
    assert (tmp_path / "tokenizer.json").is_file()
    roundtrip(load_tokenizer(base), "en", "ko")


@pytest.mark.parametrize("fallback", [False, True])
def test_t5_madlad_and_marian(tmp_path: Path, fallback: bool) -> None:
    symbols = [f"<2{code}>" for code in ("en", "ko", "de")]
    train(tmp_path / "spiece.model", user_defined_symbols=symbols, byte_fallback=fallback,
          vocab_size=420 if fallback else 150, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)  # fmt: skip
    madlad = load_tokenizer(base_of(tmp_path, "t5"))
    roundtrip(madlad, "de", "ko")
    assert madlad.source_spans("fox", "de", "ko")[0] is None
    (tmp_path / "marian").mkdir()
    roundtrip(
        load_tokenizer(marian_folder(tmp_path / "marian", [], source_lang="en", target_lang="de")),
        "en",
        "de",
    )


def test_words_that_ask_for_a_pair_are_not_of_the_text(tmp_path: Path) -> None:
    train(tmp_path / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    task = {"prefix": "translate English to German: "}
    base = base_of(tmp_path, "t5", task_specific_params={"translation_en_to_de": task})
    tokenizer = load_tokenizer(base)
    spans = tokenizer.source_spans("good fox", "en", "de")
    text_of = "".join("good fox"[start:end] for start, end in filter(None, spans))
    assert spans[0] is None
    assert text_of.replace(" ", "") == "goodfox"
    roundtrip(tokenizer, "en", "de")


def test_bytes_have_their_character(tmp_path: Path) -> None:
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    tokenizer = load_tokenizer(base_of(tmp_path, "mt5"))
    assert tokenizer.source_spans(" aé", "en", "de") == [(1, 2), (2, 3), (2, 3), None]
    roundtrip(tokenizer, "en", "de")


def test_embedded_by_hand(embedded: BaseTokenizer) -> None:
    text = "  May\u00a0\u00a07, e\u0301t"
    found = embedded.source_spans(text, "en", "de")
    assert found[0] is None
    assert found[-1] is None
    shown = [text[start:end] for start, end in filter(None, found)]
    assert "".join(shown) == "May7,e\u0301t"
    ids = embedded.encode_target("May 7 {é}", "de")
    spans = embedded.target_spans(ids)
    out = embedded.decode(ids)
    assert out == "May 7 {é}"
    assert [out[start:end] for start, end in spans[1:-1]][-3:] == ["{", "é", "}"]
    assert spans[0] == (0, 0)
    assert spans[-1][0] == spans[-1][1]


def test_embedded_on_known_texts(embedded: BaseTokenizer) -> None:
    roundtrip(embedded, "en", "ko")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_embedded_on_any_text(text: str) -> None:
    tokenizer = load_once()
    check(tokenizer, text, "en", "ko")
    check_output(tokenizer, tokenizer.encode_source(text, "en", "ko"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(min_value=0, max_value=8110), max_size=30))
def test_embedded_on_any_output(ids: list[int]) -> None:
    tokenizer = load_once()
    text, spans = tokenizer.decode(ids), tokenizer.target_spans(ids)
    assert len(spans) == len(ids)
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_normal_form_says_where_it_comes_from(text: str) -> None:
    form, spans = normal_spans(text)
    assert form == normal(text)
    assert len(spans) == len(form)
    for one, (start, end) in zip(form, spans, strict=True):
        assert 0 <= start < end <= len(text)
        assert one == " " or one in unicodedata.normalize("NFC", text[start:end])


@functools.cache
def load_once() -> BaseTokenizer:
    return load_tokenizer(open_base("embedded"))
