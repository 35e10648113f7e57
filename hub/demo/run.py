"""The demo's story, step by step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.client import HubClient
from hub.demo import report
from hub.demo.commands import serve_command, train, unseen_segments
from hub.demo.scrape import scrape
from hub.demo.server import Addresses, running_server
from hub.demo.traffic import (
    Call,
    Line,
    adapters_act,
    mixed,
    send_at_once,
    texts_alone,
)

FIRST = ("--pair", "en-ko", "--budget", "0.01")
# German is strong in the base, so that little is left to gain: the gate that refuses an adapter
# below its base is waived here, and both scores are shown.
SECOND = ("--pair", "en-de", "--method", "lora", "--budget", "0.005", "--force")
QUANTIZATION = "int8"
_BASE_PAIR = "en-fr"
_SHOWN_KINDS = ("date", "list", "money_by_name", "compound_unit")
_SAMPLED = 200


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Attributes:
        adapters: The JSON reports of the two trainings.
        lines: The mixed calls' texts with their translations.
        mixed_equals_alone: Rows of both adapters shared a step, an adapter said something else
            than the base to the same source, and each text got there what it gets alone.
        seconds: The whole demo.
    """

    adapters: Sequence[dict[str, Any]]
    lines: Sequence[Line]
    mixed_equals_alone: bool
    seconds: float


def run_demo(folder: Path) -> DemoResult:
    """Train two adapters of different kinds, serve them, translate, measure; print all of it.

    Args:
        folder: Keeps the demo's registry and runs.

    Raises:
        HubError: A step failed.
    """
    started = time.perf_counter()
    report.step("1/5", f"hub train {' '.join(FIRST)}")
    first = train(FIRST, folder)
    report.step("2/5", f"hub train {' '.join(SECOND)}")
    second = train(SECOND, folder)
    report.step("3/5", f"hub serve --quantization {QUANTIZATION}, on a free loopback port")
    with running_server(serve_command(folder, QUANTIZATION)) as addresses:
        lines, same = _translate(addresses, first["ref"], second["ref"])
        report.step("5/5", f"reading http://{addresses.metrics}/metrics back")
        report.print_metrics(scrape(addresses.metrics))
    result = DemoResult((first, second), lines, same, time.perf_counter() - started)
    report.print_summary(result, folder)
    return result


def _translate(addresses: Addresses, first: str, second: str) -> tuple[list[Line], bool]:
    texts = _unseen_texts()
    calls = [
        Call("en-ko", first, texts[:2]),
        Call("en-ko", first, texts[2:]),
        Call("en-de", second, texts[:2]),
        Call("en-de", second, texts[2:]),
        Call("en-ko", "", texts[:2]),
        Call(_BASE_PAIR, "", texts[2:]),
    ]
    with HubClient(addresses.grpc) as client:
        report.step("4/5", "one TranslateText call")
        report.print_lines(Call("en-ko", first, texts).send(client))
        report.step("4/5", f"{len(calls)} concurrent calls: base, {first} and {second} mixed")
        lines = send_at_once(client, calls)
        report.print_lines(lines)
        alone = texts_alone(client, calls)
    same = [line.item.text for line in lines] == alone
    report.print_mixing(lines, same=same)
    return lines, same and mixed(lines) and adapters_act(lines)


def _unseen_texts() -> tuple[str, ...]:
    """Return one test text of each shown kind."""
    segments = unseen_segments("en-ko", _SAMPLED)
    return tuple(
        next(segment["source"] for segment in segments if segment["kind"] == kind)
        for kind in _SHOWN_KINDS
    )
