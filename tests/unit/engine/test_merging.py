"""Adapters merged into their base: what a slot computes, and what PEFT itself merges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from hub.bases import Base, open_base
from hub.bases.tokenizer import load_tokenizer
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.errors import IncompatibleAdapterError
from hub.registry.exchange.ctranslate2 import convert, vocabulary
from hub.registry.exchange.merging import merged_tensors
from tests.unit.bases.test_family_tokenizers import T5_PIECES, TASKS, marian_folder, train, write
from tests.unit.engine.kinds import peft_warnings_ignored

GREEDY = DecodingOptions(max_new_tokens=20)
MERGING = (2, 4, 5, 8, 9, 10, 11, 12, 13, 20, 21)
"""Slots of the zoo whose adapters are changes of weights."""


def merged_folder(base: Base, adapter: Path, folder: Path) -> Path:
    """A transformers folder of the base with the adapter merged in."""
    folder.mkdir()
    for path in base.folder.glob("*.json"):
        shutil.copy(path, folder / path.name)
    tensors = {name: each.contiguous() for name, each in merged_tensors(base, adapter).items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("slot", MERGING)
def test_a_merged_base_computes_what_the_slot_computes(
    lab: Any, zoo: Any, tmp_path: Path, slot: int
) -> None:
    adapter = zoo.folder(slot)
    merged = merged_folder(zoo.base, adapter, tmp_path / "merged")
    forced = lab.forced(8, seed=5, slots=(slot,))
    served = zoo.engine(lab, "float32").forced_logits(forced)
    plain = [DecodeRequest(r.key, r.source_ids, r.prefix_ids, 0, r.options) for r in forced]
    own = lab.engine(Base("merged", merged)).forced_logits(plain)
    without = lab.engine(zoo.base).forced_logits(plain)
    for one, other, base in zip(own, served, without, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-4)
        assert float((base - other).abs().max()) > 1e-2


@pytest.mark.parametrize("slot", [2, 4, 5, 8, 9, 21])
def test_weights_are_those_that_peft_merges(lab: Any, zoo: Any, slot: int) -> None:
    found = merged_tensors(zoo.base, zoo.folder(slot))
    import copy

    with peft_warnings_ignored():
        wrapped = PeftModel.from_pretrained(copy.deepcopy(zoo.model), zoo.folder(slot))
        expected = wrapped.merge_and_unload().state_dict()
    before = zoo.model.state_dict()
    changed = 0
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=1e-5)
        changed += not torch.equal(tensor, before[name])
    assert changed > 3


@pytest.mark.parametrize("slot", [1, 3, 14, 16, 19, 22])
def test_what_is_no_change_of_weights_is_refused(zoo: Any, slot: int) -> None:
    with pytest.raises(IncompatibleAdapterError, match=r"do not merge .* --to peft"):
        merged_tensors(zoo.base, zoo.folder(slot))


# CTranslate2


def sentence_pieces(folder: Path, name: str, **options: Any) -> int:
    import sentencepiece

    train(folder / name, **options)
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / name))
    return int(model.get_piece_size())


BART_LIKE = ("m2m_100", "mbart", "marian")


def translatable(lab: Any, family: str, tmp_path: Path) -> tuple[Base, Any]:
    """A random base of a family with the tokenizer files that its family has."""
    scratch = tmp_path / "tokenizer"
    scratch.mkdir()
    # CTranslate2 has one number of heads for both stacks.
    options: dict[str, Any] = {"decoder_attention_heads": 4} if family in BART_LIKE else {}
    if family == "m2m_100":
        for name in ("vocab.json", "sentencepiece.bpe.model"):
            shutil.copy(open_base().folder / name, scratch / name)
        options["vocab_size"] = len(json.loads((scratch / "vocab.json").read_text())) + 108
    elif family == "mbart":
        size = sentence_pieces(scratch, "sentencepiece.bpe.model")
        options["vocab_size"] = size + 54
    elif family == "marian":
        marian_folder(scratch, [], source_lang="en", target_lang="de")
        pad = json.loads((scratch / "vocab.json").read_text())["<pad>"]
        options |= {
            "vocab_size": pad + 1, "pad_token_id": pad, "decoder_start_token_id": pad,
            "eos_token_id": 0, "bad_words_ids": [[pad]], "forced_eos_token_id": 0,
        }  # fmt: skip
    else:
        options["vocab_size"] = sentence_pieces(scratch, "spiece.model", **T5_PIECES)
    model = lab.model(seed=3, family=family, **options)
    if family == "marian":
        with torch.no_grad():
            model.model.shared.weight[model.config.pad_token_id] = 0
    base = lab.base(model)
    (scratch / "config.json").unlink(missing_ok=True)
    for path in scratch.iterdir():
        shutil.copy(path, base.folder / path.name)
    if family == "t5":
        config = json.loads((base.folder / "config.json").read_text())
        write(base.folder, "config.json", config | {"task_specific_params": TASKS})
    return Base("random", base.folder), model


WORDS = ("The", "lazy", "fox", "jumps", "Friday")
TARGETS = {"t5": ["q", "v", "wo"], "mt5": ["q", "v", "wo"]}


def decoded_by_ctranslate2(
    folder: Path, requests: Sequence[DecodeRequest], names: Sequence[str]
) -> list[list[str]]:
    import ctranslate2

    translator: Any = ctranslate2.Translator(str(folder), device="cpu", inter_threads=1)
    found = translator.translate_batch(
        [[names[index] for index in one.source_ids] for one in requests],
        target_prefix=[[names[index] for index in one.prefix_ids] for one in requests],
        beam_size=1,
        max_decoding_length=GREEDY.max_new_tokens + 1,
        suppress_sequences=[],
    )
    return [
        one.hypotheses[0][len(request.prefix_ids) :]
        for one, request in zip(found, requests, strict=True)
    ]


def requests_of(base: Base, family: str) -> list[DecodeRequest]:
    """Sentences as the base's tokenizer encodes them, and as many of random pieces."""
    tokenizer = load_tokenizer(base)
    source, target = ("en", "ko") if family in ("m2m_100", "mbart", "mt5") else ("en", "de")
    return [
        DecodeRequest(
            key,
            tuple(tokenizer.encode_source(text, source, target)),
            tuple(tokenizer.target_prefix(target)),
            1,
            GREEDY,
        )
        for key, text in enumerate(" ".join(words) for words in permutations(WORDS, 3))
    ][:24]


