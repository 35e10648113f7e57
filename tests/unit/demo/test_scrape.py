"""Reading an exposition back, against hand arithmetic and PromQL's definition of a quantile."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from hub.demo.scrape import Scrape, scrape
from hub.errors import ServerUnreachableError


@pytest.fixture
def scraped() -> Scrape:
    registry = CollectorRegistry()
    calls = Counter("calls", "Calls.", ["method", "code"], registry=registry)
    calls.labels("A", "OK").inc(3)
    calls.labels("A", "INTERNAL").inc()
    calls.labels("B", "OK").inc(5)
    seconds = Histogram("seconds", "Time.", ["method"], buckets=(1, 2, 4), registry=registry)
    for value in (0.5, 1.5, 1.5, 3):
        seconds.labels("A").observe(value)
    for value in (3.5, 100):
        seconds.labels("B").observe(value)
    return Scrape(generate_latest(registry).decode())


def test_totals_sum_over_the_labels_not_named(scraped: Scrape):
    assert scraped.total("calls_total") == 9
    assert scraped.total("calls_total", method="A") == 4
    assert scraped.total("calls_total", method="A", code="OK") == 3
    assert scraped.total("calls_total", method="C") == 0
    assert scraped.by_label("calls_total", "code") == {"OK": 8, "INTERNAL": 1}


def test_the_mean_is_sum_over_count(scraped: Scrape):
    assert scraped.mean("seconds", method="A") == pytest.approx(6.5 / 4)
    assert math.isnan(scraped.mean("seconds", method="C"))


@pytest.mark.parametrize(
    ("share", "labels", "expected"),
    [
        (0.25, {"method": "A"}, 1.0),  # all of the first bucket
        (0.5, {"method": "A"}, 1.5),  # halfway through (1, 2], which holds two of four
        (1.0, {"method": "A"}, 4.0),
        (1.0, {}, 4.0),  # beyond the last finite bound
        (0.5, {}, 2.0),  # 3 of 6: the end of (1, 2]
    ],
)
def test_quantiles_are_interpolated_as_promql_does(scraped: Scrape, share, labels, expected):
    assert scraped.quantile(share, "seconds", **labels) == pytest.approx(expected)


def test_negative_buckets_have_quantiles_but_no_mean():
    registry = CollectorRegistry()
    scores = Histogram("scores", "Log-probabilities.", buckets=(-2, -1, 0), registry=registry)
    for value in (-3, -1.5, -1.5, -0.5):
        scores.observe(value)
    scraped = Scrape(generate_latest(registry).decode())
    assert scraped.quantile(0.5, "scores") == pytest.approx(-1.5)  # halfway through (-2, -1]
    assert scraped.quantile(0.1, "scores") == -2  # below the lowest bound
    assert math.isnan(scraped.mean("scores"))


def test_a_quantile_of_nothing_is_nan(scraped: Scrape):
    assert math.isnan(scraped.quantile(0.5, "seconds", method="C"))


def test_no_server_is_an_error_with_the_address():
    with pytest.raises(ServerUnreachableError, match=r"127\.0\.0\.1:9/metrics"):
        scrape("127.0.0.1:9")
