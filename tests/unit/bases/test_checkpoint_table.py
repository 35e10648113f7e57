"""The table of published checkpoints in docs/bases.md is what the project counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.dimensions import ModelDimensions

from ...support.checkpoints import PUBLISHED, rows


@pytest.mark.parametrize("each", [each for each in PUBLISHED if each.parameters])
def test_parameters_are_those_counted_elsewhere(each):
    assert ModelDimensions.from_config(each.config).parameters == each.parameters


def test_the_page_has_the_rows(repository: Path):
    text = (repository / "docs" / "bases.md").read_text(encoding="utf-8")
    for row in rows():
        assert row in text
