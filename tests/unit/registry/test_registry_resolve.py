from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.errors import AdapterNotFoundError, AliasMovedError, RefError
from hub.refs import AdapterRef
from hub.registry import Registry
from hub.registry.catalog import Catalog, NewVersion
from hub.registry.database import Database, sqlite_url
from hub.registry.disk import StagedFile
from hub.registry.testing import BASE_DIGEST, example_manifest

Write = Callable[..., Path]


@pytest.fixture
def filled(registry: Registry, adapter: Write) -> Registry:
    """Hold en-ko.lora:1 to 3, prod at 2; en-de.bottleneck:1, equal to none."""
    for seed in (1, 2, 3):
        registry.publish(adapter(seed), "en-ko.lora", aliases=["prod"] if seed == 2 else [])
    registry.publish(adapter(pair="en-de", method="bottleneck"), "en-de.bottleneck")
    return registry


@pytest.mark.parametrize(
    ("ref", "version"),
    [("en-ko.lora", 3), ("en-ko.lora@latest", 3), ("en-ko.lora@prod", 2), ("en-ko.lora:1", 1)],
)
def test_named_refs(filled: Registry, ref: str, version: int) -> None:
    found = filled.resolve(ref)
    assert (found.name, found.version) == ("en-ko.lora", version)
    assert found == filled.resolve(AdapterRef.parse(ref))
    assert found == filled.versions("en-ko.lora")[version - 1]


def test_digests_and_their_prefixes(filled: Registry) -> None:
    for version in filled.versions():
        assert filled.resolve(version.digest) == version
        assert filled.resolve(version.digest[: len("sha256:") + 8]) == version


def test_digest_under_two_names_means_the_first_published(filled: Registry, adapter: Write) -> None:
    filled.publish(adapter(1), "aaa")
    assert filled.resolve(filled.resolve("aaa").digest).ref == "en-ko.lora:1"


def test_ambiguous_digest_prefix_names_what_it_fits(root: Path) -> None:
    """Real digests that share eight digits are rare: record made-up ones in the catalog."""
    root.mkdir()
    database = Database(sqlite_url(root / "c.sqlite3"), busy_seconds=1)
    catalog = Catalog(database, lambda: datetime(2026, 1, 1, tzinfo=UTC))
    digests = ["sha256:" + ("1234abcd" + last).ljust(64, "0") for last in ("0", "1")]
    for digest in digests:
        files = {"hub.json": StagedFile(root, "d" * 64, 1)}
        catalog.record(NewVersion("a", digest, example_manifest(), files), ())

    with pytest.raises(RefError, match="fits several adapters") as caught:
        catalog.resolve(AdapterRef.parse("sha256:1234abcd"))
    assert all(digest in str(caught.value) for digest in digests)
    assert catalog.resolve(AdapterRef.parse("sha256:1234abcd1")).version == 2
    database.close()


UNKNOWN = {
    "en-kr.lora": "no adapter is named 'en-kr.lora'; did you mean en-ko.lora",
    "zzz": "no adapter is named 'zzz'; there is en-de.bottleneck, en-ko.lora",
    "en-ko.lora@canary": "en-ko.lora has no alias 'canary'; it has latest, prod",
    "en-ko.lora:9": "en-ko.lora has no version 9; it has 1-3",
    "en-de.bottleneck:2": "en-de.bottleneck has no version 2; it has 1$",
    "sha256:" + "0" * 64: "no adapter has the digest sha256:0000",
    "sha256:00000000": "no adapter has the digest sha256:00000000;",
}


@pytest.mark.parametrize("ref", UNKNOWN)
def test_unknown_ref_says_what_exists(filled: Registry, ref: str) -> None:
    with pytest.raises(AdapterNotFoundError, match=UNKNOWN[ref]):
        filled.resolve(ref)


def test_empty_registry_says_so(registry: Registry) -> None:
    assert (registry.names(), registry.versions(), registry.find()) == ([], [], [])
    for ask in (registry.resolve, registry.versions, registry.aliases):
        with pytest.raises(AdapterNotFoundError, match="the registry is empty"):
            ask("a")


@pytest.mark.parametrize("ref", ["", "sha256:abc", "sha256:%%%%%%%%", "sha256:________", "a@b@c"])
def test_malformed_refs(filled: Registry, ref: str) -> None:
    with pytest.raises(RefError):
        filled.resolve(ref)


