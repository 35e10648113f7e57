"""Which phrases of a test item were in the training segments, and what that says of a gain."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.study_entries import entry, statistics, study
from training.study.axes import BASE, FULL
from training.study.estimate import Estimate
from training.study.grid import Point
from training.study.ledger import Entry
from training.study.measure import pack
from training.study.novelty import CLASSES, class_of, novelty
from training.study.results import Results
from training.study.slices import by_length, by_novelty, gains


def test_the_share_of_new_phrases_is_counted_by_hand() -> None:
    training = ["Three hours ago", "two days ago"]
    tests = ["three hours ago", "three days ago", "in four weeks", "ago", "two days"]
    # "three days" is new and "days ago" is not; one word is a phrase, and "ago" alone is none.
    assert novelty(tests, training, "en")["of_item"] == [0.0, 0.5, 1.0, 1.0, 0.0]


def test_languages_without_spaces_have_phrases_of_characters() -> None:
    found = novelty(["三時間前です", "三時間"], ["三時間前"], "ja")
    assert found["unit"] == "characters"
    assert found["of_item"] == [pytest.approx(2 / 3, abs=1e-4), 1.0]


def test_classes_are_all_some_and_most() -> None:
    assert [CLASSES[class_of(share)] for share in (0.0, 0.01, 0.5, 0.51, 1.0)] == [
        "all seen", "≤ ½ new", "≤ ½ new", "> ½ new", "> ½ new",
    ]  # fmt: skip


def remembering() -> list[Entry]:
    """The base has 40; full fine-tuning has 80 on what it has seen, and 40 on what is new."""
    plain, learned = statistics(40.0, 1), statistics(80.0, 2)
    shares = [float(index % 2) for index in range(len(plain))]
    mixed = np.where(np.array(shares)[:, None] == 0, learned, plain)
    base = entry(Point("small", "en-de", BASE, None, 0, 0), 40.0)
    full = entry(Point("small", "en-de", FULL, None, 2000, 1), 60.0)
    facts = dict(full.facts) | {"novelty": {"of_item": shares}}
    return [
        Entry(base.cell, "done", 1, "", base.facts, pack(plain)),
        Entry(full.cell, "done", 1, "", facts, pack(mixed)),
    ]


def test_a_gain_that_is_memory_is_told_from_one_that_is_not() -> None:
    found = list(gains(study(), Results(remembering(), {}, 300), by_novelty))
    by = {each.label: each for each in found}
    assert set(by) == {"all seen", "> ½ new"}
    assert by["all seen"].gain.value == pytest.approx(40, abs=1)
    assert by["> ½ new"].gain.value == pytest.approx(0, abs=1)
    assert by["all seen"].items == by["> ½ new"].items == 60
    assert isinstance(by["all seen"].gain, Estimate)


def test_cells_of_an_earlier_release_have_no_phrases_but_lengths() -> None:
    base, full = remembering()
    old = Entry(
        full.cell, "done", 1, "", {k: v for k, v in full.facts.items() if k != "novelty"},
        full.statistics,
    )  # fmt: skip
    results = Results([base, old], {}, 100)
    assert list(gains(study(), results, by_novelty)) == []
    assert [each.label for each in gains(study(), results, by_length)] == ["1–5", "6–10", "11–20"]
