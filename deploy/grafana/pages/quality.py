"""Quality by pair and adapter: signals that need no reference."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import Line, Page, graph
from queries import BOTH, PAIR, quantile, rate, select


def quality() -> Page:
    """Return quality by pair and adapter, as far as it can be told without references."""
    page = Page(
        "adapterhub-quality",
        "adapterhub: quality",
        "Signals of outputs that need no reference translation.",
        ("pair", "adapter"),
    )
    return page.part("Signals", *_signals())


def _signals() -> list[Builder[Panel]]:
    both = "pair, adapter"
    outputs = rate("hub_mean_logprob_count", BOTH, by=both)
    return [
        graph(
            "Mean log-probability, p10 and p50",
            "short",
            Line(quantile(0.1, "hub_mean_logprob", BOTH, by=both), "p10 {{pair}} {{adapter}}"),
            Line(quantile(0.5, "hub_mean_logprob", BOTH, by=both), "p50 {{pair}} {{adapter}}"),
            about="Per token; 0 is certainty. Compare within one pair and adapter only.",
        ),
        graph(
            "Outputs with a warning",
            "percentunit",
            Line(
                "sum by (pair, adapter, flag) "
                f"(rate({select('hub_quality_flags_total', BOTH)}[$__rate_interval])) "
                f"/ on (pair, adapter) group_left () ({outputs} > 0)",
                "{{pair}} {{adapter}} {{flag}}",
            ),
            about="Share of outputs, by warning.",
        ),
        graph(
            "Length ratio, p5, p50 and p95",
            "short",
            *(
                Line(
                    quantile(level, "hub_length_ratio", PAIR, by="pair"),
                    f"p{round(100 * level)} {{{{pair}}}}",
                )
                for level in (0.05, 0.5, 0.95)
            ),
            about="Output tokens per source token, by pair.",
        ),
    ]
