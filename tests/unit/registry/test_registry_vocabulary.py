"""The list of a target language's tokens in an adapter folder: bound by the digest, checked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.errors import IncompatibleAdapterError
from hub.registry import Registry
from hub.registry.exchange.outgoing import Outgoing, export
from hub.vocabulary import VOCABULARY_FILE, read_vocabulary, vocabulary_json


def test_a_list_is_part_of_the_version(registry: Registry, adapter: Callable[..., Path]) -> None:
    folder = adapter()
    without = registry.publish(folder, "en-ko.lora")
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", [2, 5, 9]))
    version = registry.publish(folder, "en-ko.lora")
    assert version.digest != without.digest
    assert read_vocabulary(registry.folder(version)) == (2, 5, 9)
    assert read_vocabulary(registry.folder(without)) is None
    assert registry.fsck().exit_code == 0


def test_a_list_that_was_altered_is_found_and_mended(
    registry: Registry, adapter: Callable[..., Path]
) -> None:
    folder = adapter()
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", [2, 5, 9]))
    version = registry.publish(folder, "en-ko.lora")
    lent = registry.folder(version) / VOCABULARY_FILE
    lent.unlink()
    lent.write_text(vocabulary_json("ko", [2, 5, 8]))
    assert read_vocabulary(registry.folder(version)) == (2, 5, 9)


def test_what_is_no_list_is_not_published(registry: Registry, adapter: Callable[..., Path]) -> None:
    folder = adapter()
    (folder / VOCABULARY_FILE).write_text('{"schema_version": 1, "tokens": [5, 2]}')
    with pytest.raises(IncompatibleAdapterError, match="not ascending") as caught:
        registry.publish(folder, "en-ko.lora")
    assert caught.value.field == VOCABULARY_FILE
    assert registry.names() == []


def test_an_export_that_a_hub_reads_keeps_the_list(
    registry: Registry, adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = adapter()
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", [2, 5, 9]))
    version = registry.publish(folder, "en-ko.lora")
    outgoing = Outgoing(version.ref, version.digest, version.manifest, registry.folder(version))
    export(outgoing, "peft", tmp_path / "peft")
    export(outgoing, "hf", tmp_path / "hf")
    assert read_vocabulary(tmp_path / "peft") == (2, 5, 9)
    assert read_vocabulary(tmp_path / "hf") is None
    registry.publish(tmp_path / "peft", "again")
