"""What the demo shows, and the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.console import note, print_table

if TYPE_CHECKING:
    from hub.demo.run import DemoResult
    from hub.demo.scrape import Scrape
    from hub.demo.traffic import Line

_DIGEST_SHOWN = len("sha256:") + 12
_ADAPTER_FACTS = (
    "pair",
    "method",
    "budget",
    "realised_fraction",
    "train_seconds",
    "chrf_base",
    "chrf_adapter",
    "exact_base",
    "exact_adapter",
    "digest",
)


def step(number: str, title: str) -> None:
    """Announce a step."""
    note(f"\n[{number}] {title}")


def print_lines(lines: Sequence[Line]) -> None:
    """Print translations with what made them and how long it took."""
    print_table(
        ("pair", "source", "translation", "adapter", "digest", ">ms", ">rows", ">adapters"),
        [
            (
                line.call.pair,
                line.source,
                line.item.text,
                line.item.adapter_version or "base",
                line.item.adapter_digest[:_DIGEST_SHOWN],
                f"{line.item.timings.total_ms:.1f}",
                str(line.item.timings.batch_rows),
                str(line.item.timings.batch_distinct_adapters),
            )
            for line in lines
        ],
    )


def print_mixing(lines: Sequence[Line], *, same: bool) -> None:
    """Say how mixed the batches were and whether that changed anything."""
    timings = [line.item.timings for line in lines]
    rows = max(timing.batch_rows for timing in timings)
    adapters = max(timing.batch_distinct_adapters for timing in timings)
    note(
        f"up to {rows} rows and {adapters} adapters shared a step; every row "
        + ("equals what it gets alone" if same else "does NOT equal what it gets alone")
    )


def print_metrics(scrape: Scrape) -> None:
    """Print requests, latency, residency, swaps and quality signals."""
    method = {"grpc_method": "TranslateText"}
    calls = "grpc_server_handling_seconds"
    rows = [
        ("calls handled", f"{scrape.total('grpc_server_handled_total', **method):.0f}"),
        *(
            (f"call latency, {share:.0%} quantile", _ms(scrape.quantile(share, calls, **method)))
            for share in (0.5, 0.95)
        ),
        ("queue, mean", _ms(scrape.mean("hub_request_queue_seconds"))),
        ("rows in a step, mean", f"{scrape.mean('hub_batch_size'):.1f}"),
        ("tokens out", f"{scrape.total('hub_output_tokens_total'):.0f}"),
        ("adapters resident", f"{scrape.total('hub_adapters_resident', tier='device'):.0f}"),
        ("loads, host memory", f"{scrape.total('hub_adapter_load_seconds_count'):.0f}"),
        ("swaps into a slot", f"{scrape.total('hub_adapter_place_seconds_count'):.0f}"),
        ("cache hits", f"{scrape.total('hub_adapter_cache_hits_total', tier='device'):.0f}"),
        ("length ratio, mean", f"{scrape.mean('hub_length_ratio'):.2f}"),
        ("quality flags", f"{scrape.total('hub_quality_flags_total'):.0f}"),
    ]
    rows += [
        (f"log-probability per token, median, {adapter}", f"{_median_of(scrape, adapter):.2f}")
        for adapter in sorted(scrape.by_label("hub_mean_logprob_count", "adapter"))
    ]
    print_table(("metric", ">value"), rows)


def print_summary(result: DemoResult, folder: Path) -> None:
    """Print the short table and the commands to go on by hand."""
    note("")
    print_table(
        ("pair", "method", ">of the base", ">train s", ">chrF++ base", ">adapter", ">exact base",
         ">adapter", "adapter version"),
        [
            (
                fact["pair"],
                fact["method"],
                f"{fact['realised_fraction']:.3%}",
                f"{fact['train_seconds']:.0f}",
                *(
                    f"{fact[name]:.1f}"
                    for name in ("chrf_base", "chrf_adapter", "exact_base", "exact_adapter")
                ),
                fact["ref"],
            )
            for fact in result.adapters
        ],
    )  # fmt: skip
    registry = folder / "registry"
    first = result.adapters[0]
    note(f"done in {result.seconds:.0f} s; go on by hand:")
    note(f"  hub adapters list --registry {registry}")
    note(f"  hub serve --registry {registry}")
    note(f'  hub translate --pair {first["pair"]} --adapter {first["ref"]} "July 4, 2026"')
    note(f"  hub train --pair en-nl --budget 0.01 --registry {registry}")


def to_json(result: DemoResult) -> dict[str, Any]:
    """Return the result as plain data."""
    return {
        "adapters": [{name: fact[name] for name in _ADAPTER_FACTS} for fact in result.adapters],
        "mixed_equals_alone": result.mixed_equals_alone,
        "translations": [
            {
                "source": line.source,
                "target": line.item.text,
                "adapter": line.item.adapter_version or None,
                "digest": line.item.adapter_digest or None,
                "ms": round(line.item.timings.total_ms, 3),
            }
            for line in result.lines
        ],
        "seconds": round(result.seconds, 1),
    }


def _median_of(scrape: Scrape, adapter: str) -> float:
    return scrape.quantile(0.5, "hub_mean_logprob", adapter=adapter)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
