"""The study file: what it says becomes points, and what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hub.errors import SettingsError
from training.study.axes import BASE, FULL
from training.study.file import load_study, parse_study
from training.study.grid import Point, points, settings

PLAIN: dict[str, Any] = {
    "study": "plain",
    "bases": {"embedded": {"base": "embedded"}},
    "pairs": ["en-ko", "de-nl"],
    "methods": ["bottleneck", "bitfit"],
    "budgets": ["1%", "10%"],
    "train": [100, 1000],
    "seeds": [1, 2],
    "claims": {"budget": "10%"},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sed": [1]}, r"sed: there is no such key; allowed: study, bases, pairs"),
        ({"seeds": ["one"]}, r"seeds\[0\]: is 'one'; must be a valid integer"),
        ({"seeds": []}, r"seeds: is \[\]"),
        ({"budgets": ["ten"]}, r"budgets\[0\]: budget 'ten' is not a number"),
        ({"budgets": [0]}, r"budgets\[0\]: budget 0 is not a fraction"),
        ({"budgets": ["1%", 0.01, "10%"]}, r"budgets: 0\.01 is named twice"),
        ({"pairs": ["en-xx9"]}, r"pairs.*xx9"),
        (
            {"methods": {"bottle": None}},
            r"methods: bottle: method 'bottle' is unknown; allowed: bo",
        ),
        ({"methods": ["full"]}, r"'full' is in every study as a reference"),
        (
            {"methods": {"lora": {"options": {"targets": "all"}}}},
            r"--targets is all; it must be one of qv, attention, all-linear",
        ),
        ({"grid": [{"pairs": ["en-de"]}]}, r"grid\[0\]\.pairs: 'en-de' is not in this study; allo"),
        (
            {"grid": [{"budget": [0.1]}]},
            r"grid\[0\]\.budget: there is no such key; allowed: bases,",
        ),
        (
            {"claims": {"budget": 0.5}},
            r"claims.budget: 0.5 is no budget of this study; allowed: 0.0",
        ),
        ({"claims": {"budget": 0.1, "margin": 0}}, r"claims\.margin: is 0; must be greater than 0"),
        (
            {"scoring": {"search": "beam"}},
            r"scoring\.search: is 'beam'; must be 'base' or 'greedy'",
        ),
        (
            {"training": {"lr": 1.0}},
            r"training\.lr: there is no such key; allowed: learning_rate, ",
        ),
        (
            {"overrides": [{"when": {"methods": ["lora"]}, "set": {}}]},
            r"overrides\[0\]\.when\.meth",
        ),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_study(PLAIN | change)


def test_every_wrong_key_is_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"2 keys are wrong") as caught:
        parse_study(PLAIN | {"seeds": ["one"], "nonsense": 1})
    assert "seeds[0]" in caught.value.message
    assert "nonsense" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [("- a\n- b\n", "holds no keys"), ("a: [1", "is not YAML"), (None, "No such file")],
)
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "study.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        load_study(path)


def test_references_come_once_and_methods_without_a_size_are_not_multiplied() -> None:
    found = points(parse_study(PLAIN))
    counts = {
        name: sum(point.method == name for point in found)
        for name in (BASE, FULL, "bitfit", "bottleneck")
    }
    # Two pairs; by hand: the base once each, the others for two sizes and two seeds, and the
    # bottleneck for two budgets besides.
    assert counts == {BASE: 2, FULL: 8, "bitfit": 8, "bottleneck": 16}
    assert len(set(found)) == len(found)


def test_blocks_that_overlap_name_a_point_once() -> None:
    blocks = [{"train": [1000]}, {"train": [1000], "methods": ["bottleneck"]}, {"train": [100]}]
    assert set(points(parse_study(PLAIN | {"grid": blocks}))) == set(points(parse_study(PLAIN)))


def test_later_overrides_win_where_they_fit() -> None:
    study = parse_study(
        PLAIN
        | {
            "training": {"max_updates": 10, "warmup": 1},
            "overrides": [
                {"when": {"methods": ["full"]}, "set": {"max_updates": 20}},
                {"when": {"pairs": ["en-ko"], "train": [100]}, "set": {"max_updates": 30}},
            ],
        }
    )

    def updates(pair: str, method: str, train: int) -> int | None:
        found = settings(study, Point("embedded", pair, method, None, train, 1))
        assert (found.warmup, found.seed, found.train) == (1, 1, train)
        return found.max_updates

    assert updates("de-nl", "bitfit", 100) == 10
    assert updates("de-nl", "full", 100) == 20
    assert updates("en-ko", "full", 100) == 30
    assert updates("en-ko", "full", 1000) == 20


@pytest.mark.parametrize("name", ["laptop", "real", "paper", "smoke"])
def test_the_studies_that_come_along_are_valid(repository: Path, name: str) -> None:
    study = load_study(repository / "studies" / f"{name}.yaml")
    assert study.study == name
    assert points(study)


def test_the_evening_study_is_as_small_as_it_says(repository: Path) -> None:
    made = load_study(repository / "studies/evening.yaml")
    found = points(made)
    assert len(found) == 75
    axes = (made.pairs, made.methods, made.budgets, made.train, made.seeds)
    assert tuple(map(len, axes)) == (3, 3, 2, 2, 2)
