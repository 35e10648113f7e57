"""Tokenizer files as they are published, and as transformers 5 writes them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from hub.bases import Base, open_base
from hub.bases.languages import parse_languages, remember_languages, said_languages, said_text
from hub.bases.tokenizer import load_tokenizer
from hub.errors import (
    BaseNotFoundError,
    CorruptBaseError,
    HubError,
    LanguageError,
    SettingsError,
    WrongBaseError,
)
from hub.language_tables import FLORES_200, WMT_21
from tests.support.published import published_model, published_state, write_bin
from tests.unit.bases.test_family_tokenizers import (
    T5_PIECES,
    TASKS,
    TEXTS,
    base_of,
    marian_folder,
    train,
    write,
)

# NLLB-200


def nllb_form(folder: Path, form: str) -> Base:
    """A folder of NLLB's in one of the forms in which it is met; all have the same pieces."""
    from transformers import AutoTokenizer, NllbTokenizer

    train(folder / "sentencepiece.bpe.model", model_type="bpe")
    base = base_of(folder, "m2m_100", decoder_start_token_id=2)
    codes = list(FAIRSEQ_LANGUAGE_CODES)
    write(folder, "tokenizer_config.json", {"tokenizer_class": "NllbTokenizer"})
    if form == "listed":
        write(folder, "special_tokens_map.json", {"additional_special_tokens": codes})
    elif form == "published tokenizer.json":
        # <mask> stands behind the languages there, where transformers 5 would put it in front.
        plain = NllbTokenizer.from_pretrained(folder, additional_special_tokens=[])
        plain.save_pretrained(folder)
        content = json.loads((folder / "tokenizer.json").read_text())
        behind = max(content["model"]["vocab"].values())
        content["model"]["vocab"].pop("<mask>", None)
        content["added_tokens"] = content["added_tokens"][:4] + [
            content["added_tokens"][-1] | {"content": token, "id": behind + place}
            for place, token in enumerate([*codes, "<mask>"])
        ]
        (folder / "tokenizer.json").write_text(json.dumps(content))
        (folder / "sentencepiece.bpe.model").unlink()
        write(folder, "special_tokens_map.json", {"additional_special_tokens": codes})
    elif form == "saved again":
        AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
        (folder / "sentencepiece.bpe.model").unlink()
        saved = json.loads((folder / "tokenizer.json").read_text())
        assert not {t["content"] for t in saved["added_tokens"]} & set(codes)
    return base


