"""Serving cost from the file of `hub bench engine --json`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.errors import SettingsError
from tests.support.study_entries import bench_figures
from training.study.serving import COLUMNS, read_bench, serving_table


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_kind_costs_what_its_rows_are_slower_than_the_bases(tmp_path: Path) -> None:
    files = [
        written(tmp_path, "b.json", bench_figures(["bottleneck"], 400.0)),
        written(tmp_path, "l.json", bench_figures(["lora"], 450.0)),
    ]
    found = serving_table(read_bench(files))
    named = [dict(zip(COLUMNS, row, strict=True)) for row in found.rows]
    assert [(row["kind"], row[">slower by"]) for row in named] == [
        ("bottleneck", "20%"),
        ("lora", "10%"),
    ]
    assert named[0][">base, tokens/s"] == "500"
    assert named[0][">from disk into a slot"] == "3.2 ms"


@pytest.mark.parametrize("content", [[1], {"rows": []}, {"rows": [{"engine": "base"}]}, "text"])
def test_another_file_is_refused_with_the_command(content: object, tmp_path: Path) -> None:
    path = written(tmp_path, "other.json", content)
    with pytest.raises(SettingsError, match=r"--kinds bottleneck --json bottleneck\.json"):
        read_bench([path])
    with pytest.raises(SettingsError, match="No such file"):
        read_bench([tmp_path / "nothing.json"])
