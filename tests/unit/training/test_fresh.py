"""The equality gate reads the saved folder in another process, and every end of it is a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from hub.bases import Base
from hub.bases.tokenizer import BaseTokenizer
from hub.errors import EqualityGateError
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT
from training.gates.equality import DecodedRow, GateLine, compare_sides, end_of, trained_side
from training.gates.fresh_process import FreshCheck, check_in_fresh_process, ended_by
from training.loop.model import (
    WEIGHTS_FILE,
    adapter_files,
    attach,
    count_trainable,
    load_base_model,
    trainable,
)
from training.methods.catalog import method
from training.recipe import Recipe

TEXTS = ("2 hours ago", "Friday, October 3", "41%", "Croatia and Latvia")


@pytest.fixture
def check(
    tiny_base: Base,
    tokenizer: BaseTokenizer,
    make_recipe: Callable[..., Recipe],
    tmp_path: Path,
) -> FreshCheck:
    """What training hands over for an adapter that acts."""
    recipe = make_recipe()
    model = attach(load_base_model(tiny_base, dropout=0.0), method(recipe.method), recipe).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in trainable(model).values():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    folder = tmp_path / "adapter"
    folder.mkdir()
    for file, content in adapter_files(model, "tiny").items():
        (folder / file).write_bytes(content)
    prefix = tuple(tokenizer.target_prefix("de"))
    lines = [GateLine(tuple(tokenizer.encode_source(text, "en")), prefix) for text in TEXTS]
    trained = trained_side(model, lines, (ADAPTER_SLOT, BASE_SLOT), tokenizer.byte_ids)
    assert [row.tokens for row in trained[ADAPTER_SLOT]] != [
        row.tokens for row in trained[BASE_SLOT]
    ]
    return FreshCheck(
        base=tiny_base.folder,
        adapter=folder,
        own_base=None,
        manifest=manifest(tiny_base, count_trainable(model)),
        end=end_of(model),
        lines=lines,
        trained=trained,
    )


def manifest(base: Base, count: int) -> AdapterManifest:
    return AdapterManifest(
        pair="en-de",
        method="bottleneck",
        size=4,
        budget=None,
        trainable_parameters=count,
        base=BaseReference(name="tiny", digest=base.digest, parameters=base.dimensions.parameters),
        corpus=CorpusReference(
            name="cldr", fingerprint="sha256:1", licence="Unicode-3.0", train=9, dev=2, test=2
        ),
        recipe_digest="sha256:" + "0" * 64,
        seed=1,
    )


def change(check: FreshCheck, by: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    file = check.adapter / WEIGHTS_FILE
    save_file(by(load_file(file)), file, metadata={"format": "pt"})


def test_the_file_holds_all_of_it(check: FreshCheck) -> None:
    again = FreshCheck.from_json(check.to_json())
    assert again == replace(check, trained=again.trained)
    assert {slot: tuple(rows) for slot, rows in again.trained.items()} == {
        slot: tuple(rows) for slot, rows in check.trained.items()
    }


@pytest.mark.slow
@pytest.mark.fresh_process
def test_a_new_process_serves_what_was_trained_and_refuses_what_was_not(
    check: FreshCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    found = check_in_fresh_process(check)
    assert found.fresh
    assert found.rows == 2 * len(TEXTS)
    assert found.drift < 1e-4
    change(check, lambda tensors: {name: 0.5 * tensor for name, tensor in tensors.items()})
    with pytest.raises(EqualityGateError, match=r"adapter row \d+, token .*read anew from"):
        check_in_fresh_process(check)


def test_a_tensor_under_a_wrong_name_is_refused_by_name(check: FreshCheck) -> None:
    name = "base_model.model.model.decoder.layers.0.bottleneck_up.weight"

    def misname(tensors: dict[str, Any]) -> dict[str, Any]:
        return {key.replace("layers.0", "layers.9"): each for key, each in tensors.items()}

    assert name in load_file(check.adapter / WEIGHTS_FILE)
    change(check, misname)
    with pytest.raises(EqualityGateError, match=r"layers\.9.*read anew"):
        check_in_fresh_process(check)


def test_a_tensor_that_is_missing_is_refused(check: FreshCheck) -> None:
    gone = "base_model.model.model.decoder.layers.1.bottleneck_up.weight"
    change(check, lambda tensors: {key: each for key, each in tensors.items() if key != gone})
    with pytest.raises(EqualityGateError, match=r"layers\.1"):
        check_in_fresh_process(check)


def test_a_damaged_file_is_refused(check: FreshCheck) -> None:
    file = check.adapter / WEIGHTS_FILE
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(EqualityGateError, match="read anew"):
        check_in_fresh_process(check)


@pytest.mark.fresh_process
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -9 $$", "was ended by SIGKILL, as a machine short of memory does"),
        ("kill -SEGV $$", "was ended by SIGSEGV"),
        ("echo 'RuntimeError: no such thing' >&2; exit 3", "exit code 3: RuntimeError: no such"),
        ("exit 0", "ended without an answer"),
        ("exec sleep 60", "did not answer within 0.5 s"),
    ],
)
def test_a_process_that_ends_badly_is_a_refusal(
    check: FreshCheck, tmp_path: Path, script: str, said: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    with pytest.raises(EqualityGateError) as refused:
        check_in_fresh_process(check, python=str(python), seconds=0.5 if "sleep" in script else 60)
    assert said in refused.value.message
    assert str(check.adapter) in refused.value.message


@pytest.mark.fresh_process
def test_an_interpreter_that_is_not_there(check: FreshCheck, tmp_path: Path) -> None:
    with pytest.raises(EqualityGateError, match="could not be started"):
        check_in_fresh_process(check, python=str(tmp_path / "nothing"))


def test_how_processes_end() -> None:
    assert ended_by(1) == "ended with exit code 1"
    assert ended_by(-15) == "was ended by SIGTERM"


def row(tokens: tuple[int, ...], **changes: Any) -> DecodedRow:
    rivals = tuple(((token, 1.0), (9, 0.9995), (8, 0.5)) for token in (*tokens, 2))
    plain = DecodedRow(tokens, -1.0, True, rivals)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("served", "ties"), [((5, 6, 7), 0), ((5, 9, 1), 1), ((9,), 1), ((5, 6, 7, 9), 1)]
)
def test_rows_may_part_at_a_tie_alone(served: tuple[int, ...], ties: int) -> None:
    found = compare_sides({1: [row((5, 6, 7))]}, {1: [row(served)]}, end=2)
    assert (found.rows, found.ties) == (1, ties)


@pytest.mark.parametrize("served", [(5, 8, 7), (5, 4, 7), (5, 6), ()])
def test_rows_that_part_elsewhere_are_refused(served: tuple[int, ...]) -> None:
    with pytest.raises(EqualityGateError, match="adapter row 1, token"):
        compare_sides({1: [row((5, 6, 7))]}, {1: [row(served)]}, end=2)


def test_equal_tokens_of_another_model_are_refused() -> None:
    trained = {1: [row((5, 6, 7))]}
    close = compare_sides(trained, {1: [row((5, 6, 7), log_probability=-1.002)]}, end=2)
    assert close.drift == pytest.approx(0.0005)
    for value in (-1.1, float("nan")):
        with pytest.raises(EqualityGateError, match="log-probability is off"):
            compare_sides(trained, {1: [row((5, 6, 7), log_probability=value)]}, end=2)