FORMS = ["listed", "not listed", "published tokenizer.json", "saved again"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_nllb_has_the_published_ids(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").mkdir()
    ours = load_tokenizer(nllb_form(tmp_path / "a", form))
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(train(tmp_path / "again.model", model_type="bpe"))
    )
    size = model.get_piece_size()
    # eng_Latn is 256,047 in the checkpoints: 256,000 pieces, moved by one, and 46 languages.
    for tag, code in (("en", "eng_Latn"), ("ko", "kor_Hang"), ("sq", "als_Latn")):
        assert ours.target_prefix(tag) == [size + 1 + FAIRSEQ_LANGUAGE_CODES.index(code)]
    assert len(ours.languages) > 190
    for text in ("The lazy fox", "금요일 7:30", "Der Hund jumps"):
        pieces = [{0: 3}.get(piece, piece + 1) for piece in model.encode(text)]
        assert ours.encode_source(text, "en")[1:] == [*pieces, 2]
        assert ours.decode(ours.encode_target(text, "ko")) == text


def test_the_order_of_nllbs_languages_is_that_of_its_ids() -> None:
    assert FLORES_200.split() == list(FAIRSEQ_LANGUAGE_CODES)


def test_a_table_without_rows_for_the_languages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    nllb_form(tmp_path / "a", "not listed")
    base = base_of(tmp_path / "a", "m2m_100", vocab_size=160)
    with pytest.raises(CorruptBaseError, match="160 rows, but its tokenizer's language tokens"):
        load_tokenizer(base)


# M2M-100 and its relatives


def m2m_folder(folder: Path, **settings: Any) -> Path:
    folder.mkdir()
    embedded = open_base().folder
    for name in ("vocab.json", "sentencepiece.bpe.model"):
        shutil.copy(embedded / name, folder / name)
    write(folder, "tokenizer_config.json", settings)
    return folder


def rows(folder: Path) -> int:
    return len(json.loads((folder / "vocab.json").read_text()))


def test_wmt21_has_its_own_list_of_languages(tmp_path: Path) -> None:
    folder = m2m_folder(tmp_path / "wmt", language_codes="wmt21")
    size = rows(folder)
    base = base_of(folder, "m2m_100", vocab_size=size + 16)
    ours = load_tokenizer(base)
    assert ours.languages == {"en", "ha", "is", "ja", "cs", "ru", "zh", "de"}
    for place, code in enumerate(WMT_21.split()):
        assert ours.target_prefix(code) == [size + place]
    with pytest.raises(LanguageError, match="no language 'ko'"):
        ours.target_prefix("ko")


@pytest.mark.parametrize(("settings", "said"), [
    ({"language_codes": "wmt99"}, "names the list of languages 'wmt99'; known are m2m100, wmt21"),
    ({}, "its token table has .* language_codes in tokenizer_config.json"),
])  # fmt: skip
def test_other_lists_are_refused(tmp_path: Path, settings: Any, said: str) -> None:
    folder = m2m_folder(tmp_path / "other", **settings)
    base = base_of(folder, "m2m_100", vocab_size=rows(folder) + 16)
    with pytest.raises(CorruptBaseError, match=said):
        load_tokenizer(base)


@pytest.mark.parametrize("sign", ["class", "auto_map", "script", "config", "name"])
def test_small100_is_refused_by_name(tmp_path: Path, sign: str) -> None:
    settings: dict[str, Any] = {"tokenizer_class": "M2M100Tokenizer"}
    config: dict[str, Any] = {}
    if sign == "class":
        settings["tokenizer_class"] = "SMALL100Tokenizer"
    elif sign == "auto_map":
        settings["auto_map"] = {"AutoTokenizer": ["tokenization_small100.SMALL100Tokenizer", None]}
    elif sign == "config":
        config["_name_or_path"] = "alirezamsh/small100"
    folder = m2m_folder(tmp_path / "base", **settings)
    if sign == "script":
        (folder / "tokenization_small100.py").write_text("")
    base_of(folder, "m2m_100", vocab_size=rows(folder) + 108, **config)
    name = "alirezamsh/small100" if sign == "name" else "base"
    with pytest.raises(BaseNotFoundError, match="SMaLL-100, which is not served"):
        load_tokenizer(Base(name=name, folder=folder))


# mBART


@pytest.mark.parametrize("named", ["", "MBartTokenizer", "MBart50TokenizerFast"])
def test_mbart50_is_known_by_its_table(tmp_path: Path, named: str) -> None:
    from transformers import MBart50Tokenizer

    train(tmp_path / "sentencepiece.bpe.model")
    theirs = MBart50Tokenizer.from_pretrained(tmp_path, src_lang="en_XX", tgt_lang="ko_KR")
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": named} if named else {})
    pieces = sentencepiece.SentencePieceProcessor(
        model_file=str(tmp_path / "sentencepiece.bpe.model")
    ).get_piece_size()
    base = base_of(tmp_path, "mbart", decoder_start_token_id=2, vocab_size=pieces + 54)
    ours = load_tokenizer(base)
    assert len(ours.languages) == 52
    for text in ("The lazy fox", "금요일 7:30"):
        assert ours.encode_source(text, "en", "ko") == theirs(text)["input_ids"]
        assert ours.target_prefix("ko") == [theirs.convert_tokens_to_ids("ko_KR")]
    # mBART's own table has rows for 25 languages, and then the class does not matter either.
    smaller = base_of(tmp_path, "mbart", decoder_start_token_id=2, vocab_size=pieces + 27)
    assert len(load_tokenizer(smaller).languages) == 25


# Marian


@pytest.mark.parametrize("name", ["Helsinki-NLP/opus-mt-en-de", "./opus-mt-tc-big-en-de",
                                  "Helsinki-NLP/opus-mt-en-de@main"])  # fmt: skip
def test_a_marian_that_says_its_pair_by_its_name_alone(tmp_path: Path, name: str) -> None:
    marian_folder(tmp_path, [])
    (tmp_path / "tokenizer_config.json").unlink()
    ours = load_tokenizer(Base(name=name, folder=tmp_path))
    assert ours.languages == {"en", "de"}
    assert ours.encode_source("The fox", "en", "de")
    with pytest.raises(LanguageError):
        ours.encode_source("Der Fuchs", "de", "en")


def test_a_marian_of_a_group_in_its_name_wants_languages(tmp_path: Path) -> None:
    marian_folder(tmp_path, [])
    base = Base(name="Helsinki-NLP/opus-mt-ROMANCE-en", folder=tmp_path)
    with pytest.raises(CorruptBaseError, match="say them once with --languages"):
        load_tokenizer(base)


def test_separate_vocabularies_are_refused(tmp_path: Path) -> None:
    base = marian_folder(tmp_path, [], source_lang="en", target_lang="de", separate_vocabs=True)
    with pytest.raises(CorruptBaseError, match="separate_vocabs"):
        load_tokenizer(base)


# Languages that a user says


@pytest.fixture
def fine_tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    """A T5 with weights, as somebody published a fine-tune of it."""
    monkeypatch.setenv("HUB_CACHE", str(tmp_path / "cache"))
    model = published_model("t5", vocab_size=200)
    folder = write_bin(tmp_path / "tuned", model, published_state(model, "t5"))
    train(folder / "spiece.model", **T5_PIECES)
    return open_base(str(folder))


def test_what_is_said_is_remembered_and_asked_for(fine_tune: Base) -> None:
    from transformers import T5Tokenizer

    theirs = T5Tokenizer.from_pretrained(fine_tune.folder)
    assert "ko" not in load_tokenizer(fine_tune).languages
    remember_languages(fine_tune, "en=English, kor=Korean")
    again = open_base(fine_tune.name)
    assert said_text(again) == "en=English,ko=Korean"
    ours = load_tokenizer(again)
    assert ours.languages == {"en", "ko"}
    for text in TEXTS[:2]:
        asked = theirs(f"translate English to Korean: {text}")["input_ids"]
        assert ours.encode_source(text, "en", "ko") == asked


def test_without_words_the_text_stands_alone(fine_tune: Base) -> None:
    from transformers import T5Tokenizer

    theirs = T5Tokenizer.from_pretrained(fine_tune.folder)
    remember_languages(fine_tune, "en,ko")
    ours = load_tokenizer(fine_tune)
    assert ours.encode_source("The fox", "en", "ko") == theirs("The fox")["input_ids"]
    remember_languages(fine_tune, "ko,en")  # the same again costs nothing
    with pytest.raises(SettingsError, match="Leave --languages out, or remove that first"):
        remember_languages(fine_tune, "en=English,ko=Korean")
    assert dict(said_languages(fine_tune)) == {"en": "", "ko": ""}


def test_a_token_of_the_vocabulary_can_ask(tmp_path: Path) -> None:
    train(tmp_path / "spiece.model", user_defined_symbols=["<ko>"], **T5_PIECES)
    base_of(tmp_path, "t5", task_specific_params=TASKS)
    write(tmp_path, "base.json", {"languages": {"ko": "<ko>"}})
    ours = load_tokenizer(Base("tiny", tmp_path))
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    assert ours.encode_source("fox", "ko", "ko")[0] == model.piece_to_id("<ko>")
    write(tmp_path, "base.json", {"languages": {"ko": "<nothing>"}})
    with pytest.raises(CorruptBaseError, match="no token '<nothing>'"):
        load_tokenizer(Base("tiny", tmp_path))


@pytest.mark.parametrize(
    "text", ["", "xx-unknown", "en,en_US", "en=English,de", "en=" + "x" * 81, "en=a\tb", ","]
)
def test_bad_lists_are_refused(text: str) -> None:
    with pytest.raises(HubError):
        parse_languages(text)


def test_damaged_memory_is_told(fine_tune: Base, tmp_path: Path) -> None:
    remember_languages(fine_tune, "en,ko")
    [path] = (tmp_path / "cache" / "languages").iterdir()
    path.write_text("en=?,=")
    with pytest.raises(CorruptBaseError, match="remove it and say --languages again"):
        said_languages(fine_tune)


def test_an_adapter_made_for_other_words_is_refused(fine_tune: Base) -> None:
    from hub.engine.engine import Engine
    from hub.registry.testing import example_manifest

    remember_languages(fine_tune, "en=English,ko=Korean")
    engine = Engine.load(fine_tune, quantization="float32", slots=1, max_rows=1)
    manifest = example_manifest(base_digest=fine_tune.digest)
    base = manifest.base.model_copy(update={"languages": "en,ko"})
    with pytest.raises(WrongBaseError, match="start with --languages en,ko"):
        engine.read_adapter(fine_tune.folder, manifest.model_copy(update={"base": base}))


def test_words_that_happen_to_be_pieces_are_words(fine_tune: Base) -> None:
    pieces = load_tokenizer(fine_tune).tokens.values()
    word, other = [piece for piece in pieces if piece.isalpha() and len(piece) > 1][:2]
    remember_languages(fine_tune, f"en={word},ko={other}")
    ours = load_tokenizer(fine_tune)
    asked = ours.encode_source("fox", "en", "ko")
    assert len(asked) > len(ours.encode_source("fox", "ko", "en")) - 3
    assert asked != load_tokenizer(open_base(fine_tune.name)).encode_source("dog", "en", "ko")
    plain = sentencepiece.SentencePieceProcessor(model_file=str(fine_tune.folder / "spiece.model"))
    assert asked[:-1] == plain.encode(f"translate {word} to {other}: fox")


def test_a_base_that_says_its_languages_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shutil import copytree

    from hub.bases.opening import embedded_folder

    monkeypatch.setenv("HUB_CACHE", str(tmp_path / "cache"))
    copytree(embedded_folder(), tmp_path / "m2m")
    (tmp_path / "m2m" / "base.json").unlink()
    base = open_base(str(tmp_path / "m2m"))
    with pytest.raises(SettingsError, match="says its languages itself"):
        remember_languages(base, "en,ko")
    assert said_text(base) == ""


def test_what_does_not_load_is_not_remembered(fine_tune: Base) -> None:
    with pytest.raises(CorruptBaseError, match=r"no token '<none>'.*words that its prompts use"):
        remember_languages(fine_tune, "en=<none>,ko=<neither>")
    assert not said_languages(fine_tune)
    remember_languages(fine_tune, "en=English,ko=Korean")


@pytest.fixture
def one_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Base:
    """A Marian of one pair whose files do not say which."""
    monkeypatch.setenv("HUB_CACHE", str(tmp_path / "cache"))
    model = published_model("marian")
    folder = write_bin(tmp_path / "marian", model, published_state(model, "marian"))
    marian_folder(folder, [])
    (folder / "tokenizer_config.json").unlink()
    write(folder, "config.json", model.config.to_diff_dict())
    return open_base(str(folder))


def test_a_marian_of_one_pair_is_told_its_direction(one_way: Base) -> None:
    with pytest.raises(CorruptBaseError, match=r"--languages en>fr"):
        load_tokenizer(one_way)
    with pytest.raises(CorruptBaseError, match=r"translates one way.*as en>fr"):
        remember_languages(one_way, "en,fr")
    remember_languages(one_way, "en>fr")
    assert said_text(one_way) == "en>fr"
    ours = load_tokenizer(one_way)
    assert ours.encode_source("The fox", "en", "fr")
    for source, target in (("fr", "en"), ("en", "en"), ("fr", "fr")):
        with pytest.raises(LanguageError):
            ours.encode_source("The fox", source, target)


@pytest.mark.parametrize("group", ["roa", "gmw", "zle", "fiu", "ine", "sla", "bat"])
def test_groups_of_languages_are_no_languages(tmp_path: Path, group: str) -> None:
    marian_folder(tmp_path, [])
    (tmp_path / "tokenizer_config.json").unlink()
    base = Base(name=f"Helsinki-NLP/opus-mt-{group}-en", folder=tmp_path)
    with pytest.raises(CorruptBaseError, match="say them once with --languages"):
        load_tokenizer(base)
    write(tmp_path, "base.json", {"languages": ["fr", "es", "en"]})
    ours = load_tokenizer(Base(name=base.name, folder=tmp_path))
    assert ours.encode_source("fox", "es", "en")
    with pytest.raises(LanguageError):
        ours.encode_source("fox", "en", "en")


def test_a_word_that_looks_like_a_byte_is_none(tmp_path: Path) -> None:
    base_of(tmp_path, "t5", task_specific_params=TASKS)
    train(tmp_path / "spiece.model", user_defined_symbols=["<0x41>"], **T5_PIECES)
    assert load_tokenizer(Base("a word", tmp_path)).byte_ids == {}


def test_a_vocabulary_that_was_cut_down_has_the_bytes_that_are_left(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    left = [f"<0x{byte:02X}>" for byte in range(0xF0)]
    vocabulary = {token: i for i, token in enumerate(["<pad>", "</s>", "<unk>", "a", *left])}
    for falls_back in (True, False):
        model = models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=falls_back)
        Tokenizer(model).save(str(tmp_path / "tokenizer.json"))
        base_of(tmp_path, "t5", task_specific_params=TASKS)
        found = load_tokenizer(Base("cut down", tmp_path)).byte_ids
        assert found == ({4 + byte: byte for byte in range(0xF0)} if falls_back else {})


# ByT5


def test_byt5_has_the_ids_of_transformers(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    theirs = ByT5Tokenizer()
    base_of(tmp_path, "t5", vocab_size=384)
    write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    write(tmp_path, "base.json", {"languages": ["en", "ko"]})
    ours = load_tokenizer(Base("tiny", tmp_path))
    assert len(ours.byte_ids) == 256
    for text in (*TEXTS[:2], "한국어 é"):
        assert ours.encode_source(text, "en", "ko") == theirs(text)["input_ids"]
        assert ours.encode_target(text, "ko") == theirs(text)["input_ids"]
        assert ours.decode(ours.encode_target(text, "ko")) == text
