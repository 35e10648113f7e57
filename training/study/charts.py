"""The pictures of a report, as Vega-Lite; scores of one picture share one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from training.study.axes import BASE, FULL
from training.study.distance import MEASURE
from training.study.drawing import (
    SCORE,
    SIZE,
    Picture,
    band,
    encoded,
    ends,
    grid,
    lines,
    named,
    panel_title,
    quality,
    rules,
    score_axis,
    values,
)
from training.study.results import Results
from training.study.slices import LEAST_ITEMS, SliceGain, by_length, by_novelty, gains

if TYPE_CHECKING:
    from training.study.file import StudyFile

SIDE: Final = 1.06
"""Factor between the places of two methods at one data size."""


def pictures(study: StudyFile, results: Results) -> list[Picture]:
    """Return the pictures that the grid has data for."""
    makers = (_budget, _distance, _bases, _data, _lengths, _novelty, _cost)
    return [found for make in makers if (found := make(study, results)) is not None]


def _budget(study: StudyFile, results: Results) -> Picture | None:
    """Quality against budget, with full fine-tuning and the base as lines."""
    import altair as alt

    train = max(results.sizes, default=0)
    systems = [s for s in results.systems if s.is_adapter and s.train == train]
    if not systems:
        return None
    order = [name for name in study.methods if any(s.method == name for s in systems)]
    rows = [quality(s) | {"fraction": s.fraction} for s in systems]
    levels = list(_levels(results, train))
    y = alt.Y("value:Q", title=SCORE, scale=score_axis(ends(rows + levels)))
    x = alt.X(
        "fraction:Q",
        title="trained share of the base's parameters (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(format="~%", values=study.budgets),
    )
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            flat = [r for r in levels if (r["base"], r["pair"]) == (base, pair)]
            if own:
                drawn = lines(values(own), x, y, order) + rules(flat, y)
                panels.append(drawn.properties(title=panel_title(results, base, pair), **SIZE))
    return Picture(
        "budget",
        "Quality against budget",
        f"chrF++ of adapters trained on {train:,} segments. The solid horizontal line is full "
        "fine-tuning on the same data, the dotted one the untrained base. Whiskers: 95 % "
        "intervals over seeds and test items. Score axes are shared and do not start at 0.",
        grid(panels),
    )


def _levels(results: Results, train: int) -> Iterator[dict[str, Any]]:
    for system in results.systems:
        if system.method == BASE or (system.method == FULL and system.train == train):
            yield quality(system)


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
                | band(gap)
            )
    if len({row["distance"] for row in rows}) < 2:
        return None
    order = list(dict.fromkeys(str(row["method"]) for row in rows))
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

    step = 0.02 * (max(r["distance"] for r in rows) - min(r["distance"] for r in rows))
    placed = [
        row | {"at": row["distance"] + step * (order.index(row["method"]) - (len(order) - 1) / 2)}
        for row in rows
    ]
    data = values(placed)
    x = alt.X("at:Q", title=MEASURE, scale=alt.Scale(zero=False, padding=18))
    y = alt.Y("value:Q", title="full less adapter, chrF++")
    points = encoded(
        alt.Chart(data).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y),
        order,
        "budget",
    )
    bars = alt.Chart(data).mark_rule().encode(x=x, y="low:Q", y2="high:Q")
    zero = alt.Chart(values([{"y": 0}])).mark_rule(color="#444", strokeDash=[4, 3])
    tops: dict[str, float] = {}
    for row in placed:
        tops[row["pair"]] = max(row["high"], tops.get(row["pair"], row["high"]))
    names = [
        {"pair": pair, "value": top, "at": next(r["distance"] for r in rows if r["pair"] == pair)}
        for pair, top in tops.items()
    ]
    labels = (
        alt.Chart(values(names))
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
            rows.append(quality(system) | {"method": name, "system": f"{system.base}: {name}"})
    order = ["untrained", f"{asked.method} {100 * asked.budget:g} %", "full fine-tuning"]
    places = [f"{base}: {name}" for base in bases for name in order]
    panels = []
    for pair in results.pairs:
        data = values([row for row in rows if row["pair"] == pair])
        y = alt.Y("system:N", title=None, sort=places, scale=alt.Scale(domain=places))
        x = alt.X("value:Q", title=SCORE, scale=score_axis(ends(rows)))
        bars = alt.Chart(data).mark_rule().encode(x="low:Q", x2="high:Q", y=y)
        points = encoded(
            alt.Chart(data).mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y), order
        )
        panels.append((bars + points).properties(width=230, height=150, title=pair))
    sizes = ", ".join(f"{base} has {results.parameters(base) / 1e6:.3g} M" for base in bases)
    return Picture(
        "bases",
        "A larger base with an adapter against a smaller one, fine-tuned",
        f"Bases from small to large ({sizes} parameters), {train:,} segments.",
        grid(panels),
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
            rows.append(quality(system) | {"method": name, "train": system.train})
    order = ["full fine-tuning", *(name for name in study.methods if named(rows, name))]
    for row in rows:  # side by side, so that whiskers do not hide each other
        row["at"] = row["train"] * SIDE ** order.index(row["method"])
    levels = [row for row in _levels(results, 0) if row["method"] == BASE]
    x = alt.X(
        "at:Q",
        title="training segments (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=18),
        axis=alt.Axis(values=results.sizes, format=",d"),
    )
    y = alt.Y("value:Q", title=SCORE, scale=score_axis(ends(rows + levels)))
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            flat = [r for r in levels if (r["base"], r["pair"]) == (base, pair)]
            if len({row["train"] for row in own}) > 1:
                drawn = lines(values(own), x, y, order) + rules(flat, y)
                panels.append(drawn.properties(title=panel_title(results, base, pair), **SIZE))
    if not panels:
        return None
    return Picture(
        "data",
        "Quality against data size",
        f"Adapters at {100 * asked.budget:g} % and full fine-tuning. Where its line crosses an "
        "adapter's, full fine-tuning begins to pay; the table of crossovers below has the sizes. "
        "Points of one size stand side by side; the dotted line is the untrained base.",
        grid(panels),
    )


def _lengths(study: StudyFile, results: Results) -> Picture | None:
    """Gain over the base by the length of the source."""
    return _gains(
        results,
        list(gains(study, results, by_length)),
        "lengths",
        "Gain over the base by source length",
        "source length (items)",
        "chrF++ above the untrained base on test items of that length; in brackets, how many there "
        "are. Lengths in words, of Chinese, Japanese and their kind in characters. Lengths with "
        f"fewer than {LEAST_ITEMS} items are left out.",
    )


def _novelty(study: StudyFile, results: Results) -> Picture | None:
    """Gain over the base on phrases that training had and that it had not."""
    return _gains(
        results,
        list(gains(study, results, by_novelty)),
        "novelty",
        "Gain over the base on seen and on new phrases",
        "phrases of the source (items)",
        "chrF++ above the untrained base on test items whose phrases (two words in a row, or four "
        "characters) all stand in the training sources, and on those where some or most are new; "
        "in brackets, how many items there are. A gain on seen phrases alone is memory. Groups "
        f"with fewer than {LEAST_ITEMS} items are left out.",
    )


def _gains(
    results: Results, found: Sequence[SliceGain], key: str, title: str, axis: str, caption: str
) -> Picture | None:
    """Draw gains on slices of the test sets, a panel for each base and pair."""
    import altair as alt

    rows = [
        {"slice": f"{each.label} ({each.items})", "place": each.place, "pair": each.pair,
         "base": each.base, "method": each.system} | band(each.gain)
        for each in found
    ]  # fmt: skip
    if not rows:
        return None
    order = list(dict.fromkeys(str(row["method"]) for row in rows))
    scale = alt.Scale(domain=[min(ends(rows)), max(ends(rows))], zero=True)
    panels = []
    for base in results.bases:
        for pair in results.pairs:
            own = [r for r in rows if (r["base"], r["pair"]) == (base, pair)]
            if own:
                drawn = _by_slice(own, order, scale, axis)
                panels.append(drawn.properties(title=panel_title(results, base, pair)))
    return Picture(key, title, caption, grid(panels))


def _by_slice(rows: Sequence[dict[str, Any]], order: Sequence[str], scale: Any, axis: str) -> Any:
    import altair as alt

    spans = [row["slice"] for row in sorted(rows, key=lambda row: row["place"])]
    data = values(list(rows))
    x = alt.X("slice:N", title=axis, sort=list(dict.fromkeys(spans)),
              axis=alt.Axis(labelAngle=0))  # fmt: skip
    shift = alt.XOffset("method:N", sort=list(order))
    bars = alt.Chart(data).mark_rule().encode(x=x, xOffset=shift, y="low:Q", y2="high:Q")
    points = encoded(
        alt.Chart(data)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(x=x, xOffset=shift, y=alt.Y("value:Q", title="chrF++ above the base", scale=scale)),
        order,
    )
    zero = alt.Chart(values([{"y": 0}])).mark_rule(color="#444").encode(y="y:Q")
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
                    **band(system.quality),
                    "seconds": system.mean("train_seconds"),
                    "megabytes": (system.mean("adapter_bytes") or 0) / 1e6,
                }
            )
    if not rows:
        return None
    order = ["full fine-tuning", *(name for name in study.methods if named(rows, name))]
    data = values(rows)
    y = alt.Y("value:Q", title=SCORE, scale=score_axis(ends(rows)))
    panels = []
    for fact, title in (
        ("seconds", "seconds of updates (log scale)"),
        ("megabytes", "megabytes stored (log scale)"),
    ):
        x = alt.X(f"{fact}:Q", title=title, scale=alt.Scale(type="log", nice=False, padding=14))
        points = alt.Chart(data).mark_point(size=55, filled=False, strokeWidth=1.6, opacity=1)
        panels.append(encoded(points.encode(x=x, y=y), order).properties(width=360, height=240))
    return Picture(
        "cost",
        "Quality against training time and stored bytes",
        f"One point for each base, pair, method and budget on {train:,} segments, mean over seeds. "
        "Times are of this machine under whatever else it did.",
        alt.hconcat(*panels),
    )
