from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from hub.errors import AdapterNotFoundError, RefError, SettingsError
from hub.languages import LanguagePair
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from hub.registry import AdapterVersion
from hub.registry.records import AliasState
from server.access.permits import EVERYTHING, Permit
from server.messages import Fallback
from server.translation.routes import (
    RouteEntry,
    RoutingTable,
    build_table,
    list_pairs,
    read_routes,
)
from server.translation.routing import BASE_REF, Router

OUR_BASE, OTHER_BASE = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def version(name: str, pair: str, domain: str = "", base: str = OUR_BASE) -> AdapterVersion:
    manifest = AdapterManifest(
        pair=pair,
        method="lora",
        size=4,
        budget=None,
        trainable_parameters=10,
        base=BaseReference(name="some-base", digest=base, parameters=1000),
        corpus=CorpusReference(
            name="cldr", fingerprint="f", licence="Unicode-3.0", train=1, dev=1, test=1
        ),
        recipe_digest="sha256:" + "3" * 64,
        seed=1,
        domain=domain,
    )
    digest = "sha256:" + f"{abs(hash(name)):064x}"[:64]
    return AdapterVersion(name, 1, digest, manifest, 99, DAY, {}, ("prod",))


class Shelf:
    """The two questions that the table asks of a registry; days say when the alias was moved."""

    def __init__(self, *held: tuple[AdapterVersion, int]) -> None:
        self.held = {one.name: (one, day) for one, day in held}

    def find(self, *, alias: str) -> list[AdapterVersion]:
        assert alias == "prod"
        return [one for one, _ in self.held.values()]

    def aliases(self, name: str) -> dict[str, AliasState]:
        one, day = self.held[name]
        moved = DAY + datetime.timedelta(days=day)
        return {"prod": AliasState(name, "prod", one.version, one.digest, 1, moved)}

    def resolve(self, ref: str) -> AdapterVersion:
        name = ref.partition("@")[0]
        if name not in self.held:
            raise AdapterNotFoundError(f"no adapter is named {name!r}")
        return self.held[name][0]


def table(*held: tuple[AdapterVersion, int], file: Path | None = None) -> RoutingTable:
    stated = read_routes(file) if file else ()
    return build_table(Shelf(*held), "prod", OUR_BASE.__eq__, stated)  # type: ignore[arg-type]


def router(routes: RoutingTable, shelf: Shelf, *, busy: bool = False) -> Router:
    known = frozenset(["en", "ko", "de", "pt"])
    return Router(
        shelf.resolve, known, "some-base", OUR_BASE, OUR_BASE.__eq__,
        table=lambda: routes, overloaded=lambda: busy,
    )  # fmt: skip


GENERAL = version("general", "en-ko"), 1
MEDICAL = version("medical", "en-ko", "medical"), 2
PORTUGUESE = version("portuguese", "en-pt"), 3
LISBON = version("lisbon", "en-pt_PT"), 4


@pytest.mark.parametrize(
    ("source", "target", "domain", "expected", "fallback"),
    [
        ("en", "ko", "", "general:1", None),
        ("en", "ko", "medical", "medical:1", None),
        ("en", "ko", "legal", "general:1", Fallback.NO_DOMAIN),
        ("en-GB", "ko", "", "general:1", Fallback.RELATED_LOCALE),
        ("en-GB", "ko", "medical", "medical:1", Fallback.RELATED_LOCALE),
        ("en", "pt", "", "portuguese:1", None),
        ("en", "pt-BR", "", "portuguese:1", None),  # the same tag
        ("en", "pt-PT", "", "lisbon:1", None),
        ("en", "pt-AO", "", "portuguese:1", Fallback.RELATED_LOCALE),
        ("en", "de", "", "", Fallback.NO_ADAPTER),
        ("ko", "en", "medical", "", Fallback.NO_ADAPTER),
    ],
)
def test_the_chain_of_fallbacks(
    source: str, target: str, domain: str, expected: str, fallback: Fallback | None
) -> None:
    held = GENERAL, MEDICAL, PORTUGUESE, LISBON
    served = router(table(*held), Shelf(*held))
    route = served.route(source, target, "", domain)
    assert (route.adapter_version, route.fallback) == (expected, fallback)
    assert route.requested == (f"{expected.partition(':')[0]}@prod" if expected else "")
    if fallback is None:
        strict = served.route(source, target, "", domain, require_adapter=True)
        assert strict == route
    else:
        with pytest.raises(AdapterNotFoundError, match="require_adapter is set") as caught:
            served.route(source, target, "", domain, require_adapter=True)
        assert caught.value.field == "require_adapter"


