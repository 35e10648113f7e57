"""Container, compose file and unit name what exists, and say what they should."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hub.settings import Settings


def test_the_containerfile_copies_what_exists_and_sets_what_is_a_setting(repository: Path) -> None:
    lines = (repository / "deploy/Containerfile").read_text()
    sources = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", lines, re.M)
        for name in line.split()
    ]
    assert {"pyproject.toml", "hub", "training", "server"} <= set(sources)
    assert all((repository / name).exists() for name in sources)
    names = {name.lower() for name in re.findall(r"HUB_(\w+)=", lines)}
    assert names
    assert names <= set(Settings.model_fields)


def test_the_compose_file_mounts_what_exists_and_publishes_on_loopback_only(
    repository: Path,
) -> None:
    services = yaml.safe_load((repository / "deploy/compose.yaml").read_text())["services"]
    assert set(services) == {"server", "prometheus", "grafana"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (repository / "deploy" / source).exists(), source
    scraped = yaml.safe_load((repository / "deploy/prometheus/prometheus.yml").read_text())
    (job,) = scraped["scrape_configs"]
    assert job["job_name"] == "adapterhub"
    (target,) = job["static_configs"][0]["targets"]
    assert target == f"server:{Settings.model_fields['metrics_port'].default}"
    grace = int(services["server"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["drain_seconds"].default


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_accepts_the_unit_and_finds_it_hardened(repository: Path, tmp_path: Path) -> None:
    text = (repository / "deploy/adapterhub.service").read_text()
    seconds = int(re.search(r"TimeoutStopSec=(\d+)", text)[1])
    assert seconds > Settings.model_fields["drain_seconds"].default
    # verify wants a program that exists; nothing else of the unit is changed
    unit = tmp_path / "adapterhub.service"
    unit.write_text(text.replace("/opt/adapterhub/bin/hub", "/bin/true"))
    checked = run("verify", "--man=no", str(unit))
    assert checked.returncode == 0, checked.stderr
    assert "adapterhub" not in checked.stderr, checked.stderr
    rated = run("security", "--offline=yes", "--threshold=30", str(unit))
    assert rated.returncode == 0, rated.stdout
    unit.write_text(unit.read_text().replace("ProtectSystem=strict", "ProtectSystm=strict"))
    assert "ProtectSystm" in run("verify", "--man=no", str(unit)).stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
