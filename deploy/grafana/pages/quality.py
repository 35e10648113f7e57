"""Quality by pair and adapter: signals that need no reference."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import Line, Page, graph
from queries import BOTH, PAIR, mean, quantile, rate, select


def quality() -> Page:
    """Return quality by pair and adapter, as far as it can be told without references."""
    page = Page(
        "adapterhub-quality",
        "adapterhub: quality",
        "Signals of outputs that need no reference translation.",
        ("pair", "adapter"),
    )
    page.part("Signals", *_signals())
    return page.part("Second tries and post-edits", *_second_tries(), *_post_edits())


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
            "z-score of the log-probability, p10 and p50",
            "short",
            Line(quantile(0.1, "hub_logprob_zscore", BOTH, by=both), "p10 {{pair}} {{adapter}}"),
            Line(quantile(0.5, "hub_logprob_zscore", BOTH, by=both), "p50 {{pair}} {{adapter}}"),
            about="Of a sentence, against the adapter's own dev set: 0 is usual, in standard "
            "deviations. Comparable across adapters; absent for those that do not know theirs.",
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


def _second_tries() -> list[Builder[Panel]]:
    both = "pair, adapter"
    outputs = rate("hub_mean_logprob_count", BOTH, by=both)
    tries = rate("hub_second_tries_total", BOTH, by=f"{both}, outcome")
    return [
        graph(
            "Sentences translated a second time",
            "percentunit",
            Line(
                f"{tries} / on (pair, adapter) group_left () ({outputs} > 0)",
                "{{pair}} {{adapter}} {{outcome}}",
            ),
            about="Per text, by what became of it: kept, discarded (as bad), or failed (no room or "
            "no time). The adapter is the one whose translation was bad.",
        ),
    ]


def _post_edits() -> list[Builder[Panel]]:
    both = "pair, adapter"
    return [
        graph(
            "HTER, mean and p50",
            "percentunit",
            Line(mean("hub_hter", BOTH, by=both), "mean {{pair}} {{adapter}}"),
            Line(quantile(0.5, "hub_hter", BOTH, by=both), "p50 {{pair}} {{adapter}}"),
            about="Edits per word from a translation to its post-edit.",
        ),
        graph(
            "Post-edits",
            "cpm",
            Line(f"60 * {rate('hub_post_edits_total', BOTH, by=both)}", "{{pair}} {{adapter}}"),
            Line(f"60 * {rate('hub_hter_unmeasured_total', by='reason')}", "no HTER: {{reason}}"),
            about="Stored, and those without an HTER because they are too long or too many.",
        ),
    ]
