from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.commands.adapters import adapters_app
from hub.errors import AdapterNotFoundError, AliasMovedError, HubError, InputError
from hub.registry import Registry, folder_digest

Write = Callable[..., Path]
Run = Callable[..., str]


@pytest.fixture
def run(root: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("HUB_REGISTRY", str(root))

    def invoke(*words: str | Path, exit_code: int = 0) -> str:
        result = CliRunner().invoke(adapters_app, [str(word) for word in words])
        if isinstance(result.exception, HubError):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.stdout

    return invoke


@pytest.fixture
def filled(run: Run, adapter: Write) -> Run:
    run("publish", adapter(1))
    run("publish", adapter(2), "--alias", "prod")
    run("publish", adapter(pair="en-de", method="bottleneck"), "--name", "german")
    return run


def as_json(text: str) -> Any:
    return json.loads(text)


def test_publish_prints_ref_and_digest(run: Run, adapter: Write) -> None:
    digest = folder_digest(adapter(1))
    assert run("publish", adapter(1)) == f"en-ko.lora:1 {digest}\n"
    record = as_json(run("publish", adapter(1), "--alias", "a", "--alias", "b", "--json"))
    assert (record["version"], record["digest"]) == (1, digest)
    assert record["aliases"] == ["a", "b", "latest"]


def test_publish_needs_an_adapter_folder(run: Run, tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*hub\.json"):
        run("publish", tmp_path)
    with pytest.raises(InputError, match="cannot read an adapter folder"):
        run("publish", tmp_path / "none", "--name", "a")


def test_list_prints_a_row_for_each_version(filled: Run) -> None:
    lines = [line.split("\t") for line in filled("list").splitlines()]
    assert lines[0][:4] == ["adapter", "version", "pair", "method"]
    assert [line[:4] for line in lines[1:]] == [
        ["en-ko.lora", "1", "en-ko", "lora"],
        ["en-ko.lora", "2", "en-ko", "lora"],
        ["german", "1", "en-de", "bottleneck"],
    ]
    assert lines[2][4:8] == ["4", "1 %", "20.5 → 61.2", "latest, prod"]


@pytest.mark.parametrize(
    ("words", "refs"),
    [
        ([], ["en-ko.lora:1", "en-ko.lora:2", "german:1"]),
        (["--latest"], ["en-ko.lora:2", "german:1"]),
        (["--pair", "eng-kor"], ["en-ko.lora:1", "en-ko.lora:2"]),
        (["--method", "bottleneck"], ["german:1"]),
        (["german"], ["german:1"]),
        (["--pair", "en-fr"], []),
    ],
)
def test_list_narrows(filled: Run, words: list[str], refs: list[str]) -> None:
    found = as_json(filled("list", "--json", *words))["adapters"]
    assert [f"{record['name']}:{record['version']}" for record in found] == refs


def test_list_in_json_carries_the_evidence(filled: Run, adapter: Write) -> None:
    record = as_json(filled("list", "--json"))["adapters"][0]
    assert record["digest"] == folder_digest(adapter(1))
    assert record["realised_fraction"] == 0.01
    assert record["base"]["parameters"] == 1600
    assert [(s["system"], s["value"]) for s in record["scores"]] == [
        ("base", 20.5),
        ("adapter", 61.25),
    ]


def test_looking_makes_no_registry(run: Run, root: Path) -> None:
    assert as_json(run("list", "--json")) == {"registry": str(root), "adapters": []}
    assert run("list") == ""
    for words in (["show", "a"], ["alias", "a", "b", "1"], ["fsck"]):
        with pytest.raises(AdapterNotFoundError, match=f"there is no registry at {root}"):
            run(*words)
    assert not root.exists()


def test_registry_flag_goes_before_the_environment(
    filled: Run, adapter: Write, tmp_path: Path
) -> None:
    filled("publish", adapter(7), "--name", "there", "--registry", tmp_path / "other")
    found = as_json(filled("list", "--json", "--registry", tmp_path / "other"))
    assert [record["name"] for record in found["adapters"]] == ["there"]


def test_show(filled: Run, adapter: Write) -> None:
    digest = folder_digest(adapter(2))
    for ref in ("en-ko.lora", "en-ko.lora@prod", "en-ko.lora:2", digest, digest[:20]):
        record = as_json(filled("show", ref, "--json"))
        assert (record["version"], record["digest"]) == (2, digest)
        assert record["adapter_aliases"] == {"latest": 2, "prod": 2}
        assert set(record["files"]) == set(os.listdir(adapter(2)))
    text = filled("show", "en-ko.lora")
    assert f"digest\t{digest}\n" in text
    assert "chrf++\tadapter\t61.25\t2\ts\n" in text


def test_show_of_the_unknown(filled: Run) -> None:
    with pytest.raises(AdapterNotFoundError, match="did you mean german"):
        filled("show", "germann")


def test_alias_prints_from_and_to(filled: Run) -> None:
    assert filled("alias", "en-ko.lora", "prod", "1") == "en-ko.lora@prod: 2 → 1\n"
    assert filled("alias", "en-ko.lora", "canary", "2") == "en-ko.lora@canary: – → 2\n"
    moved = as_json(filled("alias", "en-ko.lora", "prod", "2", "--expect", "1", "--json"))
    assert (moved["from"], moved["to"], moved["generation"]) == (1, 2, 3)


def test_alias_with_a_wrong_expectation_moves_nothing(filled: Run, root: Path) -> None:
    for expected in ("1", "0"):
        with pytest.raises(AliasMovedError, match="points at version 2"):
            filled("alias", "en-ko.lora", "prod", "1", "--expect", expected)
    assert filled("alias", "en-ko.lora", "canary", "1", "--expect", "0").endswith("– → 1\n")
    with Registry.open(root) as registry:
        assert registry.resolve("en-ko.lora@prod").version == 2


def test_fsck_tells_by_its_exit_code(filled: Run, root: Path) -> None:
    assert filled("fsck") == "3 versions, 10 blobs checked: clean\n"
    scratch = root / "tmp" / "stage-x"
    scratch.mkdir()
    assert "leftover" in filled("fsck")
    assert "repaired" in filled("fsck", "--repair", exit_code=1)
    for blob in (root / "blobs").iterdir():
        blob.unlink()
    report = as_json(filled("fsck", "--json", exit_code=4))
    assert {finding["severity"] for finding in report["findings"]} == {"damage"}
    assert "damage is left" in filled("fsck", exit_code=4)
