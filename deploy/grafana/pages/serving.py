"""Calls, latency by stage and throughput."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import THIRD, Line, Page, distribution, graph
from queries import FAULTS, OWN, PAIR, mean, quantile, rate, select, share


def serving() -> Page:
    """Return what a server does and how long it takes."""
    page = Page(
        "adapterhub-serving",
        "adapterhub: serving",
        "Calls, latency by stage and throughput.",
        ("pair",),
    )
    return (
        page.part("Calls", *_calls())
        .part("Latency", *_latency())
        .part("Queue and batch", *_queue())
        .part("Throughput", *_throughput())
    )


def _calls() -> list[Builder[Panel]]:
    handled = rate("grpc_server_handled_total", OWN, by="grpc_method")
    return [
        graph(
            "Calls",
            "reqps",
            Line(handled, "{{grpc_method}}"),
            about="Calls that ended, by method.",
            width=THIRD,
        ),
        graph(
            "Share of failed calls",
            "percentunit",
            Line(
                share(
                    f"({rate('grpc_server_handled_total', OWN, FAULTS, by='grpc_method')} "
                    f"or 0 * {handled})",
                    handled,
                ),
                "{{grpc_method}}",
            ),
            about="Calls that failed by the server's fault, deadlines included.",
            width=THIRD,
        ),
        graph(
            "Refused or failed, by reason",
            "ops",
            Line(rate("hub_rejected_total", by="reason"), "{{reason}}"),
            about="Calls and single texts; the reason is that of the error.",
            width=THIRD,
        ),
        graph(
            "Duration of calls, p50, p95, p99",
            "s",
            *(
                Line(
                    quantile(level, "grpc_server_handling_seconds", by="grpc_method"),
                    f"p{round(100 * level)} {{{{grpc_method}}}}",
                )
                for level in (0.5, 0.95, 0.99)
            ),
            about="By method. Points are exemplars: single calls that were traced.",
        ),
        distribution(
            "Duration of translating calls",
            "s",
            rate("grpc_server_handling_seconds_bucket", 'grpc_method=~".*TranslateText"', by="le"),
            about="Calls a second in each bucket.",
        ),
    ]


def _latency() -> list[Builder[Panel]]:
    return [
        graph(
            "Mean time by stage",
            "s",
            Line(mean("hub_stage_seconds", by="stage"), "{{stage}}"),
            about="Route and tokenize per call, encode and decode per sentence.",
        ),
        graph(
            "Queue and computation, p95",
            "s",
            Line(quantile(0.95, "hub_request_queue_seconds", PAIR), "queue"),
            Line(quantile(0.95, "hub_stage_seconds", 'stage="encode"'), "encode"),
            Line(quantile(0.95, "hub_stage_seconds", 'stage="decode"'), "decode"),
            about="Where a slow text spends its time: waiting, or in the engine.",
        ),
        graph(
            "First sentence of a stream, p50 and p95",
            "s",
            Line(quantile(0.5, "hub_time_to_first_segment_seconds", PAIR), "p50"),
            Line(quantile(0.95, "hub_time_to_first_segment_seconds", PAIR), "p95"),
            about="From the call to its first finished sentence.",
        ),
        graph(
            "Time per output token, p50 and p95",
            "s",
            Line(quantile(0.5, "hub_seconds_per_output_token", PAIR, by="pair"), "p50 {{pair}}"),
            Line(quantile(0.95, "hub_seconds_per_output_token", PAIR, by="pair"), "p95 {{pair}}"),
            about="Decoding only, by pair.",
        ),
    ]


def _queue() -> list[Builder[Panel]]:
    return [
        graph(
            "Running and waiting",
            "short",
            Line(f"sum({select('hub_requests_running')})", "running"),
            Line(f"sum({select('hub_requests_waiting')})", "waiting"),
            about="Sentences in the batch and in the queue.",
            width=THIRD,
        ),
        graph(
            "Batch",
            "short",
            Line(mean("hub_batch_size"), "rows"),
            Line(mean("hub_batch_distinct_adapters"), "distinct adapters"),
            about="Means of a step.",
            width=THIRD,
        ),
        graph(
            "Steps, p50 and p95",
            "s",
            Line(quantile(0.5, "hub_step_seconds"), "p50"),
            Line(quantile(0.95, "hub_step_seconds"), "p95"),
            Line(quantile(0.95, "hub_step_delay_seconds"), "p95 of the wait between steps"),
            about="The wait holds placing of adapters and encoding of sources that join.",
            width=THIRD,
        ),
    ]


def _throughput() -> list[Builder[Panel]]:
    return [
        graph(
            "Tokens",
            "short",
            Line(rate("hub_input_tokens_total", PAIR), "source tokens/s"),
            Line(rate("hub_output_tokens_total", PAIR), "output tokens/s"),
            about="Over all adapters.",
            width=THIRD,
        ),
        graph(
            "Output tokens by pair",
            "short",
            Line(rate("hub_output_tokens_total", PAIR, by="pair"), "{{pair}}"),
            about="Tokens a second.",
            width=THIRD,
        ),
        graph(
            "Length of texts, p95",
            "short",
            Line(quantile(0.95, "hub_request_input_tokens"), "source"),
            Line(quantile(0.95, "hub_request_output_tokens"), "output"),
            about="In tokens.",
            width=THIRD,
        ),
    ]
