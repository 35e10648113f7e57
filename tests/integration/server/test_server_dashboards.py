"""A real Prometheus scrapes a real server: every query of deploy/ parses and returns data."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import promql_parser
import pytest
import yaml

from hub.client import Decoding
from hub.errors import HubError
from hub.feedback.records import PostEdit
from hub.languages import LanguagePair
from hub.manifest import OutputRecord
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from server.quality.golden.results import GoldenResult
from server.telemetry.metrics import Metrics

from .conftest import House, Weights

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not installed (apt: prometheus)"
    ),
]

LIMIT = 90.0
SHORT = Decoding(max_output_tokens=12)
CHOICES = {"$__rate_interval": "10s", "$instance": ".*", "$pair": ".*", "$adapter": ".*"}
COMPARISONS = {"==", "!=", ">", "<", ">=", "<=", "and", "or", "unless"}


def states_of_other_parts(metrics: Metrics) -> None:
    """Set what a server shows in special states only, which this load does not bring about.

    Tenants are known where there is authentication. Their queries are run on values put into the
    server's own metrics. Golden lines are looked at once an hour; a look is put among the results.
    """
    metrics.golden.watch(
        lambda limit: [GoldenResult("first", 1, "en-ko", 54.0, 54.5, 0.1, time.time())]
    )
    metrics.tenant_requests.labels(metrics.tenants.of("someone"), "ok").inc()
    metrics.tenant_tokens.labels(metrics.tenants.of("someone"), "input").inc(10)


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    address: str

    def get(self, path: str, **parameters: str) -> Any:
        """Ask its API; an error of its own is an answer too."""
        url = f"http://{self.address}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=30) as reply:
                return json.load(reply)
        except HTTPError as error:  # such as a query that does not parse
            return json.loads(error.read())

    def rows(self, query: str) -> int:
        """Return how many series a query has; refuse one that does not parse."""
        answer = self.get("query", query=query)
        assert answer["status"] == "success", (query, answer)
        data = answer["data"]
        return 1 if data["resultType"] == "scalar" else len(data["result"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def prometheus(repository: Path, target: str, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration of deploy/, made fast and pointed at a server."""
    source = repository / "deploy/prometheus"
    shutil.copytree(source / "rules", folder / "rules")
    config = yaml.safe_load((source / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    config["scrape_configs"][0]["scrape_timeout"] = "500ms"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus", f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}",
            "--enable-feature=exemplar-storage", "--log.level=warn",
        ],
        stdout=subprocess.DEVNULL, stderr=log,
    )  # fmt: skip
    log.close()  # the child has its own
    try:
        limit = time.monotonic() + LIMIT
        while not _ready(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < limit, "Prometheus did not get ready"
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(30)


def _ready(address: str) -> bool:
    with suppress(OSError), urlopen(f"http://{address}/-/ready", timeout=5) as reply:
        return bool(reply.status == 200)
    return False


def panel_queries(repository: Path) -> dict[str, str]:
    found = {}
    for file in sorted((repository / "deploy/grafana/dashboards").glob("*.json")):
        page = json.loads(file.read_text())
        for panel in page["panels"]:
            for target in panel.get("targets", ()):
                found[f"{file.name}: {panel['title']} {target['refId']}"] = target["expr"]
        for variable in page["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(
                    r"label_values\((.*), (\w+)\)", variable["query"]
                ).groups()
                found[f"{file.name}: ${label}"] = f"count by ({label}) ({metric})"
    for name, value in CHOICES.items():
        found = {place: query.replace(name, value) for place, query in found.items()}
    return found


def rule_queries(repository: Path) -> dict[str, str]:
    """Return what recording rules compute, and what alerts compare."""
    found = {}
    for file in sorted((repository / "deploy/prometheus/rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    found[rule["record"]] = rule["record"]
                    continue
                for number, part in enumerate(operands(promql_parser.parse(rule["expr"]))):
                    found[f"{rule['alert']} {number}"] = part
    return found


def operands(expression: Any) -> list[str]:
    """Return the sides of an alert's comparisons, which have data when it does not fire."""
    if isinstance(expression, promql_parser.ParenExpr):
        return operands(expression.expr)
    if isinstance(expression, promql_parser.BinaryExpr) and str(expression.op) in COMPARISONS:
        return [*operands(expression.lhs), *operands(expression.rhs)]
    if isinstance(expression, promql_parser.NumberLiteral):
        return []
    return [expression.prettify()]


def test_the_sides_of_a_comparison_are_found() -> None:
    parsed = promql_parser.parse("a / (b > 0) > 0.9 and (c{x='1'} == d)")
    assert [re.sub(r"\s+", "", part) for part in operands(parsed)] == [
        "a/(b>0)", 'c{x="1"}', "d",
    ]  # fmt: skip


def spoil(weights: Weights) -> None:
    name = next(iter(weights))
    weights[name] = np.full_like(weights[name], np.nan)


def publish(house: House) -> None:
    house.publisher.output = OutputRecord(
        items=20, log_probability=-8.0, log_probability_deviation=1.0, log_length_ratio=0.0,
        log_length_ratio_deviation=1.0, signature="of no adapter",
    )  # fmt: skip
    house.publisher.lora("first", seed=1)
    house.publisher.lora("routed", pair="en-de", seed=4)
    house.publisher.registry.set_alias("routed", "prod", 1, None)
    house.publisher.bottleneck("second", seed=2)
    house.publisher.bottleneck("broken", seed=3, spoil=spoil)
    house.publisher.bottleneck("tried", seed=4)
    house.publisher.bottleneck("tried", seed=5)
    house.publisher.registry.set_alias("tried", "next", 1, None)
    house.publisher.registry.canaries.start("tried", "next", 2, 0.5)


def drive(house: House, number: int) -> None:
    """One round of load: several adapters, a stream, a fallback, a failing load, a reload."""
    texts = [f"Monday {number}", "Tuesday comes after Monday. Wednesday comes next."]
    for adapter in ("first", "second", "base", ""):
        house.client.translate(texts, "en", "ko", adapter=adapter, decoding=SHORT)
    for part in range(4):  # to both arms of the canary
        house.client.translate(
            [f"{number} {part}"], "en", "ko", adapter="tried@next", decoding=SHORT
        )
    for adapter in ("nobody", "broken"):
        with suppress(HubError):
            house.client.translate(texts, "en", "ko", adapter=adapter, decoding=SHORT)
    house.client.translate(texts, "en", "de", decoding=SHORT)  # nonsense, so once more by the base
    correct(house)
    stream(house)
    house.application.reload()
    states_of_other_parts(house.application.metrics)


def correct(house: House) -> None:
    pair, long = LanguagePair.parse("en-ko"), "word " * 200
    house.client.submit_post_edits(
        [PostEdit(pair, "Monday", "일요일", "월요일"), PostEdit(pair, "long", long, long)]
    )


def stream(house: House) -> None:
    import grpc

    request = pb.TranslateTextRequest(
        contents=["Monday"], source_language_code="en", target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=4),
    )  # fmt: skip
    with grpc.insecure_channel(house.target) as channel:
        call = channel.unary_stream(
            "/adapterhub.v1.TranslationService/StreamTranslateText",
            pb.TranslateTextRequest.SerializeToString,
            pb.StreamTranslateTextResponse.FromString,
        )
        assert list(call(request, timeout=60))


@pytest.fixture(scope="module")
def watched(
    open_house: Callable[..., Iterator[House]],
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[House, Prometheus]]:
    folder = tmp_path_factory.mktemp("prometheus")
    for house in open_house(slots=1, second_try=True, tracing=f"file:{folder / 'spans'}"):
        publish(house)
        target = house.application.ports.metrics
        with prometheus(repository, target, folder) as running:
            yield house, running


def test_every_query_of_panels_and_rules_returns_data(
    watched: tuple[House, Prometheus], repository: Path
) -> None:
    house, running = watched
    waiting = {**panel_queries(repository), **rule_queries(repository)}
    assert len(waiting) > 90
    for query in waiting.values():
        running.rows(query)  # it parses, whether or not there are data already
    limit, number = time.monotonic() + LIMIT, 0
    while waiting and time.monotonic() < limit:
        number += 1
        drive(house, number)
        waiting = {place: query for place, query in waiting.items() if not running.rows(query)}
    assert not waiting, f"no data after {number} rounds"


def rule_names(repository: Path) -> list[str]:
    files = (repository / "deploy/prometheus/rules").glob("*.yml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    rules = [rule for group in groups for rule in group["rules"]]
    return [rule.get("record") or rule["alert"] for rule in rules]


def test_rules_are_evaluated_without_an_error(
    watched: tuple[House, Prometheus], repository: Path
) -> None:
    _, running = watched
    health, rules = {"unknown"}, []
    limit = time.monotonic() + LIMIT
    while "unknown" in health and time.monotonic() < limit:  # not evaluated yet
        groups = running.get("rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        health = {rule["health"] for rule in rules}
    assert len(rules) == len(rule_names(repository)) > 20
    assert health == {"ok"}, [rule.get("lastError") for rule in rules]


def test_a_metric_that_does_not_exist_returns_no_data(watched: tuple[House, Prometheus]) -> None:
    _, running = watched
    assert running.rows("hub_no_such_metric_total") == 0


def test_exemplars_lead_from_latency_to_traces(
    watched: tuple[House, Prometheus], tmp_path_factory: pytest.TempPathFactory
) -> None:
    house, running = watched
    limit = time.monotonic() + LIMIT
    found: list[Any] = []
    while not found and time.monotonic() < limit:
        drive(house, 1)
        found = running.get(
            "query_exemplars",
            query="grpc_server_handling_seconds_bucket",
            start=str(time.time() - 300),
            end=str(time.time() + 10),
        )["data"]
    labels = found[0]["exemplars"][0]["labels"]
    assert re.fullmatch("[0-9a-f]{32}", labels["trace_id"])
    house.application._tracer._provider.force_flush()
    spans = Path(house.settings.tracing.removeprefix("file:")).read_text()
    assert labels["trace_id"] in spans


def test_buckets_fit_what_is_measured(watched: tuple[House, Prometheus]) -> None:
    """No histogram holds all of its observations in its first or its last bucket.

    The base is tiny and random: times of decoding and log-probabilities are not asked here.
    """
    house, _ = watched
    for metric in (
        "grpc_server_handling_seconds", "hub_request_queue_seconds", "hub_stage_seconds",
        "hub_adapter_load_seconds", "hub_adapter_place_seconds", "hub_adapter_swap_seconds",
    ):  # fmt: skip
        family = next(f for f in house.application.metrics.registry.collect() if f.name == metric)
        counts: dict[float, float] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                counts[bound] = counts.get(bound, 0.0) + sample.value
        bounds = sorted(counts)
        assert counts[bounds[-1]] > 0, metric
        assert counts[bounds[0]] < counts[bounds[-1]], f"{metric}: all in the first bucket"
        assert counts[bounds[-2]] > 0, f"{metric}: all above the last bound"
