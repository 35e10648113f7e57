"""Panels and dashboards in this project's way, upon Grafana's own builders."""

from __future__ import annotations

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    Panel,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, HALF, THIRD, QUARTER = 8, 12, 8, 6


@dataclass(frozen=True)
class Line:
    """A query and what its series are called."""

    query: str
    legend: str = "__auto"


def graph(title: str, unit: str, *lines: Line, about: str, width: int = HALF) -> Builder[Panel]:
    """Return a panel of lines over time."""
    panel = (
        series.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .height(HEIGHT)
        .span(width)
        .fill_opacity(10)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for name, line in zip("ABCDEFGH", lines, strict=False):
        panel = panel.with_target(_target(name, line).range().exemplar(unit == "s"))
    return panel


def distribution(title: str, unit: str, metric_rate: str, *, about: str) -> Builder[Panel]:
    """Return a heat map of a histogram's buckets over time."""
    target = _target("A", Line(metric_rate, "{{le}}")).range().format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(HALF)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .with_target(target)
    )


def number(title: str, unit: str, line: Line, *, about: str) -> Builder[Panel]:
    """Return a panel of one number for each series."""
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .height(HEIGHT // 2)
        .span(QUARTER)
        .with_target(_target("A", line).instant())
    )


def rows(title: str, line: Line, *, about: str, width: int = HALF) -> Builder[Panel]:
    """Return a table with a row for each series and a column for each label."""
    return (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .height(HEIGHT)
        .span(width)
        .with_target(_target("A", line).instant().format(PromQueryFormat.TABLE))
    )


def _target(name: str, line: Line) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(name)
        .datasource(SOURCE)
        .expr(line.query)
        .legend_format(line.legend)
    )


@dataclass
class Page:
    """A dashboard: rows of panels."""

    uid: str
    title: str
    about: str
    variables: tuple[str, ...] = ()
    parts: list[tuple[str, list[Builder[Panel]]]] = field(default_factory=list)

    def part(self, title: str, *panels: Builder[Panel]) -> Page:
        """Add a row."""
        self.parts.append((title, list(panels)))
        return self

    def build(self) -> Dashboard:
        """Return the dashboard, panels numbered from 1."""
        page = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.about)
            .tags(["adapterhub"])
            .refresh("30s")
            .time("now-1h", "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .with_variable(
                dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
            )
            .with_variable(_choice("instance", 'label_values(up{job="adapterhub"}, instance)'))
        )
        for name in self.variables:
            query = f'label_values(hub_input_tokens_total{{job="adapterhub"}}, {name})'
            page = page.with_variable(_choice(name, query))
        for title, panels in self.parts:
            page = page.with_row(dashboard.Row(title))
            for panel in panels:
                page = page.with_panel(panel)
        return _numbered(page.build())


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def _numbered(page: Dashboard) -> Dashboard:
    for number_, panel in enumerate(page.panels or (), start=1):
        panel.id_val = number_
    return page
