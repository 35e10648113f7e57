"""The manifest: closed, strict, and the same bytes for the same facts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from hub.errors import CorruptBlobError
from hub.manifest import AdapterManifest

DIGEST = "sha256:" + "ab" * 32


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "pair": "en-ko",
        "method": "bottleneck",
        "size": 12,
        "budget": 0.01,
        "trainable_parameters": 99_000,
        "base": {"name": "embedded", "digest": DIGEST, "parameters": 9_900_000},
        "corpus": {
            "name": "cldr",
            "fingerprint": DIGEST,
            "licence": "Unicode-3.0",
            "train": 1000,
            "dev": 100,
            "test": 100,
        },
        "recipe_digest": DIGEST,
        "seed": 0,
        "scores": [
            {"metric": "chrf++", "system": "base", "value": 17.5, "signature": "s", "items": 100},
            {
                "metric": "chrf++",
                "system": "adapter",
                "value": 40.25,
                "signature": "s",
                "items": 100,
            },
        ],
        **changes,
    }


def read(**changes: Any) -> AdapterManifest:
    return AdapterManifest.from_json(json.dumps(facts(**changes)))


def test_round_trip_is_canonical() -> None:
    manifest = read()
    text = manifest.to_json()
    assert AdapterManifest.from_json(text) == manifest
    assert AdapterManifest.from_json(text.encode()).to_json() == text
    shuffled = dict(reversed(facts().items()))
    assert AdapterManifest.from_json(json.dumps(shuffled)).to_json() == text
    assert json.loads(text) == facts(realised_fraction=0.01)
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(facts(realised_fraction=0.01))


def test_other_facts_give_other_bytes() -> None:
    assert read(seed=1).to_json() != read(seed=0).to_json()


def test_derived_values() -> None:
    manifest = read()
    assert manifest.realised_fraction == 0.01
    assert (manifest.language_pair.source, manifest.language_pair.target) == ("en", "ko")
    assert manifest.score("chrf++", "adapter") == 40.25
    assert manifest.score("bleu", "adapter") is None


def test_counts_are_verified_against_what_is_loaded() -> None:
    manifest = read()
    manifest.verify(parameters=99_000, base_parameters=9_900_000)
    with pytest.raises(CorruptBlobError, match="adapter has 99,000 parameters, but it has 99,001"):
        manifest.verify(parameters=99_001)
    with pytest.raises(CorruptBlobError, match="base has 9,900,000"):
        manifest.verify(base_parameters=9_900_001)


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"surprise": 1}, "surprise"),
        ({"pair": "en-en"}, "pair"),
        ({"pair": "eng_Latn-ko"}, "write 'en-ko'"),
        ({"pair": "xx-ko"}, "unknown language"),
        ({"size": -1}, "size"),
        ({"size": "12"}, "size"),
        ({"size": True}, "size"),
        ({"budget": 0}, "budget"),
        ({"budget": 1.5}, "budget"),
        ({"trainable_parameters": 0}, "trainable_parameters"),
        ({"realised_fraction": 0.02}, "realised_fraction 0.02"),
        ({"realised_fraction": 0.0}, "realised_fraction"),
        ({"budget": 0.009}, "budget of 0.009"),
        ({"recipe_digest": "sha256:short"}, "recipe_digest"),
        ({"base": {"name": "b", "digest": DIGEST, "parameters": 0}}, "base.parameters"),
        ({"scores": [{"metric": "meteor"}]}, "scores.0.metric"),
    ],
)
def test_what_is_not_a_manifest_is_refused_by_field(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CorruptBlobError) as caught:
        read(**changes)
    assert named in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff\xfe", '{"pair": NaN}'])
def test_what_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(CorruptBlobError, match=r"hub\.json"):
        AdapterManifest.from_json(text)


def test_a_score_is_a_number() -> None:
    scores = facts()["scores"]
    scores[0]["value"] = float("nan")
    with pytest.raises(CorruptBlobError, match=r"scores\.0\.value"):
        read(scores=scores)


def test_an_adapter_asked_by_size_has_no_budget() -> None:
    assert read(budget=None).budget is None
    assert '"budget": null' in read(budget=None).to_json()


def test_evidence_comes_back_as_it_was() -> None:
    comparison = {
        "metric": "ter", "against": "base", "delta": -1.5, "low": -3.0, "high": 0.25,
        "p_value": 0.04, "p_worse": 0.9, "signature": "s|bs:1000|seed:12345",
    }  # fmt: skip
    score = {"metric": "bleu", "base": 20.0, "adapter": 30.0, "p_value": 0.001}
    environment = {
        "python": "3.11.7", "libraries": {"torch": "2.13.0"}, "device": "cpu", "processor": "one",
        "threads": 2, "precision": "bfloat16", "scored_in": "int8",
    }  # fmt: skip
    given = {
        "comparisons": [comparison],
        "lengths": [{"unit": "words", "low": 41, "high": None, "items": 3, "scores": [score]}],
        "environment": environment,
    }
    manifest = read(**given, base=facts()["base"] | {"licence": "CC-BY-4.0"})
    again = json.loads(manifest.to_json())
    assert {key: again[key] for key in given} == given
    assert again["base"]["licence"] == "CC-BY-4.0"
    found = manifest.comparison("ter")
    assert found is not None
    assert found.p_worse == 0.9
    assert manifest.comparison("ter", "other:1") is manifest.comparison("bleu") is None
    with pytest.raises(CorruptBlobError, match=r"comparisons\.0\.p_value"):
        read(comparisons=[comparison | {"p_value": 1.5}])


def imported(**changes: Any) -> dict[str, Any]:
    known = facts(origin={"kind": "imported", "source": "team/en-ko@abc", "digest": DIGEST})
    del known["corpus"], known["recipe_digest"], known["seed"]
    return known | {"scores": []} | changes


def test_an_imported_adapter_says_what_is_not_known() -> None:
    manifest = AdapterManifest.from_json(json.dumps(imported()))
    assert (manifest.corpus, manifest.recipe_digest, manifest.seed) == (None, None, None)
    plain = json.loads(manifest.to_json())
    assert plain["corpus"] is plain["recipe_digest"] is plain["seed"] is None
    assert plain["origin"] == imported()["origin"]
    assert AdapterManifest.from_json(manifest.to_json()) == manifest
    assert manifest != AdapterManifest.from_json(json.dumps(imported(seed=0)))


def test_a_merged_adapter_names_its_parents() -> None:
    parents = [{"ref": "a:1", "digest": DIGEST, "weight": 0.7}]
    manifest = AdapterManifest.from_json(
        json.dumps(imported(origin={"kind": "merged", "parents": parents}))
    )
    assert manifest.origin is not None
    assert manifest.origin.parents[0].weight == 0.7
    assert json.loads(manifest.to_json())["origin"] == {"kind": "merged", "parents": parents}


@pytest.mark.parametrize("field", ["corpus", "recipe_digest", "seed"])
def test_a_trained_adapter_knows_its_making(field: str) -> None:
    with pytest.raises(CorruptBlobError, match=f"{field} is missing"):
        read(**{field: None})


def test_a_trained_manifest_keeps_its_bytes() -> None:
    assert "origin" not in read().to_json()
    assert json.loads(read(seed=0).to_json())["seed"] == 0


@pytest.mark.parametrize("origin", [{"kind": "imported"}, {"kind": "merged"}, {"kind": "found"}])
def test_an_origin_says_what_its_kind_needs(origin: dict[str, Any]) -> None:
    with pytest.raises(CorruptBlobError, match="origin"):
        AdapterManifest.from_json(json.dumps(imported(origin=origin)))
