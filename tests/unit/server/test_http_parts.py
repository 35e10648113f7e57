"""The parts of the HTTP door that need no server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from starlette.requests import Request
from starlette.routing import Route

from hub.errors import (
    RETRY_DELAY,
    HubError,
    InputError,
    NotFoundError,
    QueueFullError,
    QuotaError,
    ScopeError,
)
from hub.glossaries import Term
from hub.languages import LanguagePair
from hub.settings import load_settings
from server.access.scopes import SCOPE_OF_METHOD
from server.entrance import open_entrance
from server.http.bodies import Fields
from server.http.deepl.entries import read_entries, write_entries
from server.http.deepl.xml_text import MAX_CHARACTERS, TagRules, as_html, of_html, read_xml_text
from server.http.endpoint import Endpoint
from server.http.languages import ServedLanguages, language_name
from server.http.protection import BrowserPolicy
from server.http.shelf import RECORD_BYTES, Progress, Shelf
from server.http.site import _routes
from server.http.statuses import retry_after, status_of
from server.telemetry.access import AccessLog
from server.telemetry.metrics import Metrics
from server.translation.routes import RoutingTable, list_pairs


def tree(kind: type[HubError]) -> Iterator[type[HubError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from tree(one)


def test_every_error_has_a_status() -> None:
    for kind in tree(HubError):
        assert 400 <= status_of(kind("…")) <= 599, kind


def test_when_to_come_back() -> None:
    assert retry_after(QuotaError("…", metadata={RETRY_DELAY: "1200"})) == 2
    assert retry_after(QueueFullError("…")) == 1
    assert retry_after(InputError("…")) is None


def test_every_route_asks_for_a_scope(tmp_path: Path) -> None:
    async def routes() -> list[Any]:
        settings = load_settings({"registry": str(tmp_path)}, environ={}, folder=tmp_path)
        core: Any = None
        entrance = open_entrance(settings, core, core, core, Metrics(), AccessLog())
        return list(_routes(entrance))

    found = asyncio.run(routes())
    assert len(found) > 30
    for route in found:
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint):
            method = f"{route.endpoint.api.service}/{route.endpoint.operation.name}"
            assert method in SCOPE_OF_METHOD, route.path


def request(method: str = "POST", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "headers": raw})


@pytest.mark.parametrize(
    ("asks", "flags", "headers", "allowed"),
    [
        (False, {}, {"host": "localhost:8080"}, True),
        (False, {}, {"host": "127.0.0.1:8080"}, True),
        (False, {}, {"host": "[::1]:8080"}, True),
        (False, {}, {"host": "rebound.example"}, False),
        (False, {}, {"host": ""}, False),
        (False, {}, {"host": "["}, False),
        (False, {}, {"host": "localhost:1", "origin": "http://["}, False),
        (False, {"http_hosts": "hub.lan"}, {"host": "HUB.lan:1"}, True),
        (True, {}, {"host": "any.example"}, True),
        (True, {"http_hosts": "hub.lan"}, {"host": "any.example"}, False),
        (False, {}, {"host": "localhost:1", "origin": "http://localhost:1"}, True),
        (False, {}, {"host": "localhost:1", "origin": "http://localhost:2"}, False),
        (False, {}, {"host": "localhost:1", "origin": "null"}, False),
        (False, {"http_origins": "https://a.example/"},
         {"host": "localhost", "origin": "https://A.example"}, True),
        (False, {"http_origins": "*"}, {"host": "localhost", "origin": "https://b.example"}, True),
        (False, {}, {"host": "localhost", "sec_fetch_site": "cross-site"}, False),
        (False, {}, {"host": "localhost", "sec_fetch_site": "same-origin"}, True),
    ],
)  # fmt: skip
def test_whose_requests_are_answered(
    tmp_path: Path, asks: bool, flags: dict[str, str], headers: dict[str, str], allowed: bool
) -> None:
    policy = BrowserPolicy.of(load_settings(flags, environ={}, folder=tmp_path), asks=asks)
    if allowed:
        policy.check(request(**headers))
        return
    with pytest.raises(ScopeError):
        policy.check(request(**headers))


def test_fields_say_what_is_wrong() -> None:
    fields = Fields({"text": ["a", 1], "flag": "perhaps", "many": "x", "one": ["a", "b"]})
    for ask, name in (
        (fields.texts, "text"),
        (fields.flag, "flag"),
        (fields.number, "many"),
        (fields.text, "one"),
    ):
        with pytest.raises(InputError, match=name) as caught:
            ask(name)
        assert caught.value.field == name
    assert fields.characters("text") == 1
    assert fields.texts("absent") == ()


def test_a_document_is_kept_for_a_while() -> None:
    now = 0.0
    shelf = Shelf(lambda: now, max_bytes=10 + 2 * RECORD_BYTES, kept_seconds=60)
    kept = shelf.put("a", "a", "x.txt", 6)
    assert kept.progress is Progress.QUEUED
    with pytest.raises(QueueFullError):
        shelf.put("b", "b", "y.txt", 5)
    assert shelf.get(kept.id, kept.key, "a") is kept
    for key, tenant in ((kept.key, "b"), ("", "a"), (kept.id, "a"), ("é", "a")):
        with pytest.raises(NotFoundError):
            shelf.get(kept.id, key, tenant)
    kept.finish(b"abc")
    assert shelf.put("b", "b", "y.txt", 5).id != kept.id
    now = 61.0
    with pytest.raises(NotFoundError):
        shelf.get(kept.id, kept.key, "a")
    assert shelf.put("b", "b", "z.txt", 10)


def test_no_tenant_fills_the_shelf_for_others() -> None:
    size = 100 - RECORD_BYTES % 100
    each = size + RECORD_BYTES
    shelf = Shelf(lambda: 0.0, max_bytes=4 * each, max_share=2 * each, kept_seconds=90)
    first = shelf.put("a", "a", "1.txt", size)
    shelf.put("", "a", "2.txt", size)  # for anyone to fetch, and a's all the same
    told = rf"tenant 'a' on this server take {2 * each:,} bytes and may take {2 * each:,}; {size} "
    with pytest.raises(QueueFullError, match=told + r"more .*Fetch .* 1\.5 minutes"):
        shelf.put("a", "a", "3.txt", size)
    for name in ("1.txt", "2.txt"):
        assert shelf.put("b", "b", name, size)
    with pytest.raises(QueueFullError, match="all documents on this server"):
        shelf.put("c", "c", "1.txt", size)
    first.fail("why")
    shelf.remove(first)
    assert shelf.put("c", "c", "1.txt", size)


def test_a_document_that_failed_is_not_for_nothing() -> None:
    shelf = Shelf(lambda: 0.0, max_bytes=3 * RECORD_BYTES)
    for number in range(3):
        shelf.put("a", "a", f"{number}.txt", 0).fail("why")
    with pytest.raises(QueueFullError):
        shelf.put("a", "a", "4.txt", 0)


def test_entries_of_glossaries() -> None:
    csv = 'sourceEntry1,targetEntry1,en,de\r\n"source""Entry","target,Entry",en,de\r\n'
    terms = read_entries(csv, "csv")
    assert terms == (
        Term("sourceEntry1", ("targetEntry1",)),
        Term('source"Entry', ("target,Entry",)),
    )
    assert read_entries(write_entries(terms), "tsv") == terms
    for text, kind in (("a,b,c", "csv"), ('"a', "xml"), ("a\tb\tc", "tsv"), ("\n\n", "tsv")):
        with pytest.raises(InputError):
            read_entries(text, kind)


def back(text: str, rules: TagRules | None = None) -> str:
    """An XML text whose units are translated by what they are."""
    read = read_xml_text(text, rules or TagRules())
    return read.render([of_html(unit, as_html(unit)) for unit in read.units])


def units(text: str, **rules: Any) -> list[str]:
    return [unit.text for unit in read_xml_text(text, TagRules(**rules)).units]


XML = (
    "<doc><meta><title>A title</title></meta><par><span>One sentence</span> "
    "<span>in two spans.</span></par><par>Some <b>bold</b> words<br/>here.</par></doc>"
)


def test_xml_is_cut_where_elements_split() -> None:
    names = frozenset
    assert units(XML) == [
        "A title",
        "One sentence",
        "in two spans.",
        'Some <g id="0">bold</g> words<x id="1"></x>here.',
    ]
    assert units(XML, joining=names({"span"}))[1] == (
        '<g id="0">One sentence</g> <g id="1">in two spans.</g>'
    )
    assert units(XML, splitting=names({"br", "b"}))[3:] == ["Some", "bold", "words", "here."]
    assert len(units(XML, detect=False)) == 1
    assert units(XML, ignored=names({"par"})) == ["A title"]


def test_a_text_of_xml_has_a_limit() -> None:
    read_xml_text("x" * MAX_CHARACTERS, TagRules())
    with pytest.raises(InputError, match="1,000,001 characters; at most 1,000,000"):
        read_xml_text("x" * (MAX_CHARACTERS + 1), TagRules())


@pytest.mark.parametrize(
    "text",
    [
        XML,
        "plain &amp; simple",
        "<a/>",
        "",
        "<!-- note --><p>one</p><?php x?>",
        '<?xml version="1.0"?>\n<!DOCTYPE html>\n<html><body><p>x</p></body></html>',
        "<p title=\"a>b\" b='<'>x</p>".replace("<'", "&lt;'"),
        "two <i>roots</i> <i>here</i>",
    ],
)
def test_xml_comes_back(text: str) -> None:
    assert back(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "<a>",
        "a < b",
        "</a>",
        "</r><r>",
        "&nbsp;",
        '<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>',
        "<a>" * 300 + "</a>" * 300,
        "\x00",
    ],
)
def test_bad_xml_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Tag handling parsing failed"):
        read_xml_text(text, TagRules())


_names = some.sampled_from(["p", "b", "i", "raw"])
_texts = some.text(alphabet="aб &<>\"'\n", max_size=8)


def _written(node: Any) -> str:
    from html import escape

    if isinstance(node, str):
        return escape(node, quote=False)
    name, children = node
    return f"<{name}>{''.join(map(_written, children))}</{name}>"


_trees = some.recursive(
    _texts, lambda inner: some.tuples(_names, some.lists(inner, max_size=4)), max_leaves=12
)


@given(_trees, some.sets(_names), some.sets(_names), some.sets(_names), some.booleans())
def test_any_xml_comes_back(
    node: Any, splitting: set[str], joining: set[str], ignored: set[str], detect: bool
) -> None:
    text = _written(node)
    rules = TagRules(detect, frozenset(splitting), frozenset(joining), frozenset(ignored))
    assert back(text, rules) == text


def test_languages_are_those_of_the_pairs_that_are_served() -> None:
    base = frozenset({"en", "de", "ko"})
    routed = [LanguagePair("en", "fr"), LanguagePair("nl", "de"), LanguagePair("en", "de")]
    served = ServedLanguages(base, frozenset(routed))
    entry: Any = SimpleNamespace(version=SimpleNamespace(ref="a:1"))
    pairs = [one.pair for one in list_pairs(RoutingTable({(p, ""): entry for p in routed}), base)]
    listed = [(s, t) for s, targets in served.targets_by_source().items() for t in targets]
    assert sorted(listed) == sorted((pair.source, pair.target) for pair in pairs)
    assert served.sources == {pair.source for pair in pairs}
    assert served.targets == {pair.target for pair in pairs}


def test_names_of_languages() -> None:
    assert language_name("de") == "German"
    assert language_name("pt-BR") == "Brazilian Portuguese"
    assert language_name("qqq") == "qqq"
