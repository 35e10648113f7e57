"""The registry against a model of dictionaries, through any sequence of operations."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hub.errors import AdapterNotFoundError, AliasMovedError
from hub.registry import Registry, folder_digest
from hub.registry.testing import example_manifest, write_adapter_folder

NAMES = st.sampled_from(["en-ko.lora", "a", "a.b"])
ALIASES = st.sampled_from(["prod", "canary"])
SEEDS = st.integers(0, 4)
VERSIONS = st.integers(1, 6)


class RegistryMachine(RuleBasedStateMachine):
    """Model: per name the list of digests (version = index + 1) and the aliases."""

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.work = Path(tempfile.mkdtemp(dir=memory))
        self.registry = Registry.open(self.work / "registry")
        self.versions: dict[str, list[str]] = {}
        self.aliases: dict[str, dict[str, int]] = {}

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.work)

    def folder(self, seed: int) -> Path:
        place = self.work / str(seed)
        manifest = example_manifest(seed=seed, pair="en-ko" if seed % 2 else "en-de")
        return place if place.exists() else write_adapter_folder(place, manifest)

    @rule(name=NAMES, seed=SEEDS, aliases=st.lists(ALIASES, max_size=2))
    def publish(self, name: str, seed: int, aliases: list[str]) -> None:
        digest = folder_digest(self.folder(seed))
        digests = self.versions.setdefault(name, [])
        pointing = self.aliases.setdefault(name, {})
        if digest not in digests:
            digests.append(digest)
            pointing["latest"] = len(digests)
        number = digests.index(digest) + 1
        pointing.update(dict.fromkeys(aliases, number))

        version = self.registry.publish(self.folder(seed), name, aliases=aliases)
        assert (version.version, version.digest) == (number, digest)
        assert set(version.aliases) == {a for a, n in pointing.items() if n == number}

    @rule(name=NAMES, alias=ALIASES, version=VERSIONS, expected=st.none() | VERSIONS)
    def set_alias(self, name: str, alias: str, version: int, expected: int | None) -> None:
        current = self.aliases.get(name, {}).get(alias)
        if version > len(self.versions.get(name, [])):
            with pytest.raises(AdapterNotFoundError):
                self.registry.set_alias(name, alias, version, expected)
        elif current != expected:
            with pytest.raises(AliasMovedError) as caught:
                self.registry.set_alias(name, alias, version, expected)
            assert caught.value.metadata["current"] == str(current or "")
        else:
            assert self.registry.set_alias(name, alias, version, expected).version == version
            self.aliases[name][alias] = version

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def move_alias_on_purpose(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.versions)))
        alias = data.draw(ALIASES)
        version = data.draw(st.integers(1, len(self.versions[name])))
        self.set_alias(name, alias, version, self.aliases[name].get(alias))

    @rule(name=NAMES, alias=ALIASES | st.just("latest"), version=VERSIONS)
    def resolve(self, name: str, alias: str, version: int) -> None:
        digests = self.versions.get(name, [])
        pointed = self.aliases.get(name, {}).get(alias)
        self.compare(f"{name}@{alias}", None if pointed is None else digests[pointed - 1])
        self.compare(f"{name}:{version}", digests[version - 1] if version <= len(digests) else None)

    @rule(seed=SEEDS, digits=st.integers(12, 64))
    def resolve_digest(self, seed: int, digits: int) -> None:
        digest = folder_digest(self.folder(seed))
        known = any(digest in digests for digests in self.versions.values())
        self.compare(digest[: len("sha256:") + digits], digest if known else None)

    def compare(self, ref: str, digest: str | None) -> None:
        if digest is None:
            with pytest.raises(AdapterNotFoundError):
                self.registry.resolve(ref)
        else:
            assert self.registry.resolve(ref).digest == digest

    @rule(name=NAMES)
    def lend(self, name: str) -> None:
        for version in self.registry.versions(name) if name in self.versions else []:
            assert folder_digest(self.registry.folder(version)) == version.digest

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = Registry.open(self.work / "registry")

    @rule(repair=st.booleans())
    def check(self, repair: bool) -> None:
        assert self.registry.fsck(repair=repair).findings == ()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        assert self.registry.names() == sorted(self.versions)
        found = [(v.name, v.version, v.digest) for v in self.registry.versions()]
        assert found == [
            (name, number, digest)
            for name in sorted(self.versions)
            for number, digest in enumerate(self.versions[name], start=1)
        ]
        for name, aliases in self.aliases.items():
            states = self.registry.aliases(name)
            assert {alias: state.version for alias, state in states.items()} == aliases
        newest = [self.versions[name][-1] for name in sorted(self.versions)]
        assert [v.digest for v in self.registry.find()] == newest


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(
    max_examples=10,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
