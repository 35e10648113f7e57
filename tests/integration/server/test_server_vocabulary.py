"""A server whose outputs choose from the target language's tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hub.bases.tokenizer import load_tokenizer
from hub.client import Decoding
from hub.vocabulary import VOCABULARY_FILE, vocabulary_json

TEXTS = ["Monday", "five kilometres per hour", "in 4 weeks", "Seoul"]
SHORT = Decoding(max_output_tokens=16)
ENGLISH = {"LATIN"}
KOREAN = {"HANGUL", "CJK", "LATIN"}  # Latin for names, units and codes


@pytest.fixture(scope="module")
def listed(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    with contextmanager(open_house)(vocabulary="language", vocabulary_bytes="1MiB") as house:
        yield house


def scripts(texts: tuple[str, ...]) -> set[str]:
    """What the letters of texts are named after, of those that a language may lack."""
    named = (unicodedata.name(one, "").split(" ")[0] for one in "".join(texts) if one.isalpha())
    return {name for name in named if name not in ("", "HALFWIDTH", "FULLWIDTH", "MODIFIER")}


def outputs(house: Any, target: str, adapter: str = "") -> tuple[str, ...]:
    found: tuple[str, ...] = house.client.translate(
        TEXTS, "en", target, adapter=adapter, decoding=SHORT
    ).texts
    return found


def test_outputs_keep_to_their_languages_scripts(house: Any, listed: Any) -> None:
    assert scripts(outputs(house, "ko")) - KOREAN  # a random base writes anything
    assert scripts(outputs(listed, "ko")) <= KOREAN
    assert scripts(outputs(listed, "de")) <= ENGLISH


def test_an_adapter_brings_its_own_list(listed: Any) -> None:
    """An adapter that lists Greek only writes nothing else, whatever the pair's language is."""
    tokenizer = load_tokenizer(listed.publisher.base)
    greek = {
        token
        for token, piece in tokenizer.tokens.items()
        if scripts((piece,)) == {"GREEK"} or token == tokenizer.eos_id
    }
    assert len(greek) > 300
    listed.publisher.bottleneck("plain", seed=5)
    folder = listed.publisher.scratch / f"adapter-{listed.publisher.count}"
    (folder / VOCABULARY_FILE).write_text(vocabulary_json("ko", sorted(greek)))
    listed.publisher.registry.publish(folder, "greek")
    assert scripts(outputs(listed, "ko", "plain")) <= KOREAN
    assert scripts(outputs(listed, "ko", "greek")) == {"GREEK"}
