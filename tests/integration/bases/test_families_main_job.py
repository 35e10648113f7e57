"""Every family as the Hub has it, by id: pull, train, publish, serve, translate."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES

from hub.bases import open_base
from hub.cli import run
from hub.client import Decoding, HubClient
from hub.settings import load_settings
from server.application import running

from ...support.hub_server import StandInHub
from ...support.published import published_model, published_state, write_bin

LINES = [
    *("Friday, October 3, 2008 at 7:30", "Der Hund schläft, die Katze nicht.") * 3,
    "translate English to German: good morning",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z ä ö ü ß 0 1 2 3 4 5 6 7 8 9",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z Ä Ö Ü . , : ; - – / ( ) % € $ ’ ' & +",
]
QUICK = (
    "--max-updates 5 --eval-every 5 --train 60 --dev 4 --test 6 --force "
    "--lr 0.05 --warmup 1 --schedule constant --rank 4"
)
T5_PIECES = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
TASKS = {"translation_en_to_de": {"prefix": "translate English to German: "}}
Files = dict[str, bytes]


def pieces(folder: Path, name: str, **options: Any) -> sentencepiece.SentencePieceProcessor:
    """Train a SentencePiece model, write it, and open it."""
    writer = io.BytesIO()
    settings: dict[str, Any] = {
        "vocab_size": 130, "model_type": "unigram", "hard_vocab_limit": False,
        "minloglevel": 2, "num_threads": 1,
    } | options  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=writer, **settings
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(writer.getvalue())
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / name))


def pickled(folder: Path, family: str, size: int, **config: Any) -> None:
    model = published_model(family, vocab_size=size, **config)
    write_bin(folder, model, published_state(model, family), config=config)


def nllb(folder: Path) -> None:
    """Pieces and a list of languages, no tokenizer.json."""
    model = pieces(folder, "sentencepiece.bpe.model", model_type="bpe")
    codes = list(FAIRSEQ_LANGUAGE_CODES)
    listed = json.dumps({"additional_special_tokens": codes})
    (folder / "special_tokens_map.json").write_text(listed, encoding="utf-8")
    pickled(folder, "m2m_100", model.get_piece_size() + 1 + len(codes) + 1)


def mbart(folder: Path) -> None:
    from hub.language_tables import MBART_50

    model = pieces(folder, "sentencepiece.bpe.model")
    named = json.dumps({"tokenizer_class": "MBart50Tokenizer"})
    (folder / "tokenizer_config.json").write_text(named, encoding="utf-8")
    size = model.get_piece_size() + 1 + len(MBART_50.split()) + 1
    pickled(folder, "mbart", size, decoder_start_token_id=2)


def marian(folder: Path) -> None:
    """Two models and one vocabulary over both; the padding is its last piece."""
    both = [pieces(folder, "source.spm"), pieces(folder, "target.spm", vocab_size=120)]
    found = [each.id_to_piece(i) for each in both for i in range(3, each.get_piece_size())]
    words = ["</s>", "<unk>", *dict.fromkeys(found), "<pad>"]
    ids = {word: index for index, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    sides = json.dumps({"source_lang": "en", "target_lang": "de"})
    (folder / "tokenizer_config.json").write_text(sides, encoding="utf-8")
    pad = ids["<pad>"]
    pickled(
        folder, "marian", len(words), pad_token_id=pad, decoder_start_token_id=pad,
        bad_words_ids=[[pad]],
    )  # fmt: skip


def t5(folder: Path) -> None:
    model = pieces(folder, "spiece.model", **T5_PIECES)
    pickled(folder, "t5", model.get_piece_size(), task_specific_params=TASKS)


def mt5(folder: Path) -> None:
    pickled(folder, "mt5", pieces(folder, "spiece.model", **T5_PIECES).get_piece_size())


def madlad(folder: Path) -> None:
    tokens = ["<2de>", "<2en>"]
    model = pieces(folder, "spiece.model", user_defined_symbols=tokens, **T5_PIECES)
    pickled(folder, "t5_gated", model.get_piece_size())


@pytest.mark.parametrize(
    "make",
    [
        marian,  # it translates in one direction alone, which the server's first look must respect
        *(pytest.param(each, marks=pytest.mark.slow) for each in (nllb, mbart, t5, mt5, madlad)),
    ],
)
def test_pull_train_publish_serve_translate(
    hugging_face: StandInHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
):
    name, registry = f"org/{make.__name__}", tmp_path / "registry"
    make(tmp_path / "published")
    files = {path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    assert "pytorch_model.bin" in files
    hugging_face.repository(name).commit(files)
    assert run(["bases", "pull", name]) == 0
    assert open_base(name).digest in capsys.readouterr().out
    where = ["--registry", str(registry), "--runs", str(tmp_path / "runs")]
    words = ["train", "--pair", "en-de", "--base", name, "--method", "lora", *QUICK.split()]
    assert run([*words, *where]) == 0, capsys.readouterr().err
    flags = {"base": name, "registry": str(registry), "port": 0, "metrics_port": 0, "threads": 1}
    with (
        running(load_settings(flags)) as application,
        HubClient(application.ports.grpc, timeout=60) as client,
    ):
        short = Decoding(max_output_tokens=8)
        texts = ["Friday, October 3", "good morning", "7:30"]
        adapted = client.translate(texts, "en", "de", adapter="en-de.lora", decoding=short)
        plain = client.translate(texts, "en", "de", decoding=short)
    assert [item.error for item in adapted.items] == [None] * len(texts)
    assert adapted.base_digest == open_base(name).digest
    assert [item.text for item in adapted.items] != [item.text for item in plain.items]
