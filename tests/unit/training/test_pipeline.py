"""From a request to a published adapter on the tiny base, and every refusal on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hub.bases import Base
from hub.errors import (
    BaseNotFoundError,
    BudgetError,
    CorpusNotFoundError,
    CorruptBaseError,
    EqualityGateError,
    HubError,
    LanguageError,
    QualityGateError,
    RefError,
    SettingsError,
)
from hub.registry import Registry
from training.corpora.plan import CorpusRequest
from training.defaults import Overrides
from training.evidence.reevaluate import evaluate_ref
from training.loop.progress import Silent
from training.pipeline import TrainOutcome, train_adapter
from training.work import TrainRequest

QUICK = Overrides(
    train=80, dev=20, test=20, max_updates=6, evaluate_every=3, warmup=1, tokens_per_batch=256,
    dev_lines=4, precision="float32",
)  # fmt: skip


@pytest.fixture
def ask(tiny_base: Base, tmp_path: Path) -> Callable[..., TrainRequest]:
    """Return a maker of quick requests; any field can be set."""

    def make(**changes: Any) -> TrainRequest:
        request = TrainRequest(
            pair="en-de",
            size=4,
            base=str(tiny_base.folder),
            overrides=QUICK,
            registry=str(tmp_path / "registry"),
            runs=tmp_path / "runs",
            force=True,
        )
        return replace(request, **changes)

    return make


def run(request: TrainRequest) -> TrainOutcome:
    return train_adapter(request, Silent())


@pytest.mark.parametrize("method", ["bottleneck", "lora"])
def test_trains_scores_and_publishes(
    ask: Callable[..., TrainRequest], tiny_base: Base, method: str
) -> None:
    request = ask(method=method, aliases=("prod",))
    outcome = run(request)
    assert outcome.version is not None
    assert outcome.version.ref == f"en-de.{method}:1"
    manifest = outcome.manifest
    assert manifest.base.digest == tiny_base.digest
    assert manifest.base.name == "tiny"
    assert (manifest.corpus.train, manifest.corpus.dev, manifest.corpus.test) == (80, 20, 20)
    assert {(s.metric, s.system) for s in manifest.scores} == {
        (metric, system)
        for metric in ("chrf++", "bleu", "ter", "exact")
        for system in ("base", "adapter")
    }
    assert {found.metric for found in manifest.comparisons} == {"chrf++", "bleu", "ter", "exact"}
    assert sum(record.items for record in manifest.lengths) == 20
    assert manifest.environment is not None
    assert manifest.environment.scored_in == "int8"
    assert outcome.equality.fresh
    assert all("numbers:int8" in score.signature for score in manifest.scores)
    with Registry.open(request.registry) as registry:
        version = registry.resolve(f"en-de.{method}@prod")
        assert version.digest == outcome.version.digest
        assert version.manifest == manifest
        names = {file.name for file in registry.folder(version).iterdir()}
        golden = registry.golden(version)
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "golden.json", "hub.json", "README.md",
        "vocabulary.json",
    }  # fmt: skip
    assert golden is not None
    assert (len(golden.lines), golden.pair, golden.numbers) == (20, "en-de", "int8")
    assert golden.score == golden.score_of([line.translation for line in golden.lines])
    for file in names:
        assert str(tiny_base.folder).encode() not in (outcome.folder / file).read_bytes()
    assert json.loads((outcome.run_folder / "summary.json").read_text())["updates"] == 6
    assert not (outcome.run_folder / "state.safetensors").exists()
    assert set(outcome.timings) >= {"train", "gates", "score", "publish"}


def test_same_request_elsewhere_gives_the_same_digest(
    ask: Callable[..., TrainRequest], tmp_path: Path
) -> None:
    first = run(ask())
    again = run(ask())
    elsewhere = run(ask(runs=tmp_path / "other", registry=str(tmp_path / "else")))
    other = run(ask(overrides=replace(QUICK, seed=2)))
    versions = [outcome.version for outcome in (first, again, elsewhere, other)]
    assert all(version is not None for version in versions)
    digests = [version.digest for version in versions if version]
    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert [version.version for version in versions if version] == [1, 1, 1, 2]


def test_evaluation_of_a_published_adapter_repeats_its_scores(
    ask: Callable[..., TrainRequest], tiny_base: Base
) -> None:
    request = ask()
    outcome = run(request)
    found = evaluate_ref(
        "en-de.bottleneck",
        registry=request.registry,
        base_ref=str(tiny_base.folder),
        quantization="int8",
        progress=Silent(),
    )
    assert found.scores == outcome.manifest.scores == found.recorded


def test_not_published_unless_asked(ask: Callable[..., TrainRequest], tmp_path: Path) -> None:
    outcome = run(ask(publish=False, budget=0.01, size=None))
    assert outcome.version is None
    assert (outcome.folder / "hub.json").is_file()
    assert not (tmp_path / "registry").exists()
    assert 0 < outcome.manifest.realised_fraction <= 0.01


def test_a_worse_adapter_is_kept_but_not_published(
    ask: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(force=False)

    def forgetful(decoder: Any, pair: Any, segments: Any) -> Any:
        """Measure a base that is right and an adapter that is not."""
        from training.evidence.gather import weigh
        from training.evidence.scoring import Scorer

        right = [segment.target for segment in segments]
        scorer = Scorer(right, "de")
        return weigh(
            [segment.source for segment in segments],
            "en",
            base=scorer.measure(right),
            adapter=scorer.measure([text[:3] for text in right]),
            decoding="decoding:none",
        )

    monkeypatch.setattr("training.pipeline.gather", forgetful)
    with pytest.raises(QualityGateError, match=r"significantly worse.*--force"):
        run(request)
    with Registry.open(request.registry) as registry:
        assert registry.names() == []
    assert list(request.runs.glob("*/best/adapter_model.safetensors"))
    whole = ask(force=False, method="cross-attention", size=None)
    with pytest.raises(QualityGateError, match="--force"):
        run(whole)
    kept = run(replace(whole, publish=False))  # a look at what comes out, as for any method
    assert kept.base_folder is not None


def test_an_adapter_that_is_not_served_as_it_was_trained_is_kept_but_not_published(
    ask: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(overrides=replace(QUICK, learning_rate=0.1))

    def spoil(folder: Path) -> None:
        """Lose half of the adapter between saving and serving, as a fault on disk would."""
        from safetensors.torch import load_file, save_file

        file = folder / "adapter_model.safetensors"
        halved = {name: 0.5 * tensor for name, tensor in load_file(file).items()}
        save_file(halved, file, metadata={"format": "pt"})

    monkeypatch.setattr("training.gates.checks.check_finite", spoil)
    with pytest.raises(EqualityGateError, match="read anew"):
        run(request)
    with Registry.open(request.registry) as registry:
        assert registry.names() == []
    assert list(request.runs.glob("*/best/adapter_model.safetensors"))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"pair": "en-xx"}, LanguageError, "unknown language 'xx'"),
        ({"pair": "en-en"}, LanguageError, "both"),
        ({"pair": "enko"}, LanguageError, "not a language pair"),
        ({"pair": "en-fr"}, LanguageError, "has no language 'fr'"),
        ({"budget": 0.0, "size": None}, BudgetError, "above 0"),
        ({"budget": -0.1, "size": None}, BudgetError, "above 0"),
        ({"budget": 1.5, "size": None}, BudgetError, "at most 1"),
        ({"budget": float("nan"), "size": None}, BudgetError, "above 0"),
        ({"budget": 1e-6, "size": None}, BudgetError, "needs at least"),
        ({"size": 0}, BudgetError, "at least 1"),
        ({"size": None}, BudgetError, "neither"),
        ({"method": "magic"}, SettingsError, "known are bottleneck, lora"),
        ({"options": {"targets": "qv"}}, SettingsError, "no option --targets"),
        ({"corpus": CorpusRequest(data=("europarl",))}, CorpusNotFoundError, "europarl"),
        ({"base": "no/where/base"}, BaseNotFoundError, "no/where/base"),
        ({"name": "Not A Name"}, RefError, "Not A Name"),
        ({"aliases": ("bad alias",)}, RefError, "bad alias"),
        ({"overrides": Overrides(learning_rate=-1.0)}, SettingsError, "--lr is -1.0"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    ask: Callable[..., TrainRequest],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    error: type[HubError],
    said: str,
) -> None:
    monkeypatch.setattr("training.pipeline.adapted_model", _must_not_run)
    with pytest.raises(error, match=said):
        run(ask(**changes))


def _must_not_run(work: Any) -> Any:
    raise AssertionError("training was started")


def test_folders_that_cannot_be_written_are_found_before_training(
    ask: Callable[..., TrainRequest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("training.pipeline.adapted_model", _must_not_run)
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--runs"):
        run(ask(runs=tmp_path / "file" / "runs"))
    with pytest.raises(HubError, match="file"):
        run(ask(registry=str(tmp_path / "file" / "registry")))


def test_damaged_weights_of_the_base(
    ask: Callable[..., TrainRequest], tiny_base: Base, tmp_path: Path
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_base.folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CorruptBaseError, match="broken"):
        run(ask(base=str(broken)))


def test_a_base_without_one_of_its_tensors(
    ask: Callable[..., TrainRequest], tiny_base: Base, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(tiny_base.folder, broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.encoder.layers.1.fc1.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptBaseError, match=r"layers\.1\.fc1\.weight"):
        run(ask(base=str(broken)))
