"""Ids of every family against transformers' own tokenizers, on tiny vocabularies made here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.errors import CorruptBaseError, LanguageError

LINES = [
    "The quick brown fox jumps over the lazy dog.",
    "Friday, October 3, 2008 at 7:30",
    "금요일 오후 세 시에 만나요",
    "Der Hund schläft, die Katze nicht.",
    "translate English to German: good morning",
    "La mer est belle et le ciel est bleu",
    "< > 2 k o e n _ / s pad",
] * 3
TEXTS = ["The lazy fox", "금요일 7:30", "Der Hund  jumps,   nicht", "", "鬱 unknown", "a"]
TYPED = "</s> <pad> eng_Latn en_XX >>kor<< <2ko> <s> <unk> <mask>"


def train(path: Path, **options: Any) -> Path:
    """Train a SentencePiece model on a few lines."""
    settings: dict[str, Any] = {
        "vocab_size": 150, "model_type": "unigram", "hard_vocab_limit": False,
        "minloglevel": 2, "num_threads": 1,
    } | options  # fmt: skip
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=writer, **settings
    )
    path.write_bytes(writer.getvalue())
    return path


def base_of(folder: Path, model_type: str, **config: Any) -> Base:
    """A folder with a config, enough for a tokenizer."""
    settings = {"model_type": model_type} | config
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return Base(name="tiny", folder=folder)


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def assert_typed_controls_are_text(
    ours: BaseTokenizer, theirs: Any, source: str, target: str
) -> None:
    """None of the control tokens that a user typed comes out as one."""
    controls = set(theirs.all_special_ids) - {theirs.unk_token_id}
    for typed in TYPED.split():
        plain = ours.encode_source("", source, target)
        ids = ours.encode_source(typed, source, target)
        assert len(ids) > len(plain)
        assert len(controls & set(ids)) == len(controls & set(plain)), typed
        assert sum(index in controls for index in ids) == sum(one in controls for one in plain)


@pytest.fixture
def nllb(tmp_path: Path) -> tuple[BaseTokenizer, Any]:
    from transformers import NllbTokenizer

    train(tmp_path / "sentencepiece.bpe.model", model_type="bpe")
    theirs = NllbTokenizer.from_pretrained(
        tmp_path,
        src_lang="eng_Latn",
        tgt_lang="kor_Hang",
        additional_special_tokens=list(FAIRSEQ_LANGUAGE_CODES),
    )
    (tmp_path / "sentencepiece.bpe.model").unlink()
    theirs.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    return load_tokenizer(base_of(tmp_path, "m2m_100", decoder_start_token_id=2)), theirs


@pytest.mark.parametrize("text", TEXTS)
def test_nllb_has_the_ids_of_transformers(nllb: Any, text: str) -> None:
    ours, theirs = nllb
    theirs.src_lang = "eng_Latn"
    assert ours.encode_source(text, "en") == theirs(text)["input_ids"]
    assert ours.encode_target(text, "ko") == theirs(text_target=text)["input_ids"]
    assert ours.target_prefix("ko") == [theirs.convert_tokens_to_ids("kor_Hang")]
    ids = ours.encode_target(text, "ko")
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True).strip()


def test_nllb_refuses_what_is_ambiguous(nllb: Any) -> None:
    ours, theirs = nllb
    assert_typed_controls_are_text(ours, theirs, "en", "ko")
    assert {"en", "ko", "zh-Hans", "zh-Hant", "nb", "sr-Cyrl"} <= ours.languages
    with pytest.raises(LanguageError, match=r"ambiguous.*zh-Hans, zh-Hant"):
        ours.target_prefix("zh")
    with pytest.raises(LanguageError, match="no language 'la'"):
        ours.target_prefix("la")
    assert ours.target_prefix("zh-TW") == [theirs.convert_tokens_to_ids("zho_Hant")]
    assert (ours.pad_id, ours.eos_id, ours.decoder_start_id) == (1, 2, 2)


def test_nllb_from_sentencepiece_and_listed_codes(tmp_path: Path) -> None:
    """Older folders: no tokenizer.json, the languages in special_tokens_map.json."""
    from transformers import NllbTokenizer

    train(tmp_path / "sentencepiece.bpe.model", model_type="bpe")
    base = base_of(tmp_path, "m2m_100")
    model = sentencepiece.SentencePieceProcessor(
        model_file=str(tmp_path / "sentencepiece.bpe.model")
    )
    size = model.get_piece_size()
    codes = list(FAIRSEQ_LANGUAGE_CODES)
    theirs = NllbTokenizer.from_pretrained(
        tmp_path, src_lang="eng_Latn", additional_special_tokens=codes
    )
    write(tmp_path, "special_tokens_map.json", {"additional_special_tokens": codes})
    ours = load_tokenizer(base)
    for text in ("The lazy fox", "금요일 7:30", "Der Hund jumps"):
        # transformers 5 puts <mask> before the languages here, the published ids have it behind:
        # eng_Latn is 256047 there, 256000 pieces + 1 + 46.
        assert ours.encode_source(text, "en")[1:] == theirs(text)["input_ids"][1:]
        assert ours.encode_source(text, "en")[0] == size + 1 + codes.index("eng_Latn")
        assert ours.decode(ours.encode_target(text, "ko")) == text


@pytest.fixture(params=["tokenizer.json", "sentencepiece.bpe.model"])
def mbart50(request: Any, tmp_path: Path) -> tuple[BaseTokenizer, Any]:
    from transformers import MBart50Tokenizer

    train(tmp_path / "sentencepiece.bpe.model")
    theirs = MBart50Tokenizer.from_pretrained(tmp_path, src_lang="en_XX", tgt_lang="ko_KR")
    if request.param == "tokenizer.json":
        (tmp_path / "sentencepiece.bpe.model").unlink()
        theirs.save_pretrained(tmp_path)
    else:
        write(tmp_path, "tokenizer_config.json", {"tokenizer_class": "MBart50Tokenizer"})
    return load_tokenizer(base_of(tmp_path, "mbart", decoder_start_token_id=2)), theirs


def test_mbart50_has_the_ids_of_transformers(mbart50: Any) -> None:
    ours, theirs = mbart50
    for text in ("The lazy fox", "금요일 7:30", "Der Hund jumps, nicht", "a"):
        assert ours.encode_source(text, "en") == theirs(text)["input_ids"]
        assert ours.encode_target(text, "ko") == theirs(text_target=text)["input_ids"]
        assert ours.target_prefix("ko") == [theirs.convert_tokens_to_ids("ko_KR")]
        ids = ours.encode_target(text, "ko")
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True).strip() == text
    assert_typed_controls_are_text(ours, theirs, "en", "ko")
    assert len(ours.languages) == 52
    with pytest.raises(LanguageError, match="no language 'eu'"):
        ours.target_prefix("eu")


def test_mbart_translates_into_the_language_it_starts_with(tmp_path: Path) -> None:
    from transformers import MBartTokenizer

    train(tmp_path / "sentencepiece.bpe.model")
    theirs = MBartTokenizer.from_pretrained(tmp_path, src_lang="en_XX", tgt_lang="ro_RO")
    (tmp_path / "sentencepiece.bpe.model").unlink()
    theirs.save_pretrained(tmp_path)
    romanian = theirs.convert_tokens_to_ids("ro_RO")
    ours = load_tokenizer(base_of(tmp_path, "mbart", decoder_start_token_id=romanian))
    assert ours.decoder_start_id == romanian
    assert len(ours.languages) == 25
    for text in TEXTS:
        assert ours.encode_source(text, "en", "ro") == theirs(text)["input_ids"]
        assert [*ours.encode_target(text, "ro"), romanian] == theirs(text_target=text)["input_ids"]
    assert ours.target_prefix("ro") == []
    with pytest.raises(LanguageError, match="for ro alone, not for 'ko'"):
        ours.encode_source("a", "en", "ko")
    assert_typed_controls_are_text(ours, theirs, "en", "ro")


def marian_folder(folder: Path, tokens: list[str], **settings: Any) -> Base:
    """A folder as OPUS-MT ships it: two models, and one vocabulary over both."""
    models = [train(folder / "source.spm"), train(folder / "target.spm", vocab_size=120)]
    pieces: list[str] = []
    for path in models:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        pieces += [model.id_to_piece(i) for i in range(3, model.get_piece_size())]
    words = ["</s>", "<unk>", *tokens, *dict.fromkeys(pieces), "<pad>"]
    write(folder, "vocab.json", {word: index for index, word in enumerate(words)})
    write(folder, "tokenizer_config.json", settings)
    return base_of(folder, "marian", decoder_start_token_id=len(words) - 1)


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_marian_of_one_pair_has_the_ids_of_transformers(tmp_path: Path) -> None:
    from transformers import MarianTokenizer

    base = marian_folder(tmp_path, [], source_lang="en", target_lang="de")
    ours, theirs = load_tokenizer(base), MarianTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert ours.encode_source(text, "en", "de") == theirs(text)["input_ids"]
        assert ours.encode_target(text, "de") == theirs(text_target=text)["input_ids"]
        ids = ours.encode_target(text, "de")
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.languages == {"en", "de"}
    assert ours.target_prefix("de") == []
    assert ours.decoder_start_id == ours.pad_id == theirs.pad_token_id
    for source, target in (("de", "en"), ("en", "ko")):
        with pytest.raises(LanguageError, match="no language"):
            ours.encode_source("a", source, target)
    assert_typed_controls_are_text(ours, theirs, "en", "de")


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_marian_of_many_targets_is_told_one(tmp_path: Path) -> None:
    from transformers import MarianTokenizer

    tokens = [">>kor<<", ">>deu<<", ">>cmn_Hans<<", ">>cmn_Hant<<", ">>fr<<", ">>fr_FR<<"]
    base = marian_folder(tmp_path, tokens, source_lang="eng", target_lang="mul")
    ours, theirs = load_tokenizer(base), MarianTokenizer.from_pretrained(tmp_path)
    for target, token in (("ko", ">>kor<<"), ("fr", ">>fr<<"), ("zh-TW", ">>cmn_Hant<<")):
        expected = theirs(f"{token}The lazy fox")["input_ids"]
        assert ours.encode_source("The lazy fox", "en", target) == expected
    assert ours.languages == {"en", "ko", "de", "zh-Hans", "zh-Hant", "fr"}
    with pytest.raises(LanguageError, match=r"ambiguous.*zh-Hans, zh-Hant"):
        ours.encode_source("a", "en", "zh")
    with pytest.raises(LanguageError, match="needs to know the target"):
        ours.encode_source("a", "en")
    typed = ours.encode_source(">>deu<< fox", "en", "ko")
    assert theirs.convert_tokens_to_ids(">>deu<<") not in typed


def test_marian_of_a_group_wants_a_record(tmp_path: Path) -> None:
    base = marian_folder(tmp_path, [], source_lang="ROMANCE", target_lang="en")
    with pytest.raises(CorruptBaseError, match="'ROMANCE', which names no language"):
        load_tokenizer(base)
    write(tmp_path, "base.json", {"languages": ["fr", "ro"]})
    ours = load_tokenizer(Base(name="tiny", folder=tmp_path))
    assert ours.languages == {"fr", "ro", "en"}


T5_PIECES: dict[str, Any] = {
    "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "pad_piece": "<pad>", "eos_piece": "</s>",
}  # fmt: skip
TASKS = {
    "translation_en_to_de": {"prefix": "translate English to German: "},
    "translation_en_to_fr": {"prefix": "translate English to French: "},
    "summarization": {"prefix": "summarize: "},
}


@pytest.fixture(params=["tokenizer.json", "spiece.model"])
def t5(request: Any, tmp_path: Path) -> tuple[Path, Any]:
    from transformers import T5Tokenizer

    train(tmp_path / "spiece.model", **T5_PIECES)
    theirs = T5Tokenizer.from_pretrained(tmp_path)
    if request.param == "tokenizer.json":
        (tmp_path / "spiece.model").unlink()
        theirs.save_pretrained(tmp_path)
    return tmp_path, theirs


def test_t5_asks_in_words(t5: Any) -> None:
    folder, theirs = t5
    ours = load_tokenizer(base_of(folder, "t5", task_specific_params=TASKS))
    assert ours.languages == {"en", "de", "fr"}
    for text in TEXTS:
        asked = theirs(f"translate English to German: {text}")["input_ids"]
        assert ours.encode_source(text, "en", "de") == asked
        assert ours.encode_target(text, "de") == theirs(text)["input_ids"]
        ids = ours.encode_target(text, "de")
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True).strip()
    other = theirs("translate French to English: La mer")["input_ids"]
    assert ours.encode_source("La mer", "fr", "en") == other
    assert (ours.pad_id, ours.eos_id, ours.decoder_start_id) == (0, 1, 0)
    with pytest.raises(LanguageError, match="no language 'ko'"):
        ours.encode_source("a", "en", "ko")
    assert_typed_controls_are_text(ours, theirs, "en", "de")


def test_mt5_asks_for_nothing(t5: Any) -> None:
    folder, theirs = t5
    ours = load_tokenizer(base_of(folder, "mt5"))
    assert {"en", "ko", "zh", "yo"} <= ours.languages
    for text in TEXTS:
        assert ours.encode_source(text, "en", "ko") == theirs(text)["input_ids"]
    write(folder, "base.json", {"languages": ["en", "ko"]})
    assert load_tokenizer(Base("tiny", folder)).languages == {"en", "ko"}


@pytest.mark.parametrize("file", ["tokenizer.json", "spiece.model"])
def test_madlad_puts_the_target_in_front(tmp_path: Path, file: str) -> None:
    from transformers import T5Tokenizer

    tokens = ["<2ko>", "<2de>", "<2zh>", "<2zh_Hant>", "<2ceb>"]
    train(tmp_path / "spiece.model", user_defined_symbols=tokens, **T5_PIECES)
    theirs = T5Tokenizer.from_pretrained(tmp_path, extra_ids=0)
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "spiece.model"))
    if file == "tokenizer.json":
        (tmp_path / "spiece.model").unlink()
        theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(base_of(tmp_path, "t5"))
    assert {"ko", "de", "zh", "zh-Hant", "ceb"} == ours.languages
    for text in ("The lazy fox", "Der Hund jumps", "7:30"):
        plain = model.encode(text)
        expected = [model.piece_to_id("<2ko>"), *plain, model.eos_id()]
        assert ours.encode_source(text, "de", "ko") == expected
        assert ours.encode_target(text, "ko") == [*plain, model.eos_id()]
        assert ours.decode([*expected, 0]) == text
    typed = ours.encode_source("<2de> fox", "de", "ko")
    assert model.piece_to_id("<2de>") not in typed
    assert ours.decode(typed) == "<2de> fox"
    assert_typed_controls_are_text(ours, theirs, "de", "ko")


FORMS = [
    "La\u00a0mer\n\t est\r\nbelle ",
    "\ufeffLa mer\u2003est bel\u00adle\u200e",
    "La mer\u200best belle",
]
COMPOSED, DECOMPOSED = "Der Hund schl\u00e4ft", "Der Hund schla\u0308ft"


def assert_one_form(ours: BaseTokenizer, source: str, target: str) -> None:
    """Ids are those of the plain text, on both sides."""
    for written in FORMS:
        plain = ours.encode_source("La mer est belle", source, target)
        assert ours.encode_source(written, source, target) == plain
    composed = ours.encode_source(COMPOSED, source, target)
    assert ours.encode_source(DECOMPOSED, source, target) == composed
    composed = ours.encode_target(COMPOSED, target)
    assert ours.encode_target(DECOMPOSED, target) == composed
    lines = ours.encode_target("La mer \r\n est", target)
    assert lines == ours.encode_target("La mer est", target)


@pytest.mark.parametrize("normalizer", ["identity", "nmt_nfkc"])
@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_every_family_has_one_form_of_texts(tmp_path: Path, normalizer: str) -> None:
    """The vocabularies have bytes: without the form, each blank would be another piece."""
    folders = [tmp_path / name for name in ("nllb", "mbart", "t5")]
    for folder in folders:
        folder.mkdir()
    options: dict[str, Any] = {
        "normalization_rule_name": normalizer, "byte_fallback": True, "vocab_size": 450,
        "model_type": "bpe",
    }  # fmt: skip
    first = train(folders[0] / "sentencepiece.bpe.model", **options)
    model = sentencepiece.SentencePieceProcessor(model_file=str(first))
    assert (model.encode(DECOMPOSED) == model.encode(COMPOSED)) == (normalizer == "nmt_nfkc")
    codes = list(FAIRSEQ_LANGUAGE_CODES)
    write(folders[0], "special_tokens_map.json", {"additional_special_tokens": codes})
    assert_one_form(load_tokenizer(base_of(folders[0], "m2m_100")), "fr", "de")
    train(folders[1] / "sentencepiece.bpe.model", **options)
    write(folders[1], "tokenizer_config.json", {"tokenizer_class": "MBart50Tokenizer"})
    assert_one_form(load_tokenizer(base_of(folders[1], "mbart")), "fr", "de")
    train(folders[2] / "spiece.model", **options, **T5_PIECES)
    tasks = base_of(folders[2], "t5", task_specific_params=TASKS)
    assert_one_form(load_tokenizer(tasks), "en", "de")


def test_marian_has_one_form_of_texts(tmp_path: Path) -> None:
    ours = load_tokenizer(marian_folder(tmp_path, [], source_lang="fr", target_lang="de"))
    assert_one_form(ours, "fr", "de")


def test_what_has_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptBaseError, match="'bart' has no tokenizer for translation"):
        load_tokenizer(base_of(tmp_path, "bart"))
    for family, files in (("t5", "spiece.model"), ("mbart", "sentencepiece.bpe.model")):
        with pytest.raises(CorruptBaseError, match=files):
            load_tokenizer(base_of(tmp_path, family))
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CorruptBaseError, match=r"tokenizer.json cannot be loaded"):
        load_tokenizer(base_of(tmp_path, "t5"))