def test_base_is_asked_for_by_name_and_is_no_fallback() -> None:
    route = router(table(GENERAL), Shelf(GENERAL)).route("en", "ko", BASE_REF)
    assert (route.version, route.requested, route.fallback) == (None, "base", None)


def test_a_domain_of_no_form_is_refused() -> None:
    with pytest.raises(RefError, match="not a valid domain") as caught:
        router(table(GENERAL), Shelf(GENERAL)).route("en", "ko", "", "No Such")
    assert caught.value.field == "domain"


def test_an_adapter_of_another_base_has_no_route() -> None:
    other = version("other", "en-ko", base=OTHER_BASE), 9
    assert table(other).entries == {}
    (entry,) = table(other, GENERAL).sorted()
    assert (entry.ref, entry.shadowed) == ("general@prod", ())


def test_the_alias_that_was_moved_last_wins_and_the_others_are_told() -> None:
    newer, older = (version("newer", "en-ko"), 8), (version("older", "en-ko"), 7)
    for held in ([newer, older, GENERAL], [GENERAL, older, newer]):
        (entry,) = table(*held).sorted()
        assert (entry.ref, entry.shadowed) == ("newer@prod", ("general", "older"))


def write(folder: Path, text: str) -> Path:
    file = folder / "routes.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_routes_file_overrules_and_adds(tmp_path: Path) -> None:
    small = version("small", "en-ko"), 9
    file = write(
        tmp_path,
        '[[route]]\npair = "en-ko"\nadapter = "general@prod"\nrungs = ["small@prod"]\n'
        '[[route]]\npair = "en_GB-ko"\ndomain = "news"\nadapter = "medical@prod"\n',
    )
    held = GENERAL, MEDICAL, small
    routes = table(*held, file=file)
    told = {(str(e.pair), e.domain): (e.ref, e.rungs, e.shadowed) for e in routes.sorted()}
    assert told == {
        ("en-ko", ""): ("general@prod", ("small@prod",), ("small",)),
        ("en-ko", "medical"): ("medical@prod", (), ()),
        ("en_GB-ko", "news"): ("medical@prod", (), ()),
    }
    quiet = router(routes, Shelf(*held)).route("en", "ko", "")
    assert (quiet.adapter_version, quiet.fallback) == ("general:1", None)
    busy = router(routes, Shelf(*held), busy=True)
    cheaper = busy.route("en", "ko", "")
    assert (cheaper.adapter_version, cheaper.fallback) == ("small:1", Fallback.OVERLOAD)
    assert cheaper.requested == "general@prod"
    assert busy.route("en", "ko", "", require_adapter=True).adapter_version == "general:1"
    assert busy.route("en", "ko", "", "medical").adapter_version == "medical:1"  # it has no rungs


def test_overload_makes_no_error_of_what_would_be_served(tmp_path: Path) -> None:
    gone, small = (version("gone", "en-ko"), 9), (version("small", "en-ko"), 9)
    text = '[[route]]\npair = "en-ko"\nadapter = "general@prod"\nrungs = {}\n'
    for rungs, permit, served in (
        ('["gone@prod"]', EVERYTHING, "general:1"),
        ('["gone@prod", "small@prod"]', EVERYTHING, "small:1"),
        ('["small@prod"]', Permit(("general",)), "general:1"),  # it belongs to others
    ):
        routes = table(GENERAL, small, gone, file=write(tmp_path, text.format(rungs)))
        busy = router(routes, Shelf(GENERAL, small), busy=True)
        assert busy.route("en", "ko", "", permit=permit).adapter_version == served


