"""What deploy/ holds for Prometheus and Grafana is up to date and sound."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.telemetry.metrics import Metrics

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (apt: prometheus)"
)
OTHERS = re.compile(r"process_\w+|\w+_created")
"""The process's own, and times of creation, which `hub serve` does not show."""


def expressions(repository: Path) -> dict[str, str]:
    """Return every query of deploy/, by where it stands."""
    found = {}
    for file in sorted((repository / "deploy/grafana/dashboards").glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
    for file in sorted((repository / "deploy/prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                found[f"{file.name}: {rule.get('alert') or rule['record']}"] = rule["expr"]
    return found


def test_the_committed_dashboards_are_those_that_the_code_makes(
    repository: Path, tmp_path: Path
) -> None:
    grafana = repository / "deploy/grafana"
    subprocess.run(
        [sys.executable, str(grafana / "build.py"), str(tmp_path)], check=True, timeout=120
    )
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    committed = {file.name: file.read_text() for file in (grafana / "dashboards").iterdir()}
    assert len(made) == 4
    assert made == committed, "run `make dashboards`"


def test_panels_have_titles_descriptions_and_numbers_of_their_own(repository: Path) -> None:
    for file in (repository / "deploy/grafana/dashboards").glob("*.json"):
        page = json.loads(file.read_text())
        panels = [panel for panel in page["panels"] if panel["type"] != "row"]
        assert all(panel["title"] and panel["description"] for panel in panels), file.name
        numbers = [panel["id"] for panel in page["panels"]]
        assert len(set(numbers)) == len(numbers), file.name
        for panel in page["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, (file.name, panel["title"])


def test_queries_name_metrics_that_the_server_has_and_all_metrics_are_used(
    repository: Path,
) -> None:
    families = text_string_to_metric_families(generate_latest(Metrics().registry).decode())
    known: set[str] = set()
    for family in families:
        ends = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_count", "_sum"),
            "summary": ("_count", "_sum"),
        }.get(family.type, ("",))
        known |= {family.name + end for end in ends}
    named: set[str] = set()
    for place, expression in expressions(repository).items():
        plain = re.sub(r"\w+:[\w:]+|\"[^\"]*\"", "", expression)  # no recorded names, no strings
        used = set(re.findall(r"\b(?:hub|grpc_server)_\w+", plain))
        assert used <= known, (place, used - known)
        named |= used
    shown = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in named}
    declared = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in known}
    unused = {name for name in declared - shown if not OTHERS.fullmatch(name)}
    assert not unused, "no panel and no rule shows these"


@promtool
def test_promtool_accepts_configuration_and_rules(repository: Path) -> None:
    checked = subprocess.run(
        ["promtool", "check", "config", "prometheus.yml"],
        cwd=repository / "deploy/prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


@promtool
def test_alerts_fire_when_they_should_and_not_before(repository: Path) -> None:
    checked = subprocess.run(
        ["promtool", "test", "rules", "tests/alerts.yml", "tests/days.yml"],
        cwd=repository / "deploy/prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tested_and_explained(repository: Path) -> None:
    folder = repository / "deploy/prometheus"
    groups = yaml.safe_load((folder / "rules/alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    firing = {
        case["alertname"]
        for file in (folder / "tests").glob("*.yml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert alerts == firing
    page = (repository / "docs/operating.md").read_text()
    assert not [alert for alert in alerts if f"`{alert}`" not in page]
