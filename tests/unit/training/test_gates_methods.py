"""The equality gate for every method a slot holds, on random models of several families."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.engine.testing import VOCABULARY, random_model
from hub.errors import EqualityGateError, IncompatibleAdapterError
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder
from training.gates.equality import GateLine, check_equality
from training.loop.model import (
    WEIGHTS_FILE,
    adapter_files,
    attach_config,
    load_base_model,
    quiet_libraries,
    trainable,
)
from training.methods.catalog import METHODS, method

Options = Mapping[str, str | bool | int]
SIZE = 3
PIECES = 40
PREFIXES: tuple[tuple[str, Options], ...] = (
    ("prefix", {}),
    ("prefix", {"attentions": "decoder"}),
    ("prefix", {"reparametrised": True}),
)
ON_T5: tuple[tuple[str, Options], ...] = (
    ("bottleneck", {}),
    ("bottleneck", {"placement": "sublayer"}),
    ("bottleneck", {"placement": "sublayer", "norm": False, "activation": "gelu"}),
    ("lora", {}),
    ("lora", {"targets": "attention", "rslora": True}),
    ("lora", {"targets": "all-linear"}),
    ("lora", {"targets": "all-linear", "dora": True}),
    ("norms", {}),
    ("norms", {"norm_train": "both"}),
    ("ia3", {}),
)
ROWS: Options = {"token_rows": 9}
ALONE: tuple[tuple[str, Options], ...] = (("tokens", {}),)
BESIDE: tuple[tuple[str, Options], ...] = (("lora", ROWS), ("bottleneck", ROWS), ("norms", ROWS))
EVERYWHERE = (*ON_T5, *PREFIXES, ("bitfit", {}), *BESIDE, ("prefix", ROWS))
VARIANTS = {
    "m2m_100": (*EVERYWHERE, *ALONE, ("bitfit", ROWS)),
    "mbart": (*EVERYWHERE, *ALONE),
    "marian": EVERYWHERE,
    "t5": (*ON_T5, *BESIDE, *ALONE),
    "t5_gated": ON_T5,
}
CASES = [
    pytest.param(family, name, options, id="-".join([family, name, *map(str, options.values())]))
    for family, variants in VARIANTS.items()
    for name, options in variants
]


@pytest.fixture(scope="module")
def base_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Base]:
    """Return a maker of random bases, one a family, with outputs that differ and end."""
    made: dict[str, Base] = {}

    def make(family: str) -> Base:
        if family not in made:
            folder = tmp_path_factory.mktemp(family)
            with quiet_libraries():
                model = random_model(family, 0, {})
                # A padding token that M2M-100 generates takes a position in the engine alone.
                model.generation_config.bad_words_ids = [[model.config.pad_token_id]]
                model.save_pretrained(folder)
            made[family] = Base(name=family, folder=folder)
        return made[family]

    return make


@pytest.fixture(scope="module")
def decoder_of(base_of: Callable[[str], Base]) -> Callable[[str], Decoder]:
    """Return a maker of float32 decoders; they are given ids, and spell nothing with bytes."""
    made: dict[str, Decoder] = {}
    tokenizer = cast(BaseTokenizer, SimpleNamespace(byte_ids={}))

    def make(family: str) -> Decoder:
        if family not in made:
            made[family] = Decoder(base_of(family), tokenizer, "float32")
        return made[family]

    return make


def lines() -> list[GateLine]:
    generator = torch.Generator().manual_seed(4)
    return [
        GateLine(tuple(torch.randint(5, VOCABULARY, (n,), generator=generator).tolist()), (n,))
        for n in (5, 17, 9, 30, 22, 13)
    ]


def changed(base: Base, name: str, options: Options, folder: Path) -> Any:
    """Return a model with an adapter that acts, its files left in a folder."""
    size = PIECES if name == "tokens" else SIZE if METHODS[name].size_name else 0
    with quiet_libraries():
        model = load_base_model(base, dropout=0.0)
        spec = method(name)
        rows = spec.rows(size, options)
        config = spec.build(size, options, base.family, tuple(range(2 * rows, 0, -2)))
        adapted = attach_config(model, config, seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    for parameter in trainable(adapted).values():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    for file, content in adapter_files(adapted, base.name).items():
        (folder / file).write_bytes(content)
    return adapted


def weaken(folder: Path) -> None:
    """Leave an adapter in the folder that is half of the one that was trained."""
    file = folder / WEIGHTS_FILE
    save_file({name: 0.5 * tensor for name, tensor in load_file(file).items()}, file)


def served(decoder: Decoder, slot: int) -> list[tuple[int, ...]]:
    options = DecodingOptions(max_new_tokens=20)
    return decoder.decode(
        [
            DecodeRequest(n, line.source, line.prefix, slot, options)
            for n, line in enumerate(lines())
        ]
    )


@pytest.mark.parametrize(("family", "name", "options"), CASES)
def test_engine_and_training_model_agree(
    base_of: Callable[[str], Base],
    decoder_of: Callable[[str], Decoder],
    tmp_path: Path,
    family: str,
    name: str,
    options: Options,
) -> None:
    model = changed(base_of(family), name, options, tmp_path)
    decoder = decoder_of(family)
    decoder.place(tmp_path)
    assert served(decoder, ADAPTER_SLOT) != served(decoder, BASE_SLOT)
    found = check_equality(model, decoder, lines())
    assert found.rows == 2 * len(lines())
    assert found.tokens > 20 * found.rows
    assert found.ties <= 1
    weaken(tmp_path)
    decoder.place(tmp_path)
    with pytest.raises(EqualityGateError, match="adapter row"):
        check_equality(model, decoder, lines())


@pytest.mark.parametrize(("name", "options"), PREFIXES)
def test_prefixes_on_t5_are_refused_by_name(
    base_of: Callable[[str], Base],
    decoder_of: Callable[[str], Decoder],
    tmp_path: Path,
    name: str,
    options: Options,
) -> None:
    changed(base_of("t5"), name, options, tmp_path)
    with pytest.raises(IncompatibleAdapterError, match="prefixes are not served on t5"):
        decoder_of("t5").place(tmp_path)


@pytest.mark.parametrize("family", VARIANTS)
def test_dropout_acts_on_layers_and_never_on_attention(
    base_of: Callable[[str], Base], family: str
) -> None:
    model = load_base_model(base_of(family), dropout=0.25)
    rates: dict[bool, set[float]] = {True: set(), False: set()}
    for module in model.modules():
        rate = getattr(module, "dropout", None)
        attends = hasattr(module, "k_proj") or hasattr(module, "k")
        if rate is not None:
            rates[attends].add(rate.p if isinstance(rate, torch.nn.Dropout) else rate)
    assert rates == {True: {0.0}, False: {0.25}}


def test_every_method_of_slots_is_compared() -> None:
    of_slots = {name for name, spec in METHODS.items() if spec.in_slots}
    assert {name for name, _ in (*EVERYWHERE, *ALONE)} == of_slots
