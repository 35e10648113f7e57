"""Digests: of former releases too, remembered for large files, never of a file that changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from hub.bases import memory, open_base
from hub.bases.digest import network_facts
from hub.bases.memory import DigestMemory

from ...support.published import published_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    published_model("m2m_100").save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "vocab.json").write_text('{"a": 0}', encoding="utf-8")
    (tmp_path / "base" / "sentencepiece.bpe.model").write_bytes(b"pieces")
    return tmp_path / "base"


def former_by_hand(folder: Path) -> str:
    """The digest of release 0.1: names and sha256 of the files, as canonical JSON."""
    names = ("config.json", "model.safetensors", "sentencepiece.bpe.model", "vocab.json")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    text = json.dumps(files, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_a_base_answers_to_its_digest_and_to_the_one_of_former_releases(folder: Path):
    base = open_base(str(folder))
    former = former_by_hand(folder)
    assert former != base.digest
    assert base.answers_to(base.digest)
    assert base.answers_to(former)
    assert not base.answers_to("sha256:" + "0" * 64)
    (folder / "sentencepiece.bpe.model").write_bytes(b"other pieces")
    changed = open_base(str(folder))
    assert changed.digest != base.digest
    assert not changed.answers_to(former)
    assert not changed.answers_to(base.digest)


def test_the_former_digest_is_computed_only_when_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hub.bases.base.former_digest", _never)
    base = open_base(str(folder))
    assert base.answers_to(base.digest)
    with pytest.raises(AssertionError):
        base.answers_to("sha256:" + "0" * 64)


def _never(*_: object) -> str:
    raise AssertionError("read again")


def test_how_a_base_decodes_by_default_is_not_its_identity(folder: Path):
    before = open_base(str(folder)).digest
    path = folder / "generation_config.json"
    generation = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(generation | {"num_beams": 7, "no_repeat_ngram_size": 3}))
    assert open_base(str(folder)).digest == before
    path.write_text(json.dumps(generation | {"decoder_start_token_id": 7}))
    assert open_base(str(folder)).digest != before


def test_the_facts_of_the_identity_do_not_change_from_release_to_release(folder: Path):
    """A fact more, or spelt differently, would give every base another digest."""
    assert network_facts(open_base(str(folder)).architecture) == {
        "family": "m2m_100", "d_model": 32, "vocab_size": 120, "encoder_layers": 2,
        "decoder_layers": 3, "encoder_heads": 4, "decoder_heads": 2, "encoder_ffn": 64,
        "decoder_ffn": 48, "max_positions": 96, "activation": "relu", "norm_placement": "pre",
        "norm_kind": "layer", "norm_epsilon": 1e-5, "positions": "sinusoidal",
        "position_offset": 2, "gated_feed_forward": False, "biases": True,
        "embedding_scale": 32**0.5, "embedding_norm": False, "final_norm": True,
        "output_scale": 1.0, "decoder_start_id": 2, "pad_id": 1, "eos_ids": (2,), "head_dim": 0,
        "attention_scaled": True, "relative": None,
    }  # fmt: skip


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large and as written long ago."""
    monkeypatch.setattr(memory, "_LARGE", 1)
    monkeypatch.setattr(memory, "_SETTLED_NS", -1)
    path = tmp_path / "large"
    path.write_bytes(b"content")
    return path


def test_a_large_file_is_read_once(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = hashlib.sha256(b"content").hexdigest()
    assert DigestMemory(tmp_path / "cache").file(large) == known
    monkeypatch.setattr(memory, "_hash_file", _never)  # as in another process
    assert DigestMemory(tmp_path / "cache").file(large) == known
    with pytest.raises(AssertionError, match="read again"):
        DigestMemory(tmp_path / "another").file(large)


def test_an_edit_is_seen_even_with_size_and_time_put_back(large: Path, tmp_path: Path):
    found = DigestMemory(tmp_path / "cache")
    before = found.file(large)
    stat = large.stat()
    large.write_bytes(b"CONTENT")
    os.utime(large, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert large.stat().st_size == stat.st_size
    assert large.stat().st_mtime_ns == stat.st_mtime_ns
    assert found.file(large) == hashlib.sha256(b"CONTENT").hexdigest() != before


def test_what_was_written_a_moment_ago_is_not_remembered(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(memory, "_SETTLED_NS", 3600 * 10**9)
    DigestMemory(tmp_path / "cache").file(large)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("damage", ["", "{}", '{"stamp": 3, "value": "x"}', "[]"])
def test_a_damaged_record_is_made_again(large: Path, tmp_path: Path, damage: str):
    cache = tmp_path / "cache"
    known = DigestMemory(cache).file(large)
    (record,) = (cache / memory.FOLDER).iterdir()
    record.write_text(damage, encoding="utf-8")
    assert DigestMemory(cache).file(large) == known
    assert json.loads(record.read_text(encoding="utf-8"))["value"] == known


def test_a_cache_that_cannot_be_written_costs_time_alone(large: Path, tmp_path: Path):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    known = DigestMemory(tmp_path / "file").file(large)
    assert known == hashlib.sha256(b"content").hexdigest()


def test_the_tensors_of_a_large_file_are_remembered_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = open_base(str(folder)).digest
    monkeypatch.setattr(memory, "_LARGE", 1)
    monkeypatch.setattr(memory, "_SETTLED_NS", -1)
    cache = tmp_path / "cache"
    assert open_base(str(folder), cache=cache).digest == expected
    monkeypatch.setattr(memory, "_hash_tensors", _never)
    assert open_base(str(folder), cache=cache).digest == expected
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(AssertionError, match="read again"):
        _ = open_base(str(tmp_path / "copy"), cache=cache).digest
