"""PromQL of the panels, written the same way everywhere.

Every selector is narrowed to the servers that the dashboard's reader has chosen; `$__rate_interval`
is Grafana's, at least four scrapes long.
"""

from __future__ import annotations

SERVERS = 'job="adapterhub",instance=~"$instance"'
WINDOW = "$__rate_interval"
PAIR = 'pair=~"$pair"'
ADAPTER = 'adapter=~"$adapter"'
BOTH = f"{PAIR},{ADAPTER}"
OWN = 'grpc_service!~"grpc[.].*"'
FAULTS = 'grpc_code=~"UNKNOWN|INTERNAL|UNAVAILABLE|DEADLINE_EXCEEDED|DATA_LOSS|UNIMPLEMENTED"'


def select(metric: str, *matchers: str) -> str:
    """Return a selector."""
    return f"{metric}{{{','.join((SERVERS, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Return how fast a counter grows, summed over all labels but `by`."""
    grouping = f" by ({by}) " if by else ""
    return f"sum{grouping}(rate({select(metric, *matchers)}[{WINDOW}]))"


def share(part: str, whole: str) -> str:
    """Return a part of a whole; no data where there is no whole."""
    return f"{part} / ({whole} > 0)"


def mean(metric: str, *matchers: str, by: str = "") -> str:
    """Return the mean of a histogram's or a summary's observations."""
    total = rate(f"{metric}_sum", *matchers, by=by)
    return share(total, rate(f"{metric}_count", *matchers, by=by))


def quantile(level: float, metric: str, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({level}, {rate(f'{metric}_bucket', *matchers, by=labels)})"
