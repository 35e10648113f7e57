"""What an adapter's outputs on its dev set look like, for the server to compare with."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from hub.bases import Base, open_base
from hub.bases.tokenizer import load_tokenizer
from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from training.corpora import load_corpus
from training.corpora.model import SentencePair
from training.evidence.decode import Decoder
from training.evidence.outputs import LEAST_LINES, LINES, output_record

PAIR = LanguagePair.parse("en-de")


class Decoded:
    """A decoder whose outputs are given: tokens, log-probability, whether it ended, source."""

    signature = "given"

    def __init__(self, *rows: tuple[int, float, bool, int]) -> None:
        self.rows, self.asked = rows, 0

    def outputs(self, pair: LanguagePair, sources: list[str]) -> list[tuple[Any, int]]:
        self.asked = len(sources)
        return [
            (
                SimpleNamespace(token_ids=(7,) * length, log_probability=total, finished=ended),
                source,
            )
            for length, total, ended, source in self.rows
        ]


def record(*rows: tuple[int, float, bool, int]) -> OutputRecord | None:
    dev = [SentencePair("a", "b", "", "")] * 3
    return output_record(Decoded(*rows), PAIR, dev)  # type: ignore[arg-type]


def test_mean_and_deviation_by_hand() -> None:
    rows = [(3, -4.0, True, 3), (3, -8.0, True, 6)] * 10  # means -1 and -2, ratios 1 and 1/2
    cut = (9, -0.1, False, 1)
    found = record(*rows, cut, (0, -1.0, True, 2))
    assert found is not None
    assert found.items == 20
    assert found.log_probability == -1.5
    assert found.log_probability_deviation == pytest.approx(math.sqrt(20 * 0.25 / 19), abs=1e-6)
    assert found.log_length_ratio == pytest.approx(math.log(0.5) / 2, abs=1e-6)
    assert found.signature == "given"


def test_few_outputs_say_nothing() -> None:
    rows = [(3, -4.0, True, 3)] * LEAST_LINES
    assert record(*rows) is not None
    assert record(*rows[1:], (3, -4.0, False, 3)) is None


def test_no_more_of_a_dev_set_is_decoded_than_needed() -> None:
    decoder = Decoded((3, -4.0, True, 3))
    output_record(decoder, PAIR, [SentencePair("a", "b", "", "")] * 1000)  # type: ignore[arg-type]
    assert decoder.asked == LINES


def write_adapter(folder: Path, base: Base) -> None:
    """Write a LoRA that changes nothing."""
    width, weights = base.dimensions.d_model, {}
    for layer in range(base.dimensions.decoder_layers):
        site = f"base_model.model.model.decoder.layers.{layer}.self_attn.v_proj"
        weights[f"{site}.lora_A.weight"] = np.ones((1, width), np.float32)
        weights[f"{site}.lora_B.weight"] = np.zeros((width, 1), np.float32)
    config = {
        "peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": 1, "lora_alpha": 1,
        "target_modules": r".*decoder.*self_attn\.v_proj", "bias": "none",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(weights, folder / "adapter_model.safetensors")


def test_the_engine_gives_what_is_summed_up(tmp_path: Path) -> None:
    base = open_base()
    tokenizer = load_tokenizer(base)
    decoder = Decoder(base, tokenizer)
    write_adapter(tmp_path, base)
    decoder.place(tmp_path)
    dev = load_corpus("cldr", PAIR, seed=1, train=0, dev=40, test=0).dev
    sources = [one.source for one in dev]
    made = decoder.outputs(PAIR, sources)
    assert [tokenizer.decode(one.token_ids) for one, _ in made] == decoder.translate(
        PAIR, sources, 1
    )
    assert [length for _, length in made] == [
        len(tokenizer.encode_source(text, "en", "de")) - 2  # the language and the end
        for text in sources
    ]
    found = output_record(decoder, PAIR, dev)
    assert found is not None
    assert found.log_probability < 0 < found.log_probability_deviation
    assert "int8" in found.signature
