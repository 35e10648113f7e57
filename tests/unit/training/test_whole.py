"""What no slot holds: full fine-tuning and cross-attention end in a base folder that opens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from hub.bases import Base, open_base
from hub.bases.tokenizer import BaseTokenizer, load_tokenizer
from hub.errors import (
    AdapterBindingError,
    EqualityGateError,
    IncompatibleAdapterError,
    SettingsError,
)
from hub.languages import LanguagePair
from training.defaults import Overrides
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder
from training.gates.equality import GateLine, check_equality
from training.loop.model import adapter_files, attach, count_trainable, load_base_model, trainable
from training.loop.precision import LiveLinear
from training.loop.progress import Silent
from training.methods.catalog import METHODS
from training.pipeline import train_adapter
from training.recipe import Recipe
from training.whole_weights import WholeDecoder, load_tuned, merged_files, tuned_files, unfreeze
from training.work import TrainRequest

WHOLE = ("full", "cross-attention")
QUICK = Overrides(
    train=80, dev=20, test=20, max_updates=6, evaluate_every=3, warmup=1, tokens_per_batch=256,
    dev_lines=4, precision="float32",
)  # fmt: skip


@pytest.fixture
def ask(tiny_base: Base, tmp_path: Path) -> Callable[..., TrainRequest]:
    def make(method: str, **changes: Any) -> TrainRequest:
        request = TrainRequest(
            pair="en-de",
            method=method,
            base=str(tiny_base.folder),
            overrides=QUICK,
            registry=str(tmp_path / "registry"),
            runs=tmp_path / "runs",
            force=True,
        )
        return replace(request, **changes)

    return make


def disturb(model: torch.nn.Module, scale: float) -> None:
    generator = torch.Generator().manual_seed(5)
    for parameter in trainable(model).values():
        parameter.data += scale * torch.randn(parameter.shape, generator=generator)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("method", WHOLE)
def test_training_ends_in_a_base_that_serves_and_publishes_nothing(
    ask: Callable[..., TrainRequest], tiny_base: Base, tmp_path: Path, method: str
) -> None:
    request = ask(method)
    outcome = train_adapter(request, Silent())
    assert outcome.version is None
    assert not (tmp_path / "registry").exists()
    assert outcome.base_folder is not None
    made = open_base(str(outcome.base_folder))
    assert made.digest != tiny_base.digest
    assert made.parameters == tiny_base.parameters
    assert load_tokenizer(made).languages == {"en", "de", "ko"}
    manifest = outcome.manifest
    dims = tiny_base.dimensions
    d = dims.d_model
    by_hand = {"full": dims.parameters, "cross-attention": 2 * (4 * d * d + 6 * d)}
    assert manifest.trainable_parameters == by_hand[method]
    before, after = (
        load_file(folder / "model.safetensors") for folder in (tiny_base.folder, made.folder)
    )
    moved = {name for name in after if not torch.equal(after[name], before[name].float())}
    assert after.keys() == before.keys()
    # Special rows of the embedding get gradients too, so a full run leaves nothing as it was.
    assert len(moved) == (len(after) if method == "full" else 2 * 10)
    assert all("encoder_attn" in name for name in moved) == (method == "cross-attention")
    config = json.loads((made.folder / "config.json").read_text())
    assert config["dtype"] == "float32"
    assert str(tmp_path) not in (made.folder / "base.json").read_text()
    model, report = AutoModelForSeq2SeqLM.from_pretrained(made.folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert {(s.metric, s.system) for s in manifest.scores} >= {("chrf++", "adapter")}
    assert model.lm_head.weight.data_ptr() == model.model.shared.weight.data_ptr()


def test_the_same_full_run_twice_gives_the_same_weights(
    ask: Callable[..., TrainRequest], tmp_path: Path
) -> None:
    first = train_adapter(ask("full"), Silent())
    again = train_adapter(ask("full", runs=tmp_path / "elsewhere"), Silent())
    files = [(one.folder / "model.safetensors").read_bytes() for one in (first, again)]
    assert files[0] == files[1]


@pytest.mark.parametrize("method", WHOLE)
def test_an_alias_is_refused_before_training(
    ask: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def must_not_run(work: Any) -> Any:
        raise AssertionError("training was started")

    monkeypatch.setattr("training.pipeline.adapted_model", must_not_run)
    with pytest.raises(SettingsError, match="not published"):
        train_adapter(ask(method, aliases=("prod",)), Silent())


@pytest.fixture
def lines(tokenizer: BaseTokenizer) -> list[GateLine]:
    prefix = tuple(tokenizer.target_prefix("de"))
    texts = ("2 hours ago", "Friday, October 3", "41%")
    return [GateLine(tuple(tokenizer.encode_source(text, "en")), prefix) for text in texts]


def test_the_gate_compares_the_merged_base_with_the_trained_model(
    tiny_base: Base,
    tokenizer: BaseTokenizer,
    lines: list[GateLine],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(method="cross-attention", size=0)
    model = attach(load_base_model(tiny_base, dropout=0.0), METHODS[recipe.method], recipe).eval()
    disturb(model, 0.1)
    adapter = write(tmp_path / "adapter", adapter_files(model, "tiny"))

    def as_base(folder: Path) -> Path:
        return write(tmp_path / "base", merged_files(tiny_base, folder, recipe))

    decoder = WholeDecoder(tiny_base, tokenizer, "float32", as_base)
    decoder.place(adapter)
    assert check_equality(model, decoder, lines).rows == 2 * len(lines)
    disturb(model, 0.3)
    with pytest.raises(EqualityGateError, match="adapter row"):
        check_equality(model, decoder, lines)


def test_the_gate_compares_a_tuned_base_with_the_trained_model(
    tiny_base: Base,
    tokenizer: BaseTokenizer,
    lines: list[GateLine],
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(method="full", size=0)
    model = unfreeze(load_base_model(tiny_base, dropout=0.0, frozen=False)).eval()
    assert count_trainable(model) == tiny_base.parameters
    disturb(model, 0.02)
    folder = write(tmp_path / "tuned", tuned_files(model, tiny_base, recipe))
    decoder = WholeDecoder(tiny_base, tokenizer, "float32", lambda found: found)
    decoder.place(folder)
    assert check_equality(model, decoder, lines, (ADAPTER_SLOT,)).rows == len(lines)
    pair, texts = LanguagePair.parse("en-de"), ["41%"]
    tuned, plain = (decoder.translate(pair, texts, slot) for slot in (ADAPTER_SLOT, BASE_SLOT))
    assert tuned != plain


def test_a_folder_that_does_not_fit_is_not_loaded(
    tiny_base: Base, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(method="full", size=0)
    model = load_base_model(tiny_base, dropout=0.0)
    folder = write(tmp_path / "tuned", tuned_files(model, tiny_base, recipe))
    tensors = load_file(folder / "model.safetensors")
    gone = sorted(tensors)[0]
    save_file({n: t for n, t in tensors.items() if n != gone}, folder / "model.safetensors")
    with pytest.raises(AdapterBindingError, match=gone):
        load_tuned(model, folder)


def test_an_adapter_that_is_no_change_of_weights_is_not_merged(
    tiny_base: Base, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe()
    model = attach(load_base_model(tiny_base, dropout=0.0), METHODS["bottleneck"], recipe)
    folder = write(tmp_path / "adapter", adapter_files(model, "tiny"))
    with pytest.raises(AdapterBindingError, match="bottleneck_"):
        merged_files(tiny_base, folder, recipe)


def test_a_slot_refuses_cross_attention(
    tiny_base: Base, tokenizer: BaseTokenizer, make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(method="cross-attention", size=0)
    model = attach(load_base_model(tiny_base, dropout=0.0), METHODS[recipe.method], recipe)
    folder = write(tmp_path / "adapter", adapter_files(model, "tiny"))
    with pytest.raises(IncompatibleAdapterError, match="CROSS_ATTENTION"):
        Decoder(tiny_base, tokenizer, "float32").place(folder)


def test_full_training_in_bfloat16_moves_the_float32_weights(tiny_base: Base) -> None:
    model = load_base_model(tiny_base, dropout=0.0, precision="bfloat16", frozen=False)
    unfreeze(model).train()
    ids = torch.tensor([[5, 9, 11, 2]])
    logits = model(input_ids=ids, decoder_input_ids=ids, use_cache=False).logits
    logits.float().square().mean().backward()
    linears = [module for module in model.modules() if isinstance(module, LiveLinear)]
    assert linears
    assert all(linear.weight.grad is not None for linear in linears)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
