"""Adapters that leave: PEFT alone loads them, the Hub takes them, bases merge, LoRAs combine."""

from __future__ import annotations

import copy
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from hub.bases import Base, open_base
from hub.cli import run
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.errors import HubError, InputError, StorageFullError, WrongBaseError
from hub.manifest import CorpusReference, ScoreRecord, SourceRecord
from hub.registry import AdapterVersion, Registry
from hub.registry.exchange.combining import parse_parents
from hub.registry.exchange.merging import merged_tensors
from hub.registry.exchange.outgoing import Outgoing, export
from tests.support.hub_server import TOKEN
from tests.support.hub_uploads import WritableHub

from .conftest import Make, Take, lora


@pytest.fixture
def published(make: Make, take: Take) -> AdapterVersion:
    return take(make(lora(), name="first"), name="one").version


@pytest.fixture
def leaving(published: AdapterVersion, registry: Registry, base: Base) -> Callable[..., Outgoing]:
    def outgoing(**changes: Any) -> Outgoing:
        manifest = published.manifest.model_copy(update=changes)
        folder = registry.folder(published)
        return Outgoing(published.ref, published.digest, manifest, folder, base)

    return outgoing


PEFT_ALONE = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM
base, adapter, source = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = AutoModelForSeq2SeqLM.from_pretrained(base)
plain = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[2, 5, 9]])).logits
model = PeftModel.from_pretrained(model, adapter).eval()
found = model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([[2, 5, 9]])).logits
assert not [name for name in sys.modules if name.split(".")[0] in ("hub", "training", "server")]
print(json.dumps([found[0].tolist(), (found - plain).abs().max().item()]))
"""


@pytest.mark.parametrize("layout", ["peft", "hf"])
def test_peft_alone_loads_what_is_exported(
    leaving: Callable[..., Outgoing], base: Base, tmp_path: Path, layout: Any
) -> None:
    out = tmp_path / "out"
    assert export(leaving(), layout, out) == ""
    assert (out / "hub.json").exists() == (layout == "peft")
    source = [7, 20, 30, 41, 2]
    found = subprocess.run(
        [sys.executable, "-c", PEFT_ALONE, base.folder, out, json.dumps(source)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    logits, changed = json.loads(found.stdout.splitlines()[-1])
    assert changed > 1e-3
    engine = Engine.load(base, quantization="float32", slots=1, max_rows=2)
    engine.place(1, engine.read_adapter(out))
    request = DecodeRequest(0, tuple(source), (5, 9), 1, DecodingOptions(max_new_tokens=1))
    [own] = engine.forced_logits([request])
    torch.testing.assert_close(own, torch.tensor(logits), atol=1e-4, rtol=1e-4)


def test_the_card_is_what_the_hub_reads(leaving: Callable[..., Outgoing], tmp_path: Path) -> None:
    scores = tuple(
        ScoreRecord(metric="chrf++", system=system, value=value, signature="s|v", items=9)
        for system, value in (("base", 20.0), ("adapter", 31.5))
    )
    out = tmp_path / "out"
    export(leaving(scores=scores), "hf", out)
    card = ModelCard.load(out / "README.md")
    data = card.data
    assert data.library_name == "peft"
    assert data.base_model == "tiny-m2m"
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert data.pipeline_tag == "translation"
    assert data.language == ["en", "ko"]
    assert data.license == "cc-by-nc-4.0"
    [result] = data.eval_results
    assert (result.task_type, result.metric_type, result.metric_value) == (
        "translation", "chrf", 31.5,
    )  # fmt: skip
    assert "no commercial use" in card.text


def test_a_method_of_ours_says_what_loads_it(
    leaving: Callable[..., Outgoing], tmp_path: Path, published: AdapterVersion, registry: Registry
) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    for path in registry.folder(published).iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text()) | {"peft_type": "BOTTLENECK"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    one = leaving()
    ours = Outgoing(one.ref, one.digest, one.manifest, folder, one.base)
    assert "import training.methods.bottleneck" in export(ours, "peft", tmp_path / "out")
    assert "import training.methods.bottleneck" in (tmp_path / "out" / "README.md").read_text()


def test_a_merged_base_is_a_base(
    leaving: Callable[..., Outgoing], base: Base, tmp_path: Path, registry: Registry
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    one = leaving()
    export(one, "base", tmp_path / "out")
    merged = open_base(str(tmp_path / "out"))
    assert merged.digest != base.digest
    assert merged.licence == base.licence
    assert merged.record["languages"] == base.record["languages"]
    assert merged.record["made_from"]["adapter"] == one.ref
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    expected = merged_tensors(base, one.folder)
    for name, tensor in model.state_dict().items():
        if name in expected:
            assert torch.equal(tensor, expected[name]), name
    options = DecodingOptions(max_new_tokens=12)
    sources = [(7, 20, 30 + n, 41, 2) for n in range(6)]
    slot = Engine.load(base, quantization="float32", slots=1, max_rows=8)
    slot.place(1, slot.read_adapter(one.folder))
    plain = Engine.load(merged, quantization="float32", slots=1, max_rows=8)
    with_slot = [DecodeRequest(n, source, (), 1, options) for n, source in enumerate(sources)]
    alone = [DecodeRequest(n, source, (), 0, options) for n, source in enumerate(sources)]
    own = [f.hypotheses[0].token_ids for f in plain.translate(alone)]
    assert own == [f.hypotheses[0].token_ids for f in slot.translate(with_slot)]
    assert own != [f.hypotheses[0].token_ids for f in slot.translate(alone)]


def test_nothing_is_overwritten_or_left_half_written(
    leaving: Callable[..., Outgoing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export(leaving(), "peft", full)
    with pytest.raises(InputError, match="quantization 'int4' is unknown"):
        export(leaving(), "ctranslate2", tmp_path / "x", "int4")

    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for failing, error in ((no_room, StorageFullError), (interrupted, KeyboardInterrupt)):
        monkeypatch.setattr("shutil.copyfile", failing)
        with pytest.raises(error):
            export(leaving(), "base", tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == []


def test_targets_that_cannot_be_are_told(
    leaving: Callable[..., Outgoing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / ("n" * 300), Path("a\0b"), tmp_path / "file" / "out"):
        with pytest.raises(InputError, match="cannot be made"):
            export(leaving(), "peft", target)

    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("shutil.copyfile", denied)
    with pytest.raises(InputError, match="Permission denied"):
        export(leaving(), "peft", tmp_path / "out")


@pytest.mark.parametrize("layout", ["peft", "hf", "base", "ctranslate2"])
def test_another_base_or_other_languages_are_refused(
    leaving: Callable[..., Outgoing], tmp_path: Path, layout: Any
) -> None:
    own = leaving().manifest.base
    for changed, told in (
        (own.model_copy(update={"digest": "sha256:" + "0" * 64}), "name its base with --base"),
        (own.model_copy(update={"languages": "en,ko"}), "made for 'en,ko'"),
    ):
        with pytest.raises(WrongBaseError, match=told):
            export(leaving(base=changed), layout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_only_datasets_of_the_hub_are_claimed(
    leaving: Callable[..., Outgoing], tmp_path: Path
) -> None:
    def source(name: str, form: str) -> SourceRecord:
        return SourceRecord(
            name=name, format=form, weight=1, digest="sha256:" + "1" * 64, read=9, kept=9
        )

    corpus = CorpusReference(
        name="a.tsv/b", fingerprint="f", licence="x", train=9, dev=1, test=1,
        sources=(source("folder/data.tsv", "tsv"), source("org/pairs", "hf"),
                 source("/home/me/saved", "hf")),
    )  # fmt: skip
    export(leaving(corpus=corpus), "hf", tmp_path / "out")
    assert ModelCard.load(tmp_path / "out" / "README.md").data.datasets == ["org/pairs"]


# Pushing


@pytest.fixture
def writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WritableHub]:
    with WritableHub() as hub:
        for name, value in {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1,localhost",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield hub


def pushed(registry: Registry, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Push in a process of its own: the client reads its environment once."""
    command = ["adapters", "export", "one", "--to", "hf", "--out", str(out), *more]
    return subprocess.run(
        [sys.executable, "-m", "hub", *command, "--registry", str(registry.root)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_an_adapter_is_pushed_in_one_commit(
    published: AdapterVersion, registry: Registry, writable: WritableHub, tmp_path: Path
) -> None:
    done = pushed(registry, tmp_path / "out", "--push", "org/adapter", "--private")
    assert done.returncode == 0, done.stderr
    repository = writable.repositories["org/adapter"]
    assert len(writable.commits) == 1
    assert published.ref in writable.commits[0]
    files = repository.commits[repository.refs["main"]]
    assert set(files) == {
        ".gitattributes", "README.md", "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    own = (registry.folder(published) / "adapter_model.safetensors").read_bytes()
    assert files["adapter_model.safetensors"] == own
    again = pushed(registry, tmp_path / "again", "--push", "org/adapter")
    assert again.returncode == 0, again.stderr  # the repository is there, and takes a commit


@pytest.mark.parametrize(
    ("prepare", "said", "code"),
    [
        (lambda hub, env: env.setenv("HF_TOKEN", "hf_wrong"), "hf auth login", 77),
        (lambda hub, env: setattr(hub, "writable", False), "hf auth login", 77),
        (lambda hub, env: env.setenv("HF_HUB_OFFLINE", "1"), "HF_HUB_OFFLINE", 69),
    ],
)
def test_a_push_that_is_refused_says_what_to_do(
    published: AdapterVersion, registry: Registry, writable: WritableHub, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, prepare: Any, said: str, code: int,
) -> None:  # fmt: skip
    prepare(writable, monkeypatch)
    done = pushed(registry, tmp_path / "out", "--push", "org/adapter")
    assert said in done.stderr
    assert done.returncode == code
    assert writable.commits == []
    assert not (tmp_path / "out").exists()  # so that the same command can be run again


def test_a_hub_out_of_reach_is_told(
    published: AdapterVersion, registry: Registry, writable: WritableHub, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    done = pushed(registry, tmp_path / "out", "--push", "org/adapter")
    assert done.returncode == 69, done.stderr
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["adapter", "../up/down", "a/b/c", "org/..", "org/a b"])
def test_bad_repositories_are_refused_before_anything_is_written(
    published: AdapterVersion, registry: Registry, tmp_path: Path, name: str
) -> None:
    words = ["adapters", "export", "one", "--to", "hf", "--out", str(tmp_path / "out")]
    assert run([*words, "--push", name, "--registry", str(registry.root)]) == 64
    assert not (tmp_path / "out").exists()


# Merging LoRAs


def merged(registry: Registry, base: Base, *words: str) -> int:
    return run(["adapters", "merge", *words, "--base", base.name, "--registry", str(registry.root)])


def test_a_sum_is_the_sum_of_the_changes(
    make: Make, take: Take, registry: Registry, base: Base
) -> None:
    take(make(lora(), name="first"), name="one")
    take(make(lora(r=3, lora_alpha=5), name="second", by=0.5), name="two")
    assert merged(registry, base, "one=0.7", "two=-0.3", "--name", "both", "--alias", "prod") == 0
    version = registry.resolve("both@prod")
    parts = {name: registry.folder(registry.resolve(name)) for name in ("one", "two")}
    plain = load_file(base.folder / "model.safetensors")
    whole = merged_tensors(base, registry.folder(version))
    changes = {name: merged_tensors(base, folder) for name, folder in parts.items()}
    moved = 0
    for name, tensor in whole.items():
        own = plain[name]
        expected = own + 0.7 * (changes["one"][name] - own) - 0.3 * (changes["two"][name] - own)
        torch.testing.assert_close(tensor, expected, atol=1e-5, rtol=1e-4)
        moved += not torch.equal(tensor, own)
    assert moved > 3
    origin = version.manifest.origin
    assert origin is not None
    assert [(p.ref, p.weight) for p in origin.parents] == [("one:1", 0.7), ("two:1", -0.3)]
    assert (version.manifest.method, version.manifest.size) == ("lora", 7)
    assert version.manifest.scores == ()


UNEQUAL = (
    (lora(use_rslora=True), lora(target_modules=["k_proj", "fc2"])),
    (lora(layers_to_transform=[0]), lora(r=4, target_modules=["fc1"])),
    (lora(exclude_modules=["fc1"]), lora(target_modules=["fc1", "q_proj"])),
    (lora(rank_pattern={"fc1": 9}, alpha_pattern={"v_proj": 3}), lora(target_modules="model.*fc1")),
    (lora(target_modules=r".*decoder.*q_proj"), lora(use_rslora=True, r=2)),
)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("configs", UNEQUAL)
def test_rules_of_one_parent_are_not_the_others(
    make: Make, take: Take, registry: Registry, base: Base, configs: Any, order: tuple[int, int]
) -> None:
    names = ("first", "second")
    for index, name in enumerate(names):
        take(make(copy.deepcopy(configs[index]), name=name, by=0.3 + 0.2 * index), name=name)
    words = [f"{names[index]}={0.6 - 0.2 * index}" for index in order]
    assert merged(registry, base, *words, "--name", "both") == 0
    plain = load_file(base.folder / "model.safetensors")
    whole = merged_tensors(base, registry.folder(registry.resolve("both")))
    changes = [merged_tensors(base, registry.folder(registry.resolve(name))) for name in names]
    for name, tensor in whole.items():
        own = plain[name]
        expected = own + 0.6 * (changes[0][name] - own) + 0.4 * (changes[1][name] - own)
        torch.testing.assert_close(tensor, expected, atol=1e-5, rtol=1e-4)
    ranks = {name: registry.resolve(name).manifest.size for name in (*names, "both")}
    assert ranks["both"] >= max(ranks["first"], ranks["second"])


def test_linear_is_peft_s_whatever_the_first_parent_says_of_layers(
    make: Make, take: Take, registry: Registry, base: Base, model: Any
) -> None:
    """By hand: A is the sum of `sqrt(weight * alpha / r)` A, and B likewise, module by module."""
    take(make(lora(layers_to_transform=[0], lora_alpha=6), name="first"), name="first")
    take(make(lora(lora_alpha=10), name="second", by=0.5), name="second")
    words = ["first=0.5", "second=0.25", "--method", "linear"]
    assert merged(registry, base, *words, "--name", "both") == 0
    folders = {
        name: registry.folder(registry.resolve(name)) for name in ("first", "second", "both")
    }
    tensors = {name: load_file(f / "adapter_model.safetensors") for name, f in folders.items()}
    factors = {"first": (0.5 * 6 / 4) ** 0.5, "second": (0.25 * 10 / 4) ** 0.5}
    for name, found in tensors["both"].items():
        parts = [factors[one] * tensors[one][name] for one in factors if name in tensors[one]]
        torch.testing.assert_close(found, sum(parts), atol=1e-6, rtol=1e-5)
    assert any("layers.1." in name for name in tensors["both"])


def test_linear_keeps_the_rank_and_is_another_adapter(
    make: Make, take: Take, registry: Registry, base: Base
) -> None:
    take(make(lora(), name="first"), name="one")
    take(make(lora(), name="second", by=0.5), name="two")
    assert merged(registry, base, "one=0.5", "two=0.5", "--name", "sum") == 0
    assert merged(registry, base, "one=0.5", "two=0.5", "--name", "lin", "--method", "linear") == 0
    found = {name: registry.resolve(name) for name in ("sum", "lin")}
    assert (found["sum"].manifest.size, found["lin"].manifest.size) == (8, 4)
    tensors = [merged_tensors(base, registry.folder(each)) for each in found.values()]
    assert any(not torch.allclose(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.parametrize(
    "words",
    [["one=1"], ["one=1", "one=1"], ["one=nan", "two=1"], ["one=1e9", "two=1"], ["one=0", "two=1"],
     ["one", "two=1"], ["=1", "two=1"]],
)  # fmt: skip
def test_bad_weights_are_refused(words: list[str], published: AdapterVersion) -> None:
    if len(words) == 2 and words[0] == words[1]:
        assert len(parse_parents(words)) == 2  # told when both are resolved
        return
    with pytest.raises(HubError):
        parse_parents(words)


def test_what_does_not_combine_is_refused(
    make: Make, take: Take, registry: Registry, base: Base, capsys: pytest.CaptureFixture[str]
) -> None:
    from peft import IA3Config

    take(make(lora(), name="first"), name="one")
    take(make(lora(use_dora=True), name="second", by=0.5), name="dora")
    take(make(lora(bias="lora_only"), name="fourth"), name="biased")
    take(make(lora(r=3), name="fifth"), name="narrow")
    ia3 = IA3Config(task_type="SEQ_2_SEQ_LM", target_modules=["k_proj"], feedforward_modules=[])
    take(make(ia3, name="third"), name="ia3")
    for words, said in (
        (["one=1", "one=1"], "named twice"),
        (["one=1", "dora=1"], "of kind DoRA"),
        (["one=1", "ia3=1"], "of kind IA3"),
        (["one=1", "none=1"], "none"),
        (["one=1", "biased=1"], "biased:1 has trained biases"),
        (["biased=1", "one=1"], "biased:1 has trained biases"),
        (["one=1", "narrow=1", "--method", "linear"], "by linear"),
        (["one=1", "narrow=1", "--method", "ties"], "use --method sum"),
    ):
        assert merged(registry, base, *words, "--name", "x") != 0
        assert said in capsys.readouterr().err
    assert "x" not in registry.names()