FAMILIES = [(name, False) for name in (*BART_LIKE, "t5", "mt5")]
WITH_ROWS = [(name, True) for name in (*BART_LIKE, "t5")]


@pytest.mark.parametrize(("family", "rows"), [*FAMILIES, *WITH_ROWS])
def test_ctranslate2_gives_the_tokens_of_the_slot(
    lab: Any, tmp_path: Path, family: str, rows: bool
) -> None:
    base, model = translatable(lab, family, tmp_path)
    targets = TARGETS.get(family, ("q_proj", "v_proj", "fc2"))
    options = {"trainable_token_indices": list(range(20, 60))} if rows else {}
    adapter = lab.lora(model, 4, targets=targets, **options)
    merged = merged_folder(base, adapter, tmp_path / "merged")
    target = tmp_path / "ct2"
    target.mkdir()
    convert(merged, base, target, "float32")
    engine = lab.engine(base, tokenizer=NO_BYTES)
    engine.place(1, engine.read_adapter(adapter))
    requests = requests_of(base, family)
    names = vocabulary(base)
    served = [
        [names[index] for index in one.hypotheses[0].token_ids]
        for one in engine.translate(requests)
    ]
    assert len({tuple(one) for one in served}) > 3
    found = decoded_by_ctranslate2(target, requests, names)
    # Where one of the two meets the limit, they count the end differently.
    pairs = [(a, b) for a, b in zip(found, served, strict=True)]
    assert [a[:15] for a, _ in pairs] == [b[:15] for _, b in pairs]


class _NoBytes:
    byte_ids: dict[int, int] = {}  # noqa: RUF012


NO_BYTES = _NoBytes()


def test_a_marian_that_starts_otherwise_is_refused(lab: Any, tmp_path: Path) -> None:
    base, _ = translatable(lab, "marian", tmp_path)
    weights = load_file(base.folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("shared.weight"))
    weights[name][-1] = 1.0
    save_file(weights, base.folder / "model.safetensors", metadata={"format": "pt"})
    fresh = Base("random", base.folder)
    with pytest.raises(IncompatibleAdapterError, match="export with --to base"):
        convert(base.folder, fresh, tmp_path / "ct2", "float32")


def test_stacks_with_different_heads_are_refused(zoo: Any, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleAdapterError, match="4 heads in its encoder and 2 in its"):
        convert(zoo.base.folder, zoo.base, tmp_path, "float32")
