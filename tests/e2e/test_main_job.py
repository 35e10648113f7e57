"""The main job through the commands alone: train, publish, serve, translate, measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.client import HubClient
from hub.demo.commands import serve_command
from hub.demo.scrape import scrape
from hub.demo.server import Addresses, running_server

HUB = [sys.executable, "-m", "hub"]
QUICK = "--max-updates 40 --eval-every 40 --train 1200 --dev 32 --test 40 --lr 0.003 --force"
TEXTS = ["Friday, October 3, 2008", "in 12 days", "France and Peru"]


def hub(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HUB, *words], check=False, capture_output=True, text=True, timeout=240)


def train(folder: Path, *words: str) -> dict[str, object]:
    report = folder / "train.json"
    where = ["--registry", str(folder / "registry"), "--runs", str(folder / "runs")]
    done = hub("train", *words, *QUICK.split(), *where, "--json", str(report))
    assert done.returncode == 0, done.stderr
    content: dict[str, object] = json.loads(report.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("job")


@pytest.fixture(scope="module")
def korean(folder: Path) -> dict[str, object]:
    return train(folder, "--pair", "en-ko", "--budget", "0.01")


@pytest.fixture(scope="module")
def server(folder: Path, korean: dict[str, object]) -> Iterator[Addresses]:
    with running_server(serve_command(folder, "int8")) as addresses:
        yield addresses


def test_what_was_trained_holds_its_budget_and_is_in_the_registry(folder: Path, korean):
    assert 0.009 < korean["realised_fraction"] <= 0.01
    listed = hub("adapters", "list", "--registry", str(folder / "registry"), "--json")
    adapters = json.loads(listed.stdout)["adapters"]
    assert korean["digest"] in {adapter["digest"] for adapter in adapters}


def test_a_translation_names_the_adapter_that_made_it_and_differs_from_the_base(server, korean):
    with HubClient(server.grpc) as client:
        base = client.translate(TEXTS, "en", "ko")
        adapted = client.translate(TEXTS, "en", "ko", adapter=str(korean["ref"]))
    assert base.texts != adapted.texts
    assert {item.adapter_digest for item in adapted.items} == {korean["digest"]}
    assert {item.adapter_digest for item in base.items} == {""}


def test_an_adapter_published_meanwhile_is_served_without_a_restart(folder, server, korean):
    german = train(folder, "--pair", "en-de", "--method", "lora", "--budget", "0.5%")
    with HubClient(server.grpc) as client:
        reply = client.translate(TEXTS, "en", "de", adapter=str(german["ref"]))
    assert {item.adapter_digest for item in reply.items} == {german["digest"]}
    assert german["digest"] != korean["digest"]


def test_the_command_line_client_translates(server, korean):
    words = ["translate", "--server", server.grpc, "--pair", "en-ko"]
    done = hub(*words, "--adapter", str(korean["ref"]), "--json", *TEXTS)
    assert done.returncode == 0, done.stderr
    with HubClient(server.grpc) as client:
        expected = client.translate(TEXTS, "en", "ko", adapter=str(korean["ref"])).texts
    assert all(text in done.stdout for text in expected)


def test_the_endpoint_counts_what_happened(server, korean):
    with HubClient(server.grpc) as client:
        client.translate(TEXTS, "en", "ko", adapter=str(korean["ref"]))
    metrics = scrape(server.metrics)
    handled = {"grpc_method": "TranslateText", "grpc_code": "OK"}
    assert metrics.total("grpc_server_handled_total", **handled) >= 1
    assert metrics.total("hub_adapters_resident", tier="device") >= 1
    assert metrics.quantile(0.5, "grpc_server_handling_seconds") > 0
    assert metrics.total("hub_mean_logprob_count") >= len(TEXTS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_reaches_its_bars(tmp_path: Path):
    report = tmp_path / "demo.json"
    done = subprocess.run(
        [*HUB, "demo", "--folder", str(tmp_path / "demo"), "--json", str(report)],
        check=False,
        capture_output=True,
        text=True,
        timeout=1800,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(report.read_text(encoding="utf-8"))
    korean, german = result["adapters"]
    assert (korean["pair"], korean["method"]) == ("en-ko", "bottleneck")
    assert (german["pair"], german["method"]) == ("en-de", "lora")
    assert korean["realised_fraction"] <= 0.01
    assert german["realised_fraction"] <= 0.005
    assert korean["chrf_adapter"] - korean["chrf_base"] >= 20
    assert result["mixed_equals_alone"] is True
    digests = {line["digest"] for line in result["translations"]}
    assert digests == {None, korean["digest"], german["digest"]}
    assert "does NOT equal" not in done.stderr
