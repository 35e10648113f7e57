"""The pictures of a report, as Vega-Lite: readable in grey, with axes that hide nothing.

Methods differ by dash and by shape of point as well as by colour (Okabe & Ito's palette, which is
told apart by people who do not see red and green). Scores of one chart share one axis. Whiskers are
95 % intervals of the hierarchical bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from training.study.axes import BASE, FULL
from training.study.distance import MEASURE
from training.study.resampling import Estimate, difference
from training.study.results import Results, System

if TYPE_CHECKING:
    import altair as alt

    from training.study.file import StudyFile

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
    chart: alt.Chart


def pictures(study: StudyFile, results: Results) -> list[Picture]:
    """Return the pictures that the grid has data for."""
    makers = (_budget, _distance, _bases, _data, _lengths, _cost)
    return [found for make in makers if (found := make(study, results)) is not None]


def _band(estimate: Estimate) -> dict[str, float]:
    low, high = estimate.interval()
    return {
        "value": round(estimate.value, 3),
        "low": round(low, 3),
        "high": round(high, 3),
    }


def _quality(system: System) -> dict[str, Any]:
    return {"pair": system.pair, "base": system.base, "method": system.method} | _band(
        system.quality
    )


def _axis(values: Sequence[float]) -> alt.Scale:
    """Return a score axis around the values; it does not start at zero, as a position may."""
    import altair as alt

    low, high = min(values), max(values)
    room = max(1.0, 0.06 * (high - low))
    return alt.Scale(domain=[max(0.0, low - room), min(100.0, high + room)], nice=False, zero=False)


def _encoded(chart: alt.Chart, order: Sequence[str], title: str = "method") -> alt.Chart:
    """Tell methods apart by colour, shape and dash alike."""
    import altair as alt

    count = len(order)
    keep = list(order)
    return chart.encode(
        color=alt.Color(
            "method:N",
            title=title,
            scale=alt.Scale(domain=keep, range=list(COLOURS[:count])),
        ),
        shape=alt.Shape(
            "method:N", title=title, scale=alt.Scale(domain=keep, range=list(SHAPES[:count]))
        ),
    )


def _lines(data: alt.Data, x: Any, y: Any, order: Sequence[str]) -> alt.LayerChart:
    """Return lines with points and whiskers, one line for each method."""
    import altair as alt

    keep, count = list(order), len(order)
    colour = alt.Color(
        "method:N", title="method", scale=alt.Scale(domain=keep, range=list(COLOURS[:count]))
    )
    dash = alt.StrokeDash(
        "method:N",
        title="method",
        scale=alt.Scale(domain=keep, range=[list(each) for each in DASHES[:count]]),
    )
    shape = alt.Shape(
        "method:N", title="method", scale=alt.Scale(domain=keep, range=list(SHAPES[:count]))
    )
    line = (
        alt.Chart(data).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour, strokeDash=dash)
    )
    whisker = (
        alt.Chart(data)
        .mark_rule(strokeWidth=1)
        .encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour)
    )
    point = (
        alt.Chart(data)
        .mark_point(filled=True, size=55, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape)
    )
    return line + whisker + point


def _budget(study: StudyFile, results: Results) -> Picture | None:
    """Quality against budget, with full fine-tuning and the base as lines."""
    import altair as alt

    train = max(results.sizes, default=0)
    systems = [s for s in results.systems if s.is_adapter and s.train == train]
    if not systems:
        return None
    order = [name for name in study.methods if any(s.method == name for s in systems)]
    rows = [_quality(s) | {"fraction": s.fraction} for s in systems]
    levels = list(_levels(results, train))
    y = alt.Y("value:Q", title=SCORE, scale=_axis(_ends(rows + levels)))
    x = alt.X(
        "fraction:Q",
        title="trained share of the base's parameters (log scale)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~%", labelOverlap=True),
    )
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            flat = [r for r in levels if (r["base"], r["pair"]) == (base, pair)]
            if own:
                drawn = _lines(alt.Data(values=own), x, y, order) + _rules(flat, y)
                panels.append(drawn.properties(title=_panel(results, base, pair), **_SIZE))
    return Picture(
        "budget",
        "Quality against budget",
        f"chrF++ of adapters trained on {train:,} segments. The solid horizontal line is full "
        "fine-tuning on the same data, the dotted one the untrained base. Whiskers: 95 % "
        "intervals over seeds and test items. Score axes are shared and do not start at 0.",
        _grid(panels),
    )


_SIZE: Final = {"width": 250, "height": 190}


def _panel(results: Results, base: str, pair: str) -> str:
    far = results.distances.get(pair)
    return f"{pair}{'' if far is None else f' (distance {far:.2f})'}, base {base}"


def _ends(rows: Sequence[dict[str, Any]]) -> list[float]:
    return [row[end] for row in rows for end in ("low", "high")]


def _levels(results: Results, train: int) -> Iterator[dict[str, Any]]:
    for system in results.systems:
        if system.method == BASE or (system.method == FULL and system.train == train):
            yield _quality(system)


def _rules(rows: Sequence[dict[str, Any]], y: Any) -> alt.LayerChart:
    """Return horizontal lines with their names at the left end."""
    import altair as alt

    layers = []
    for row in rows:
        full = row["method"] == FULL
        data = alt.Data(values=[row | {"name": "full fine-tuning" if full else "base"}])
        dash = [1, 0] if full else [1, 3]
        rule = alt.Chart(data).mark_rule(strokeDash=dash, color="#444", strokeWidth=1.4).encode(y=y)
        text = (
            alt.Chart(data)
            .mark_text(align="left", dx=3, dy=-6 if full else 8, color="#444", fontSize=9)
            .encode(y=y, x=alt.value(0), text="name:N")
        )
        layers += [rule, text]
    return alt.layer(*layers)


def _grid(panels: Sequence[Any]) -> Any:
    import altair as alt

    return alt.concat(*panels, columns=COLUMNS)


def _distance(study: StudyFile, results: Results) -> Picture | None:
    """The gap to full fine-tuning against language distance."""
    import altair as alt

    train, asked = max(results.sizes, default=0), study.claims.method
    rows = []
    for system in results.systems:
        gap = results.gap(system) if system.method == asked and system.train == train else None
        far = results.distances.get(system.pair)
        if gap is not None and far is not None:
            budget = "fixed size" if system.budget is None else f"{100 * system.budget:g} %"
            rows.append(
                {"distance": far, "method": budget, "base": system.base, "pair": system.pair}
                | _band(gap)
            )
    if len({row["distance"] for row in rows}) < 2:
        return None
    order = list(dict.fromkeys(row["method"] for row in rows))
    panels = []
    for base in results.bases:
        own = [row for row in rows if row["base"] == base]
        if own:
            panels.append(_scatter(own, order, base))
    return Picture(
        "distance",
        "Gap to full fine-tuning against language distance",
        f"chrF++ of full fine-tuning less that of {asked}, by budget: above 0 full fine-tuning is "
        f"better. {train:,} segments. Distance: {MEASURE} between source and target (see the page "
        "on studies for what it is and is not). Points of a pair stand side by side.",
        alt.hconcat(*panels),
    )


def _scatter(rows: Sequence[dict[str, Any]], order: Sequence[str], base: str) -> Any:
    import altair as alt

    step = 0.004
    placed = [
        row | {"at": row["distance"] + step * (order.index(row["method"]) - (len(order) - 1) / 2)}
        for row in rows
    ]
    data = alt.Data(values=placed)
    x = alt.X("at:Q", title=MEASURE, scale=alt.Scale(zero=False, padding=18))
    y = alt.Y("value:Q", title="full less adapter, chrF++")
    points = _encoded(
        alt.Chart(data).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y),
        order,
        "budget",
    )
    bars = alt.Chart(data).mark_rule().encode(x=x, y="low:Q", y2="high:Q")
    zero = alt.Chart(alt.Data(values=[{"y": 0}])).mark_rule(color="#444", strokeDash=[4, 3])
    tops: dict[str, float] = {}
    for row in placed:
        tops[row["pair"]] = max(row["high"], tops.get(row["pair"], row["high"]))
    names = [
        {"pair": pair, "value": top, "at": next(r["distance"] for r in rows if r["pair"] == pair)}
        for pair, top in tops.items()
    ]
    labels = (
        alt.Chart(alt.Data(values=names))
        .mark_text(dy=-9, fontSize=10, color="#222")
        .encode(x="at:Q", y="value:Q", text="pair:N")
    )
    layered = bars + points + zero.encode(y="y:Q") + labels
    return layered.properties(width=380, height=260, title=f"base {base}")


def _bases(study: StudyFile, results: Results) -> Picture | None:
    """A larger base with an adapter against a smaller one, fine-tuned."""
    import altair as alt

    train, asked, bases = max(results.sizes, default=0), study.claims, results.bases
    if len(bases) < 2:
        return None
    rows = []
    for system in results.systems:
        claimed = system.method == asked.method and system.budget in (asked.budget, None)
        if system.method == BASE or (system.train == train and (claimed or system.method == FULL)):
            name = {BASE: "untrained", FULL: "full fine-tuning"}.get(
                system.method, f"{asked.method} {100 * asked.budget:g} %"
            )
            rows.append(_quality(system) | {"method": name, "system": f"{system.base}: {name}"})
    order = ["untrained", f"{asked.method} {100 * asked.budget:g} %", "full fine-tuning"]
    lines = [f"{base}: {name}" for base in bases for name in order]
    panels = []
    for pair in results.pairs:
        data = alt.Data(values=[row for row in rows if row["pair"] == pair])
        y = alt.Y("system:N", title=None, sort=lines, scale=alt.Scale(domain=lines))
        x = alt.X("value:Q", title=SCORE, scale=_axis(_ends(rows)))
        bars = alt.Chart(data).mark_rule().encode(x="low:Q", x2="high:Q", y=y)
        points = _encoded(
            alt.Chart(data).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y), order
        )
        panels.append((bars + points).properties(width=230, height=150, title=pair))
    sizes = ", ".join(f"{base} has {results.parameters(base) / 1e6:.3g} M" for base in bases)
    return Picture(
        "bases",
        "A larger base with an adapter against a smaller one, fine-tuned",
        f"Bases from small to large ({sizes} parameters), {train:,} segments.",
        _grid(panels),
    )


def _data(study: StudyFile, results: Results) -> Picture | None:
    """Quality against data size, with the sizes between which lines cross."""
    import altair as alt

    if len(results.sizes) < 2:
        return None
    asked = study.claims
    rows = []
    for system in results.systems:
        claimed = system.is_adapter and system.budget in (asked.budget, None)
        if system.method == FULL or claimed:
            name = "full fine-tuning" if system.method == FULL else system.method
            rows.append(_quality(system) | {"method": name, "train": system.train})
    order = ["full fine-tuning", *(name for name in study.methods if _named(rows, name))]
    levels = [row for row in _levels(results, 0) if row["method"] == BASE]
    x = alt.X(
        "train:Q",
        title="training segments (log scale)",
        scale=alt.Scale(type="log", padding=15),
        axis=alt.Axis(values=results.sizes, format=",d"),
    )
    y = alt.Y("value:Q", title=SCORE, scale=_axis(_ends(rows + levels)))
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            flat = [r for r in levels if (r["base"], r["pair"]) == (base, pair)]
            if len({row["train"] for row in own}) > 1:
                drawn = _lines(alt.Data(values=own), x, y, order) + _rules(flat, y)
                panels.append(drawn.properties(title=_panel(results, base, pair), **_SIZE))
    if not panels:
        return None
    return Picture(
        "data",
        "Quality against data size",
        f"Adapters at {100 * asked.budget:g} % and full fine-tuning. Where its line crosses an "
        "adapter's, full fine-tuning begins to pay; the table of crossovers below has the sizes.",
        _grid(panels),
    )


def _named(rows: Sequence[dict[str, Any]], name: str) -> bool:
    return any(row["method"] == name for row in rows)


def _lengths(study: StudyFile, results: Results) -> Picture | None:
    """Gain over the base by the length of the source."""
    import altair as alt

    from training.study.lengths import gains_by_length

    rows = [
        {"length": f"{each.span} ({each.items})", "place": each.low, "pair": each.pair,
         "base": each.base, "method": each.system} | _band(each.gain)
        for each in gains_by_length(study, results)
    ]  # fmt: skip
    if not rows:
        return None
    order = list(dict.fromkeys(row["method"] for row in rows))
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            if own:
                panels.append(_by_length(own, order).properties(title=_panel(results, base, pair)))
    return Picture(
        "lengths",
        "Gain over the base by source length",
        "chrF++ above the untrained base on test items of that length; in brackets, how many there "
        "are. Lengths in words, of Chinese, Japanese and their kind in characters. Lengths with "
        "fewer than ten items are left out.",
        alt.concat(*panels, columns=COLUMNS),
    )


def _by_length(rows: Sequence[dict[str, Any]], order: Sequence[str]) -> Any:
    import altair as alt

    spans = [row["length"] for row in sorted(rows, key=lambda row: row["place"])]
    data = alt.Data(values=list(rows))
    x = alt.X("length:N", title="source length (items)", sort=list(dict.fromkeys(spans)),
              axis=alt.Axis(labelAngle=0))  # fmt: skip
    shift = alt.XOffset("method:N", sort=list(order))
    bars = alt.Chart(data).mark_rule().encode(x=x, xOffset=shift, y="low:Q", y2="high:Q")
    points = _encoded(
        alt.Chart(data)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(x=x, xOffset=shift, y=alt.Y("value:Q", title="chrF++ above the base")),
        order,
    )
    zero = alt.Chart(alt.Data(values=[{"y": 0}])).mark_rule(color="#444").encode(y="y:Q")
    return (zero + bars + points).properties(width=250, height=180)


def _cost(study: StudyFile, results: Results) -> Picture | None:
    """Training time and stored bytes against the gap to full fine-tuning."""
    import altair as alt

    train = max(results.sizes, default=0)
    rows = []
    for system in results.systems:
        if system.trained and system.train == train:
            name = "full fine-tuning" if system.method == FULL else system.method
            rows.append(
                {
                    "method": name,
                    "base": system.base,
                    "pair": system.pair,
                    "value": round(system.quality.value, 2),
                    "seconds": system.mean("train_seconds"),
                    "megabytes": (system.mean("adapter_bytes") or 0) / 1e6,
                }
            )
    if not rows:
        return None
    order = ["full fine-tuning", *(name for name in study.methods if _named(rows, name))]
    data = alt.Data(values=rows)
    y = alt.Y("value:Q", title=SCORE, scale=_axis([row["value"] for row in rows]))
    panels = []
    for fact, title in (
        ("seconds", "seconds of updates (log scale)"),
        ("megabytes", "megabytes stored (log scale)"),
    ):
        x = alt.X(f"{fact}:Q", title=title, scale=alt.Scale(type="log", padding=10))
        points = alt.Chart(data).mark_point(size=55, filled=False, strokeWidth=1.6)
        panels.append(_encoded(points.encode(x=x, y=y), order).properties(width=360, height=240))
    return Picture(
        "cost",
        "Quality against training time and stored bytes",
        f"One point for each base, pair, method and budget on {train:,} segments, mean over seeds. "
        "Times are of this machine under whatever else it did.",
        alt.hconcat(*panels),
    )


def compared(study: StudyFile, results: Results) -> Iterator[tuple[System, Estimate]]:
    """Yield adapters with their gain over the base."""
    for system in results.systems:
        base = results.base_of(system) if system.is_adapter else None
        if base is not None:
            yield system, difference(system.quality, base.quality)
