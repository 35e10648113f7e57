from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace

import pytest

from hub.errors import (
    AdapterNotFoundError,
    HubError,
    LanguageError,
    PairMismatchError,
    WrongBaseError,
)
from hub.manifest import AdapterManifest, BaseReference, CorpusReference
from hub.registry import AdapterVersion
from server.residency.tables import BASE
from server.translation.routing import Router

OUR_BASE, OTHER_BASE = "sha256:" + "1" * 64, "sha256:" + "2" * 64
DIGEST = "sha256:" + "d" * 64


def version(pair: str = "en-ko", base: str = OUR_BASE) -> AdapterVersion:
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
    )
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    return AdapterVersion("en-ko.lora", 3, DIGEST, manifest, 99, now, {})


def router(resolve: Callable[[str], AdapterVersion], languages: str = "en ko de") -> Router:
    known = frozenset(languages.split())
    return Router(resolve, known, "some-base", OUR_BASE, OUR_BASE.__eq__)


def never(ref: str) -> AdapterVersion:
    raise AssertionError(f"the registry was asked for {ref!r}")


def test_it_says_what_is_routed_without_the_registry() -> None:
    known = replace(router(never), knows={"mine"}.__contains__)
    assert all(known.at_once(adapter) for adapter in ("", " base ", "mine", " mine "))
    assert not known.at_once("other")
    assert not router(never).at_once("mine")
    crowded = replace(known, overloaded=lambda: True)  # rungs of the route may be resolved
    assert not crowded.at_once("")
    assert crowded.at_once("mine")


def test_no_adapter_means_the_base_and_asks_no_registry() -> None:
    for empty in ("", "  "):
        route = router(never).route("en", "ko", empty)
        assert (route.digest, route.adapter_version, route.adapter_bytes) == (BASE, "", 0)


def test_an_adapter_is_known_by_its_digest() -> None:
    asked: list[str] = []

    def resolve(ref: str) -> AdapterVersion:
        asked.append(ref)
        return version()

    route = router(resolve).route("en", "ko", "en-ko.lora@prod")
    assert asked == ["en-ko.lora@prod"]
    assert (route.digest, route.adapter_version) == (DIGEST, "en-ko.lora:3")
    assert route.adapter_bytes == 99


def test_codes_of_other_conventions_are_understood() -> None:
    route = router(lambda ref: version()).route("eng_Latn", "ko_KR", "x")
    assert (route.pair.source, route.pair.target) == ("en", "ko")


@pytest.mark.parametrize(
    ("source", "target", "field", "told"),
    [
        ("", "ko", "source_language_code", "empty"),
        ("en", "", "target_language_code", "empty"),
        ("qq", "ko", "source_language_code", "qq"),
        ("en", "\x00", "target_language_code", "unknown language"),
        ("en", "x" * 10_000, "target_language_code", "unknown language"),
        ("en", "fr", "target_language_code", "has no language 'fr'; it has: de, en, ko"),
        ("en", "en", "target_language_code", "both 'en'"),
        ("eng_Latn", "en", "target_language_code", "both 'en'"),
    ],
)
def test_bad_languages_name_the_field(source: str, target: str, field: str, told: str) -> None:
    with pytest.raises(LanguageError) as caught:
        router(never).route(source, target, "some-adapter")
    assert caught.value.field == field
    assert told in caught.value.message
    assert len(caught.value.message) < 500


def test_an_adapter_of_another_pair_is_refused() -> None:
    with pytest.raises(PairMismatchError, match="translates en-ko, not en-de"):
        router(lambda ref: version()).route("en", "de", "x")


@pytest.mark.parametrize("source", ["en-GB", "en_AU", "en-Latn-IE", "en-US", "eng_Latn"])
def test_a_variety_is_served_by_the_base_and_by_the_languages_adapter(source: str) -> None:
    for adapter in ("", "x"):
        route = router(lambda ref: version()).route(source, "ko-KP", adapter)
        assert str(route.pair) == "en-ko"


def test_an_adapter_for_a_variety_serves_that_variety_alone() -> None:
    with_portuguese = router(lambda ref: version("en-pt_PT"), "en pt")
    for target in ("pt-PT", "pt_PT"):
        assert str(with_portuguese.route("en-GB", target, "x").pair) == "en-pt_PT"
        assert str(with_portuguese.route("en", target, "").pair) == "en-pt"
    for target in ("pt", "pt-BR", "pt-AO"):
        with pytest.raises(PairMismatchError, match=r"translates en-pt_PT, not .*ask for en-pt_PT"):
            with_portuguese.route("en", target, "x")


def test_two_varieties_of_one_language_need_an_adapter() -> None:
    chinese = router(lambda ref: version("zh_Hans-zh_Hant"), "en zh")
    with pytest.raises(LanguageError, match="one language 'zh' for both 'zh-Hans' and 'zh-Hant'"):
        chinese.route("zh-CN", "zh-TW", "")
    assert str(chinese.route("zh-CN", "zh-TW", "x").pair) == "zh_Hans-zh_Hant"
    assert str(chinese.route("zh-HK", "en", "").pair) == "zh-en"


def test_what_a_base_may_mean_by_a_language_is_never_guessed() -> None:
    both = router(never, "en zh-Hans zh-Hant")
    with pytest.raises(LanguageError, match="choose one of zh-Hans, zh-Hant") as caught:
        both.route("en", "zh", "")
    assert caught.value.field == "target_language_code"
    assert str(both.route("en", "zh_HK", "").pair) == "en-zh_Hant"


def test_an_adapter_of_another_base_is_refused() -> None:
    with pytest.raises(WrongBaseError, match=OTHER_BASE):
        router(lambda ref: version(base=OTHER_BASE)).route("en", "ko", "x")


def test_the_registrys_errors_pass() -> None:
    def resolve(ref: str) -> AdapterVersion:
        raise AdapterNotFoundError("no such adapter")

    error: type[HubError] = AdapterNotFoundError
    with pytest.raises(error):
        router(resolve).route("en", "ko", "x")
