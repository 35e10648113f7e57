"""Where adapters are, what it costs to move them, and who uses them."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import THIRD, Line, Page, graph, number, rows
from queries import BOTH, PAIR, quantile, rate, select, share


def adapters() -> Page:
    """Return where adapters are, and what it costs to move them."""
    page = Page(
        "adapterhub-adapters",
        "adapterhub: adapters",
        "Adapters in memory, swaps and hit ratio, routes and fallbacks.",
        ("pair", "adapter"),
    )
    return page.part("In memory", *_residency()).part("Moves", *_moves()).part("Use", *_use())


def _residency() -> list[Builder[Panel]]:
    return [
        graph(
            "Adapters held",
            "short",
            Line(f"sum by (tier) ({select('hub_adapters_resident')})", "{{tier}}"),
            about="In slots of the device and in host memory.",
            width=THIRD,
        ),
        graph(
            "Bytes of adapters",
            "bytes",
            Line(f"sum by (tier) ({select('hub_adapter_bytes')})", "{{tier}}"),
            about="In slots of the device and in host memory.",
            width=THIRD,
        ),
        graph(
            "Hit ratio",
            "percentunit",
            Line(
                share(
                    rate("hub_adapter_cache_hits_total", by="tier"),
                    f"({rate('hub_adapter_cache_hits_total', by='tier')} + "
                    f"{rate('hub_adapter_cache_misses_total', by='tier')})",
                ),
                "{{tier}}",
            ),
            about="Adapters that were where they were needed.",
            width=THIRD,
        ),
        rows(
            "Adapters in memory",
            Line(f"sum by (adapter, version, level, pinned) ({select('hub_adapter_loaded')})"),
            about="One row each; those beyond metric_label_values are counted together as other.",
        ),
        rows(
            "What they are",
            Line(f"max by (adapter, version, digest, pair, method) ({select('hub_adapter_info')})"),
            about="Digest, pair and method of the adapters in memory.",
        ),
    ]


def _moves() -> list[Builder[Panel]]:
    return [
        graph(
            "Swaps",
            "ops",
            Line(rate("hub_adapter_swap_seconds_count", by="source"), "from {{source}}"),
            Line(rate("hub_adapter_cache_evictions_total", by="tier"), "evicted from {{tier}}"),
            about="Adapters brought into a slot, and adapters that made room.",
            width=THIRD,
        ),
        graph(
            "Time of a swap, p50 and p95",
            "s",
            Line(quantile(0.5, "hub_adapter_swap_seconds", by="source"), "p50 from {{source}}"),
            Line(quantile(0.95, "hub_adapter_swap_seconds", by="source"), "p95 from {{source}}"),
            about="Placing, and the load before it where the adapter was not in host memory.",
            width=THIRD,
        ),
        graph(
            "Time of a load, p95",
            "s",
            Line(quantile(0.95, "hub_adapter_load_seconds", by="source"), "from {{source}}"),
            Line(quantile(0.95, "hub_adapter_place_seconds"), "placing"),
            about="From the registry, or from the disk that keeps the served form.",
            width=THIRD,
        ),
        graph(
            "Failed loads",
            "ops",
            Line(rate("hub_adapter_load_failures_total", by="reason"), "{{reason}}"),
            about="By reason; a failed load fails its own requests only.",
        ),
        graph(
            "Fallbacks",
            "ops",
            Line(rate("hub_fallbacks_total", PAIR, by="pair, reason"), "{{pair}} {{reason}}"),
            about="Texts translated by another adapter than the one that was asked for.",
        ),
    ]


def _use() -> list[Builder[Panel]]:
    return [
        number(
            "Routes",
            "short",
            Line(f"max({select('hub_routes')})"),
            about="Pairs and domains with an adapter.",
        ),
        graph(
            "Output tokens by adapter",
            "short",
            Line(rate("hub_output_tokens_total", BOTH, by="pair, adapter"), "{{pair}} {{adapter}}"),
            about="Tokens a second.",
            width=18,
        ),
    ]
