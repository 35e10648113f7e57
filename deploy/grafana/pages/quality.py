"""Quality by pair and adapter: signals that need no reference."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import QUARTER, THIRD, Line, Page, graph, rows
from queries import BOTH, PAIR, mean, quantile, rate, select


def quality() -> Page:
    """Return quality by pair and adapter, as far as it can be told without references."""
    page = Page(
        "adapterhub-quality",
        "adapterhub: quality",
        "Signals of outputs that need no reference translation.",
        ("pair", "adapter"),
    )
    return (
        page.part("Signals", *_signals())
        .part("Second tries and post-edits", *_second_tries(), *_post_edits())
        .part("Golden lines", *_golden())
        .part("Canaries", *_canaries())
    )


def _golden() -> list[Builder[Panel]]:
    labels = "pair, adapter, version"
    now, then = select("hub_golden_chrf", BOTH), select("hub_golden_chrf_published", BOTH)
    at = select("hub_golden_last_success_timestamp_seconds", BOTH)
    return [
        graph(
            "chrF++ of golden lines, now and at publishing",
            "short",
            Line(f"min by ({labels}) ({now})", "now {{pair}} {{adapter}}:{{version}}"),
            Line(f"max by ({labels}) ({then})", "published {{pair}} {{adapter}}:{{version}}"),
            about="The same lines of each adapter; they should not move.",
            width=QUARTER,
        ),
        graph(
            "Golden lines that come out differently",
            "percentunit",
            Line(
                f"max by ({labels}) ({select('hub_golden_changed', BOTH)})",
                "{{pair}} {{adapter}}:{{version}}",
            ),
            about="Few are to be expected where the numbers are others than at publishing.",
            width=QUARTER,
        ),
        graph(
            "Since the last look",
            "s",
            Line(f"time() - max by ({labels}) ({at})", "{{pair}} {{adapter}}:{{version}}"),
            about="About golden_interval at most, unless there is no room for the adapter.",
            width=QUARTER,
        ),
        graph(
            "Looks at golden lines, in the last hour",
            "short",
            Line(
                f"sum by (outcome) (increase({select('hub_golden_runs_total')}[1h]))",
                "{{outcome}}",
            ),
            about="none: the adapter has no lines. postponed: there was no room for it.",
            width=QUARTER,
        ),
    ]


def _canaries() -> list[Builder[Panel]]:
    labels = "adapter, alias"
    share = f"max by ({labels}, version, stable) ({select('hub_canary_fraction')})"
    signal = select("hub_canary_signal", 'signal!="slowness"')
    return [
        rows(
            "Canaries that run",
            Line(share),
            about="The version that is tried, the one in use, and the share of the first.",
            width=THIRD,
        ),
        graph(
            "Evidence against canaries",
            "short",
            Line(f"max by ({labels}) ({select('hub_canary_evidence')})", "{{adapter}}@{{alias}}"),
            about="Logarithm to base 10, over all servers. At 2 a canary is rolled back.",
            width=THIRD,
        ),
        graph(
            "Distinct requests by arm",
            "short",
            Line(
                f"max by ({labels}, arm) ({select('hub_canary_requests')})",
                "{{adapter}}@{{alias}} {{arm}}",
            ),
            about="That count for a canary, over all servers.",
            width=THIRD,
        ),
        graph(
            "Signals by arm",
            "short",
            Line(
                f"max by ({labels}, signal, arm) ({signal})",
                "{{adapter}}@{{alias}} {{signal}} {{arm}}",
            ),
            about="Means over these requests.",
        ),
        graph(
            "Latency by arm, p50 and p95",
            "s",
            Line(quantile(0.5, "hub_canary_request_seconds", by="arm"), "p50 {{arm}}"),
            Line(quantile(0.95, "hub_canary_request_seconds", by="arm"), "p95 {{arm}}"),
            about="From acceptance to the end, the queue included.",
            width=QUARTER,
        ),
        graph(
            "Canaries that were ended",
            "short",
            Line(
                f"sum by (outcome) (increase({select('hub_canaries_ended_total')}[1h]))",
                "{{outcome}}",
            ),
            about="By the rules, in the last hour.",
            width=QUARTER,
        ),
    ]


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
