"""The report: a page that fetches nothing, the same in Markdown, and every cell as CSV."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.study_entries import bench_figures, rows, study
from training.study.advise import prediction_errors
from training.study.axes import BASE, FULL
from training.study.charts import pictures
from training.study.claims import judge
from training.study.crossover import crossovers
from training.study.ledger import Said
from training.study.report import Report, beforehand, page, text, write_report
from training.study.results import Results
from training.study.tables import cells_csv

DISTANCES = {"de-nl": 0.28, "en-de": 0.40, "en-ko": 0.53}


def report() -> Report:
    qualities: dict[tuple[str, str, str, float | None, int], float] = {}
    for shift, base in enumerate(("small", "large")):
        for place, pair in enumerate(DISTANCES):
            level = 10.0 * shift - 3.0 * place
            qualities[base, pair, BASE, None, 0] = 40.0 + level
            for train, full in ((200, 45.0), (2000, 65.0)):
                qualities[base, pair, FULL, None, train] = full + level
                for budget, quality in ((0.01, 52.0), (0.1, 57.0)):
                    qualities[base, pair, "bottleneck", budget, train] = quality + level
    entries = rows(qualities)
    lost = replace(entries[-1], state="failed", reason="a <b>reason</b>", facts={}, statistics=b"")
    results = Results([*entries[:-1], lost], DISTANCES, 200)
    made = study()
    return Report(made, results, judge(made, results), prediction_errors(results))


@pytest.fixture(scope="module")
def made() -> Report:
    return report()


def test_every_picture_is_there_with_its_axes_named(made: Report) -> None:
    found = {each.key: each for each in pictures(made.study, made.results)}
    assert set(found) == {"budget", "distance", "bases", "data", "lengths", "novelty", "cost"}
    for picture in found.values():
        spec = picture.chart.to_json()
        assert "chrF++" in spec
        assert picture.caption
    assert '"log"' in found["budget"].chart.to_json()


def test_the_page_fetches_nothing_and_escapes_what_it_says(made: Report) -> None:
    shown = pictures(made.study, made.results)
    content = page(made, shown)
    markup = re.sub(r"(?s)<script type='module'>.*</script>", "", content)
    assert not re.search(r"<script|(src|href|url)\s*[=(]|https?://", markup)
    assert "a &lt;b&gt;reason&lt;/b&gt;" in content
    assert "a <b>reason" not in content
    for each in shown:
        assert f"id='{each.key}'" in content
    assert content.count("</script>") == 1


def test_the_markdown_holds_every_claim(made: Report) -> None:
    content = text(made, [])
    for claim in made.claims:
        assert claim.sentence in content
    assert "| (a) bottleneck at 10 %" in content


def test_the_csv_has_one_line_for_each_cell(made: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(cells_csv(made.results))))
    assert len(lines) == len(made.results.entries)
    assert sum(line["state"] == "failed" for line in lines) == 1
    one = next(line for line in lines if line["method"] == "bottleneck")
    assert float(one["chrf++"]) == pytest.approx(52.0, abs=0.2)
    assert one["distance"] == "0.28"


def test_full_fine_tuning_overtakes_between_the_sizes(made: Report) -> None:
    found = next(each for each in crossovers(made.study, made.results) if each.base == "small")
    # Gaps −12 and +8 at 200 and 2,000: zero at 200 · 10^0.6 segments.
    assert found.segments == pytest.approx(200 * 10**0.6, rel=0.02)
    assert found.said == f"about {found.segments:.0f} segments"


def test_a_crossing_of_signs_that_may_be_chance_is_told() -> None:
    made = rows(
        {
            ("small", "de-nl", BASE, None, 0): 40.0,
            ("small", "de-nl", FULL, None, 200): 50.0,
            ("small", "de-nl", FULL, None, 2000): 65.0,
            ("small", "de-nl", "bottleneck", 0.1, 200): 50.02,
            ("small", "de-nl", "bottleneck", 0.1, 2000): 57.0,
        }
    )
    (found,) = crossovers(study(), Results(made, DISTANCES, 200))
    assert found.unsure == (200,)
    assert found.said.endswith("; which is ahead is not certain at 200")


def test_a_left_out_pair_is_predicted_and_the_error_printed(made: Report) -> None:
    (row,) = made.errors.rows
    assert row[0] == "base"  # made-up rows have no recipe to name a method by
    assert row[1] == "3"
    assert row[3].startswith("budget")
    assert float(row[4]) < float(row[5])  # the model, and the mean of the others
    assert row[7] == "yes"


def test_claims_count_as_said_beforehand_only_where_they_were(made: Report) -> None:
    now, loose = made.study.claims.model_dump(), made.study.claims.model_dump() | {"margin": 3.0}
    assert beforehand(made.study, [Said(now, 0, 1.0)]).startswith("Said before the run: margin 1 ")
    changed = beforehand(made.study, [Said(loose, 0, 1.0), Said(now, 12, 2.0)])
    assert "NOT ALL SAID BEFORE" in changed
    assert "margin 3 chrF++" in changed
    assert "when 12 cells were done" in changed
    never = beforehand(made.study, [Said(loose, 0, 1.0)])
    assert "has never been run with" in never
    assert "not in the ledger" in beforehand(made.study, [])


def test_serving_cost_is_in_the_report_where_it_was_measured(made: Report) -> None:
    title = "Serving cost by kind of adapter"
    assert title not in text(made, [])
    assert title in text(replace(made, benches=[bench_figures(["lora"], 450.0)]), [])


def test_files_are_written(made: Report, tmp_path: Path) -> None:
    found = write_report(made, tmp_path / "out")
    assert [path.name for path in found] == ["report.html", "report.md", "cells.csv"]
    assert (tmp_path / "out/report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
