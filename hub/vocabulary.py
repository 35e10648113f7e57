"""vocabulary.json: the tokens of an adapter's target language, in its folder.

    {"language": "ko", "schema_version": 1, "tokens": [0, 1, 2, …]}

The ids are those of the adapter's base, ascending. `hub.bases.vocabulary` makes the list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from hub.errors import CorruptBlobError

VOCABULARY_FILE: Final = "vocabulary.json"
SCHEMA_VERSION: Final = 1


def vocabulary_json(language: str, tokens: Sequence[int]) -> str:
    """Return the text of vocabulary.json: the language and its tokens, ascending."""
    plain = {"schema_version": SCHEMA_VERSION, "language": language, "tokens": list(tokens)}
    return json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"


def read_vocabulary(folder: Path) -> tuple[int, ...] | None:
    """Return the tokens that an adapter folder lists, None where it lists none.

    Raises:
        CorruptBlobError: The file is not such a list.
    """
    path = folder / VOCABULARY_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CorruptBlobError(f"{VOCABULARY_FILE} cannot be read: {error.strerror}") from None
    return parse_vocabulary(text)


def parse_vocabulary(text: bytes) -> tuple[int, ...]:
    """Read the text of vocabulary.json.

    Raises:
        CorruptBlobError: It is not such a list; the message says why.
    """
    try:
        plain: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"not JSON: {error}") from None
    if not isinstance(plain, Mapping) or plain.get("schema_version") != SCHEMA_VERSION:
        raise _malformed(f"it is not a list of schema version {SCHEMA_VERSION}")
    tokens = plain.get("tokens")
    if not isinstance(tokens, list) or not all(type(one) is int for one in tokens) or not tokens:
        raise _malformed("tokens is not a list of token ids")
    rising = all(low < high for low, high in pairwise(tokens))
    if not rising or tokens[0] < 0 or tokens[-1] >= 1 << 31:
        raise _malformed("tokens are not ascending ids from 0")
    return tuple(tokens)


def _malformed(why: str) -> CorruptBlobError:
    return CorruptBlobError(
        f"{VOCABULARY_FILE} is malformed ({why}); remove it, or publish the adapter again from its "
        "run folder",
        field=VOCABULARY_FILE,
    )
