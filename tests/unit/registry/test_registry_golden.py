from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import sacrebleu

from hub.errors import CorruptBlobError, IncompatibleAdapterError
from hub.golden import GOLDEN_FILE, GoldenLine, GoldenLines, GoldenSearch
from hub.registry import Registry, folder_digest
from hub.registry.exchange.outgoing import Outgoing, export

Adapter = Callable[..., Path]

REFERENCES = ["월요일", "화요일 아침", "일 주일 전"]
TRANSLATIONS = ["월요일", "화요일 저녁", "한 주 전"]


def golden(pair: str = "en-ko") -> GoldenLines:
    return GoldenLines(
        pair=pair,
        score=50.0,
        signature="s",
        numbers="int8",
        search=GoldenSearch(
            beam_size=1, max_new_tokens=64, length_penalty=1.0, early_stopping=False
        ),
        lines=tuple(
            GoldenLine(source=f"line {number}", reference=reference, translation=translation)
            for number, (reference, translation) in enumerate(
                zip(REFERENCES, TRANSLATIONS, strict=True)
            )
        ),
    )


def test_scores_are_sacrebleus() -> None:
    expected = sacrebleu.corpus_chrf(TRANSLATIONS, [REFERENCES], word_order=2).score
    assert golden().score_of(TRANSLATIONS) == round(expected, 4)
    assert golden().score_of(REFERENCES) == 100
    assert golden().changed(TRANSLATIONS) == 0
    assert golden().changed(REFERENCES) == pytest.approx(2 / 3)


def test_the_text_is_read_as_it_was_written() -> None:
    text = golden().to_json()
    assert GoldenLines.from_json(text) == golden()
    assert GoldenLines.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('"score": 50.0', '"score": 101.0', "score"),
        ('"score": 50.0', '"score": NaN', "score"),
        ('"length_penalty": 1.0', '"length_penalty": 1e300', "search.length_penalty"),
        ('"reference": "월요일"', '"reference": ""', "lines.0.reference"),
        ('"pair"', '"pairs"', "pair"),
        ("{", "[", "the file"),
    ],
)
def test_what_is_none_is_refused_with_its_place(old: str, new: str, where: str) -> None:
    with pytest.raises(CorruptBlobError, match=f"golden lines: {where}"):
        GoldenLines.from_json(golden().to_json().replace(old, new, 1))


def with_golden(folder: Path, pair: str = "en-ko") -> Path:
    (folder / GOLDEN_FILE).write_text(golden(pair).to_json(), encoding="utf-8")
    return folder


def test_they_are_published_and_covered_by_the_digest(registry: Registry, adapter: Adapter) -> None:
    without = registry.publish(adapter(1), "shop")
    version = registry.publish(with_golden(adapter(1)), "shop")
    assert version.version == without.version + 1
    assert version.digest == folder_digest(adapter(1)) != without.digest
    assert GOLDEN_FILE in version.files
    assert registry.golden(version) == golden()
    assert registry.golden(without) is None
    assert (registry.folder(version) / GOLDEN_FILE).exists()
    assert registry.fsck().exit_code == 0


def test_lines_of_another_pair_or_none_are_refused(registry: Registry, adapter: Adapter) -> None:
    with pytest.raises(IncompatibleAdapterError, match="lines of en-de, the adapter translates"):
        registry.publish(with_golden(adapter(1), "en-de"), "shop")
    (adapter(2) / GOLDEN_FILE).write_text("{}")
    with pytest.raises(IncompatibleAdapterError, match=r"nothing published: golden\.json does not"):
        registry.publish(adapter(2), "shop")
    assert registry.names() == []


def test_damage_is_found(registry: Registry, root: Path, adapter: Adapter) -> None:
    version = registry.publish(with_golden(adapter(1)), "shop")
    blob = root / "blobs" / version.files[GOLDEN_FILE]
    os.chmod(blob, 0o600)
    blob.write_bytes(blob.read_bytes().replace(b"50.0", b"99.0"))
    with pytest.raises(CorruptBlobError, match=r"golden\.json is damaged"):
        registry.golden(version)
    assert registry.fsck().exit_code == 4
    registry.publish(with_golden(adapter(1)), "shop")  # restores it
    assert registry.golden(version) == golden()
    blob.unlink()
    with pytest.raises(CorruptBlobError, match="cannot be read"):
        registry.golden(version)


def test_a_peft_export_keeps_them_and_one_for_the_hub_does_not(
    registry: Registry, adapter: Adapter, tmp_path: Path
) -> None:
    version = registry.publish(with_golden(adapter(1)), "shop")
    outgoing = Outgoing(version.ref, version.digest, version.manifest, registry.folder(version))
    export(outgoing, "peft", tmp_path / "peft")
    export(outgoing, "hf", tmp_path / "hf")
    assert GoldenLines.from_json((tmp_path / "peft" / GOLDEN_FILE).read_bytes()) == golden()
    assert not (tmp_path / "hf" / GOLDEN_FILE).exists()
    again = registry.publish(tmp_path / "peft", "again")
    assert registry.golden(again) == golden()