@pytest.mark.parametrize(
    ("rungs", "permit", "taken"),
    [
        ("[]", EVERYTHING, ""),
        ('["small@prod"]', EVERYTHING, "small:1"),
        ('["gone@prod", "small@prod"]', EVERYTHING, "small:1"),
        ('["general@prod", "small@prod"]', EVERYTHING, "small:1"),  # it was bad already
        ('["gone@prod"]', EVERYTHING, ""),
        ('["small@prod"]', Permit(("general",)), ""),  # it belongs to others
    ],
)
def test_a_second_try_goes_to_the_first_rung_that_can_else_to_the_base(
    tmp_path: Path, rungs: str, permit: Permit, taken: str
) -> None:
    gone, small = (version("gone", "en-ko"), 9), (version("small", "en-ko"), 9)
    text = f'[[route]]\npair = "en-ko"\nadapter = "general@prod"\nrungs = {rungs}\n'
    routes = table(GENERAL, small, gone, file=write(tmp_path, text))
    quiet = router(routes, Shelf(GENERAL, small))
    first = quiet.route("en", "ko", "", permit=permit)
    second = quiet.second(first, permit)
    assert second is not None
    assert (second.adapter_version, second.requested) == (taken, "general@prod")


def test_a_second_try_belongs_to_no_canary(tmp_path: Path) -> None:
    small, tried = (version("small", "en-ko"), 9), version("tried", "en-ko")
    text = '[[route]]\npair = "en-ko"\nadapter = "general@prod"\nrungs = ["small@prod"]\n'
    routes = table(GENERAL, small, file=write(tmp_path, text))

    def split(
        ref: str, stable: AdapterVersion, key: Callable[[], bytes]
    ) -> tuple[AdapterVersion, None]:
        return (tried if ref == "small@prod" else stable), None

    split_router = replace(router(routes, Shelf(GENERAL, small)), split=split)
    second = split_router.second(split_router.route("en", "ko", ""), EVERYTHING)
    assert second is not None
    assert second.adapter_version == "small:1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[route", "cannot read routes"),
        ('[[route]]\npair = "en-ko"\n', "route.0.adapter: Field required"),
        ('[[route]]\npair = "en-ko"\nadapter = "a"\nspeed = 1\n', "route.0.speed"),
        ('[[route]]\npair = "en"\nadapter = "a"\n', "route 1: 'en' is not a language pair"),
        ('[[route]]\npair = "en-ko"\nadapter = "A b"\n', "route 1: 'A b' is not a valid"),
        ('[[route]]\npair = "en-ko"\nadapter = "x"\n' * 2, "route 2: en-ko has a route already"),
        (
            f'[[route]]\npair = "en-ko"\nadapter = "x"\nrungs = {["y"] * 9}\n'.replace("'", '"'),
            "9 rungs; at most 8",
        ),
    ],
)
def test_a_bad_routes_file_is_refused_by_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_routes(write(tmp_path, text))
    assert told in caught.value.message
    assert "routes.toml" in caught.value.message


@pytest.mark.parametrize(
    ("adapter", "error", "told"),
    [
        ("missing@prod", AdapterNotFoundError, "missing"),
        ("portuguese@prod", SettingsError, "translates en-pt"),
        ("other@prod", SettingsError, "another base"),
    ],
)
def test_a_stated_route_must_be_servable(
    tmp_path: Path, adapter: str, error: type[Exception], told: str
) -> None:
    file = write(tmp_path, f'[[route]]\npair = "en-ko"\nadapter = "{adapter}"\n')
    other = version("other", "en-ko", base=OTHER_BASE), 9
    with pytest.raises(error, match=told):
        table(GENERAL, PORTUGUESE, other, file=file)


def test_a_missing_routes_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read routes"):
        read_routes(tmp_path / "none.toml")


def test_pairs_that_are_served() -> None:
    routes: Mapping[tuple[LanguagePair, str], RouteEntry] = table(GENERAL, MEDICAL, LISBON).entries
    listed = list_pairs(RoutingTable(MappingProxyType(dict(routes))), {"en", "ko", "pt"})
    told = [(str(one.pair), one.adapter_version, one.base) for one in listed]
    assert ("en-ko", "general:1", True) in told
    assert ("en-pt", "", True) in told
    assert ("en-pt_PT", "lisbon:1", False) in told
    assert len(told) == 3 * 2 + 1
    only = list_pairs(table(GENERAL), {"en", "ko", "pt"}, "eng", "")
    assert {one.pair.source for one in only} == {"en"}
