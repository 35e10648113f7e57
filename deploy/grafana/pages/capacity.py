"""Tenants, memory and processor."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel
from panels import HALF, QUARTER, Line, Page, graph, rows
from queries import rate, select


def capacity() -> Page:
    """Return who uses the server, and what it uses."""
    page = Page(
        "adapterhub-capacity",
        "adapterhub: tenants and capacity",
        "Tenants, memory and processor.",
    )
    return page.part("Tenants", *_tenants()).part("Process", *_process())


def _tenants() -> list[Builder[Panel]]:
    return [
        graph(
            "Calls by tenant",
            "reqps",
            Line(rate("hub_tenant_requests_total", by="tenant, outcome"), "{{tenant}} {{outcome}}"),
            about="By outcome.",
        ),
        graph(
            "Tokens by tenant",
            "short",
            Line(
                rate("hub_tenant_tokens_total", by="tenant, direction"), "{{tenant}} {{direction}}"
            ),
            about="Tokens a second, input and output.",
        ),
    ]


def _process() -> list[Builder[Panel]]:
    memory = select("process_resident_memory_bytes")
    limit = select("hub_memory_limit_bytes")
    return [
        graph(
            "Memory",
            "bytes",
            Line(memory, "resident {{instance}}"),
            Line(limit, "limit {{instance}}"),
            Line(select("hub_base_model_bytes"), "base model {{instance}}"),
            Line(f"sum by (instance) ({select('hub_adapter_bytes')})", "adapters {{instance}}"),
            about="On a GPU, base model and slots are in its memory, not in the resident memory.",
        ),
        graph(
            "Processor",
            "short",
            Line(f"rate({select('process_cpu_seconds_total')}[$__rate_interval])", "{{instance}}"),
            about="Cores in use.",
            width=QUARTER,
        ),
        graph(
            "Open files",
            "short",
            Line(select("process_open_fds"), "{{instance}}"),
            about="Descriptors; steady under steady load.",
            width=QUARTER,
        ),
        graph(
            "Reloads",
            "ops",
            Line(rate("hub_reloads_total", by="what, outcome"), "{{what}} {{outcome}}"),
            about="Settings, routes and files that were read again while serving.",
        ),
        rows(
            "Base model",
            Line(f"max by (instance, name, digest, quantization) ({select('hub_base_info')})"),
            about="What each server has loaded.",
            width=HALF,
        ),
    ]
