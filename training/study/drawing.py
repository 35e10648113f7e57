"""How a report draws: the same colours, dashes, shapes, axes and whiskers in every picture.

Methods differ by dash and by shape of point as well as by colour (Okabe & Ito's palette, which is
told apart by people who do not see red and green). Whiskers are 95 % intervals of the hierarchical
bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from training.study.axes import FULL
from training.study.estimate import Estimate
from training.study.results import Results, System

# Okabe & Ito (2008), darkest first so that grey tones differ too.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 1], [1, 4])
SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke")
SCORE: Final = "chrF++ on unseen items"
COLUMNS: Final = 3


@dataclass(frozen=True)
class Picture:
    """A chart with what a reader must know to read it.

    Attributes:
        key: Names it in file names.
        caption: Says what is shown, from what, and what to look for.
    """

    key: str
    title: str
    caption: str
    chart: Any


SIZE: Final = {"width": 250, "height": 190}


def values(rows: Iterable[dict[str, Any]]) -> Any:
    """Return rows as the data of a chart, written into it."""
    import altair as alt

    return alt.InlineData(values=list(rows))


def band(estimate: Estimate) -> dict[str, float]:
    """Return a value and the ends of its interval, for a chart."""
    low, high = estimate.interval()
    return {
        "value": round(estimate.value, 3),
        "low": round(low, 3),
        "high": round(high, 3),
    }


def quality(system: System) -> dict[str, Any]:
    """Return a system's quality, for a chart."""
    return {"pair": system.pair, "base": system.base, "method": system.method} | band(
        system.quality
    )


def score_axis(values: Sequence[float]) -> Any:
    """Return a score axis around the values; it does not start at zero, as a position may."""
    import altair as alt

    low, high = min(values), max(values)
    room = max(1.0, 0.06 * (high - low))
    return alt.Scale(domain=[max(0.0, low - room), min(100.0, high + room)], nice=False, zero=False)


def encoded(chart: Any, order: Sequence[str], title: str = "method") -> Any:
    """Tell methods apart by colour and by shape."""
    return chart.encode(color=_colour(order, title), shape=_shape(order, title))


def _colour(order: Sequence[str], title: str) -> Any:
    return _told_apart("Color", order, title, COLOURS)


def _shape(order: Sequence[str], title: str) -> Any:
    return _told_apart("Shape", order, title, SHAPES)


def _told_apart(channel: str, order: Sequence[str], title: str, looks: Sequence[Any]) -> Any:
    """Return a channel that gives each method a look of its own; looks are used in turn."""
    import altair as alt

    chosen = [looks[index % len(looks)] for index in range(len(order))]
    scale = alt.Scale(domain=list(order), range=chosen)
    return getattr(alt, channel)("method:N", title=title, scale=scale)


def lines(data: Any, x: Any, y: Any, order: Sequence[str]) -> Any:
    """Return lines with points and whiskers, one line for each method."""
    import altair as alt

    colour, shape = _colour(order, "method"), _shape(order, "method")
    dash = _told_apart("StrokeDash", order, "method", DASHES)
    line = alt.Chart(data).mark_line(strokeWidth=1.6)
    whisker = alt.Chart(data).mark_rule(strokeWidth=1)
    point = alt.Chart(data).mark_point(filled=True, size=55, opacity=1)
    return alt.layer(
        line.encode(x=x, y=y, color=colour, strokeDash=dash),
        whisker.encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        point.encode(x=x, y=y, color=colour, shape=shape),
    )


def rules(rows: Sequence[dict[str, Any]], y: Any) -> Any:
    """Return horizontal lines named in the right margin, the upper name above the lower one."""
    import altair as alt

    layers = []
    for rank, row in enumerate(sorted(rows, key=lambda row: -row["value"])):
        full = row["method"] == FULL
        data = values([row | {"name": "full" if full else "base"}])
        dash = [1, 0] if full else [1, 3]
        rule = alt.Chart(data).mark_rule(strokeDash=dash, color="#444", strokeWidth=1.4).encode(y=y)
        text = alt.Chart(data).mark_text(
            align="left", dx=5, dy=6 if rank else -5, color="#222", fontSize=10
        )
        layers += [rule, text.encode(y=y, x=alt.value(SIZE["width"]), text="name:N")]
    return alt.layer(*layers)


def grid(panels: Sequence[Any]) -> Any:
    """Return panels in rows."""
    import altair as alt

    return alt.concat(*panels, columns=COLUMNS, spacing=38)


def ends(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Return the ends of all intervals."""
    return [row[end] for row in rows for end in ("low", "high")]


def panel_title(results: Results, base: str, pair: str) -> str:
    """Say which pair and base a panel is about."""
    far = results.distances.get(pair)
    return f"{pair}{'' if far is None else f' (distance {far:.2f})'}, base {base}"


def named(rows: Sequence[dict[str, Any]], name: str) -> bool:
    """Return whether a method is among the rows."""
    return any(row["method"] == name for row in rows)
