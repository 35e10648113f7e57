"""The whole way on a base of another family, a random mT5 with a vocabulary made here."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import sentencepiece

from hub.engine.testing import random_model
from hub.errors import IncompatibleAdapterError
from training.defaults import Overrides
from training.loop.model import quiet_libraries
from training.loop.progress import Silent
from training.pipeline import train_adapter
from training.work import TrainRequest

LINES = [
    *("Friday, October 3, 2008 at 7:30", "Der Hund schläft, die Katze nicht.") * 3,
    # Every character that a German date, number or name may have, so that nothing is unspelt.
    "a b c d e f g h i j k l m n o p q r s t u v w x y z ä ö ü ß 0 1 2 3 4 5 6 7 8 9",
    "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z Ä Ö Ü . , : ; - – / ( ) % € $ ’ ' & +",
]
QUICK = Overrides(
    train=60, dev=16, test=16, max_updates=4, evaluate_every=2, warmup=1, tokens_per_batch=256,
    dev_lines=4, precision="float32",
)  # fmt: skip


@pytest.fixture(scope="module")
def mt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder that has English and German."""
    folder = tmp_path_factory.mktemp("mt5")
    pieces = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=pieces, vocab_size=110, model_type="unigram",
        hard_vocab_limit=False, minloglevel=2, num_threads=1, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1,
    )  # fmt: skip
    with quiet_libraries():
        random_model("mt5", 0, {}).save_pretrained(folder)
    (folder / "spiece.model").write_bytes(pieces.getvalue())
    (folder / "base.json").write_text(json.dumps({"languages": ["en", "de"]}))
    return folder


def request(base: Path, tmp_path: Path, method: str, size: int) -> TrainRequest:
    return TrainRequest(
        pair="en-de",
        method=method,
        size=size,
        base=str(base),
        overrides=QUICK,
        registry=str(tmp_path / "registry"),
        runs=tmp_path / "runs",
        force=True,
    )


@pytest.mark.parametrize(
    ("method", "size", "precision"), [("bottleneck", 4, "float32"), ("lora", 2, "bfloat16")]
)
def test_trains_and_publishes(
    mt5: Path, tmp_path: Path, method: str, size: int, precision: str
) -> None:
    asked = request(mt5, tmp_path, method, size)
    asked = replace(asked, overrides=replace(QUICK, precision=precision))
    outcome = train_adapter(asked, Silent())
    assert outcome.version is not None
    assert outcome.training.steps == 4
    assert outcome.equality.rows == 32


def test_what_the_engine_refuses_is_refused_before_training(mt5: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleAdapterError, match="prefixes are not served on mt5"):
        train_adapter(request(mt5, tmp_path, "prefix", 3), Silent())
    assert not list((tmp_path / "runs").rglob("log.jsonl"))