def test_lists(filled: Registry) -> None:
    assert filled.names() == ["en-de.bottleneck", "en-ko.lora"]
    refs = [version.ref for version in filled.versions()]
    assert refs == ["en-de.bottleneck:1", "en-ko.lora:1", "en-ko.lora:2", "en-ko.lora:3"]
    assert [version.aliases for version in filled.versions("en-ko.lora")] == [
        (),
        ("prod",),
        ("latest",),
    ]


def test_find(filled: Registry) -> None:
    def refs(**wanted: str | None) -> list[str]:
        return [version.ref for version in filled.find(**wanted)]

    assert refs() == ["en-de.bottleneck:1", "en-ko.lora:3"]
    assert refs(pair="en-ko") == ["en-ko.lora:3"]
    assert refs(pair="en-ko", alias="prod") == ["en-ko.lora:2"]
    assert refs(pair="en-ko", alias=None) == ["en-ko.lora:1", "en-ko.lora:2", "en-ko.lora:3"]
    assert refs(method="bottleneck") == ["en-de.bottleneck:1"]
    assert refs(pair="en-ko", method="bottleneck") == []
    assert refs(base_digest=BASE_DIGEST, pair="en-de") == ["en-de.bottleneck:1"]
    assert refs(base_digest="sha256:" + "0" * 64) == []


def test_listing_opens_no_blob(filled: Registry) -> None:
    before = filled.versions()
    for blob in (filled.root / "blobs").iterdir():
        blob.unlink()
    assert filled.versions() == before


def test_alias_moves_only_from_where_it_is(filled: Registry) -> None:
    state = filled.set_alias("en-ko.lora", "prod", 3, 2)
    assert (state.version, state.generation) == (3, 2)
    assert state.digest == filled.resolve("en-ko.lora@prod").digest
    assert filled.aliases("en-ko.lora")["prod"] == state

    with pytest.raises(AliasMovedError, match="points at version 3, it was expected") as caught:
        filled.set_alias("en-ko.lora", "prod", 1, 2)
    assert caught.value.metadata["current"] == "3"
    assert filled.resolve("en-ko.lora@prod").version == 3


def test_new_alias_is_expected_not_to_exist(filled: Registry) -> None:
    with pytest.raises(AliasMovedError, match="does not exist, it was expected to point at"):
        filled.set_alias("en-ko.lora", "canary", 1, 1)
    assert filled.set_alias("en-ko.lora", "canary", 1, None).generation == 1
    with pytest.raises(AliasMovedError, match="points at version 1, it was expected not to exist"):
        filled.set_alias("en-ko.lora", "canary", 2, None)


def test_alias_belongs_to_its_name(filled: Registry) -> None:
    filled.set_alias("en-de.bottleneck", "prod", 1, None)
    assert filled.resolve("en-ko.lora@prod").version == 2
    assert set(filled.aliases("en-de.bottleneck")) == {"latest", "prod"}


def test_alias_needs_a_version_that_exists(filled: Registry) -> None:
    with pytest.raises(AdapterNotFoundError, match="it has 1-3"):
        filled.set_alias("en-ko.lora", "prod", 4, 2)
    with pytest.raises(AdapterNotFoundError, match=r"did you mean en-ko\.lora"):
        filled.set_alias("en-ko.lorra", "prod", 1, None)
    for version in (0, -1, 2**31):
        with pytest.raises(RefError, match="is not between 1 and"):
            filled.set_alias("en-ko.lora", "prod", version, 2)


def test_latest_cannot_be_set(filled: Registry) -> None:
    with pytest.raises(RefError, match="always means the newest"):
        filled.set_alias("en-ko.lora", "latest", 1, 3)
    assert filled.resolve("en-ko.lora").version == 3


def test_everything_survives_reopening(filled: Registry) -> None:
    before = (filled.versions(), filled.aliases("en-ko.lora"))
    filled.close()
    with Registry.open(filled.root) as again:
        assert (again.versions(), again.aliases("en-ko.lora")) == before
        assert again.fsck().exit_code == 0


def test_records_can_be_kept_in_sets(filled: Registry) -> None:
    assert len({*filled.versions(), *filled.versions()}) == 4
