"""Quality by pair and adapter: signals, post-edits, golden lines, canaries."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import THIRD, Line, Page, graph
from queries import ADAPTER, BOTH, PAIR, mean, quantile, rate, select, share


def quality() -> Page:
    """Return quality by pair and adapter, as far as it can be told without references."""
    page = Page(
        "adapterhub-quality",
        "adapterhub: quality",
        "Signals without references, post-edits, golden lines and canaries.",
        ("pair", "adapter"),
    )
    return (
        page.part("Signals", *_signals())
        .part("References", *_references())
        .part("Canaries", *_canaries())
    )


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
            "Outputs two standard deviations below the dev set",
            "percentunit",
            Line(
                share(
                    rate("hub_mean_logprob_z_bucket", BOTH, 'le="-2.0"', by=both),
                    rate("hub_mean_logprob_z_count", BOTH, by=both),
                ),
                "{{pair}} {{adapter}}",
            ),
            about="By log-probability; 2.3 % where texts are like the dev set and scores normal.",
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
        graph(
            "Second tries",
            "ops",
            Line(
                rate("hub_second_tries_total", BOTH, by="pair, adapter, outcome"),
                "{{pair}} {{adapter}} {{outcome}}",
            ),
            about="Outputs that were made again because of their signals, by outcome.",
        ),
    ]


def _references() -> list[Builder[Panel]]:
    return [
        graph(
            "Post-editing (HTER)",
            "percentunit",
            Line(mean("hub_hter", BOTH, by="pair, adapter"), "{{pair}} {{adapter}}"),
            about="Mean edits per word of what translators sent back.",
            width=THIRD,
        ),
        graph(
            "Golden lines, chrF++",
            "short",
            Line(f"max by (adapter) ({select('hub_golden_score', ADAPTER)})", "{{adapter}} now"),
            Line(
                f"max by (adapter) ({select('hub_golden_published_score', ADAPTER)})",
                "{{adapter}} when published",
            ),
            about="The adapter's own dev lines, translated again on a schedule.",
            width=THIRD,
        ),
        graph(
            "Age of the last golden run",
            "s",
            Line(
                "time() - max by (adapter) "
                f"({select('hub_golden_last_success_timestamp_seconds', ADAPTER)})",
                "{{adapter}}",
            ),
            about="Time since the golden lines were last translated without an error.",
            width=THIRD,
        ),
    ]


def _canaries() -> list[Builder[Panel]]:
    by = "adapter, arm"
    return [
        graph(
            "Texts by arm",
            "ops",
            Line(rate("hub_canary_items_total", ADAPTER, by=by), "{{adapter}} {{arm}}"),
            about="While an alias is split between two versions.",
            width=THIRD,
        ),
        graph(
            "Mean log-probability by arm",
            "short",
            Line(
                f"max by ({by}) ({select('hub_canary_mean_logprob', ADAPTER)})",
                "{{adapter}} {{arm}}",
            ),
            about="Since the split began.",
            width=THIRD,
        ),
        graph(
            "Mean time of a text by arm",
            "s",
            Line(mean("hub_canary_seconds", ADAPTER, by=by), "{{adapter}} {{arm}}"),
            about="From acceptance to translation.",
            width=THIRD,
        ),
    ]
