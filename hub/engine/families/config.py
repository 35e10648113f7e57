"""Reading a config.json: every value is checked, and errors name the key."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from hub.engine.architecture import STACKS, Architecture, DecodingDefaults, RelativeBias
from hub.engine.requests import MAX_BEAM, EarlyStopping
from hub.errors import BaseNotFoundError, CorruptBaseError

ACTIVATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new", "silu": "silu", "swish": "silu"}
)

_LARGEST: Final = 2**31 - 1
"""Largest size of anything; products of two still fit an index."""
_FEWEST_BUCKETS: Final = 4
"""The encoder halves the buckets by direction, and each half into exact and growing ones."""


def validated(architecture: Architecture) -> Architecture:
    """Return an architecture whose numbers fit each other; every family ends with this.

    Raises:
        CorruptBaseError: Heads do not divide the width, a token id is outside the vocabulary, or
            relative positions have too few buckets; names the key, its value and the limit.
    """
    for stack in STACKS:
        heads, width = architecture.heads(stack), architecture.d_model
        if not architecture.head_dim and width % heads:
            raise _wrong(f"{stack}_attention_heads", heads, f"a divisor of d_model ({width})")
    for key, value in _token_ids(architecture):
        if value >= architecture.vocab_size:
            raise _wrong(key, value, f"a token id under vocab_size ({architecture.vocab_size})")
    if architecture.relative is not None:
        _check_relative(architecture.relative)
    return architecture


def size(config: Mapping[str, Any], name: str) -> int:
    """Return a whole number of at least 1.

    Raises:
        CorruptBaseError: It is anything else, or too large to be a size.
    """
    value = whole(config, name)
    if not 1 <= value <= _LARGEST:
        raise _wrong(name, value, f"1 to {_LARGEST}")
    return value


def whole(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0.

    Raises:
        CorruptBaseError: It is anything else.
    """
    value = config.get(name, default)
    if not _is_id(value):
        raise _wrong(name, value, "a whole number")
    return int(value)


def activation(config: Mapping[str, Any], key: str, name: str) -> str:
    """Return our name of an activation.

    Args:
        config: A parsed config.json.
        key: Where it says so.
        name: Its name there.

    Raises:
        BaseNotFoundError: It is not served.
    """
    found = ACTIVATIONS.get(name)
    if found is None:
        raise BaseNotFoundError(
            f"{config.get('model_type')} with {key}={config.get(key)!r} is not served; "
            f"its activation must be one of {', '.join(ACTIVATIONS)}"
        )
    return found


def refuse_unless(config: Mapping[str, Any], name: str, expected: bool) -> None:
    """Check an option that is served with one value only.

    Raises:
        BaseNotFoundError: It has the other value.
    """
    value = config.get(name, expected)
    if bool(value) is not expected:
        raise BaseNotFoundError(
            f"{config.get('model_type')} with {name}={str(value).lower()} is not served"
        )


def eos_ids(config: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the tokens that end a hypothesis.

    Raises:
        CorruptBaseError: There are none, or they are not token ids.
    """
    found = _ids(config, "eos_token_id")
    if not found:
        raise CorruptBaseError("config.json: eos_token_id is missing: no target could end")
    return found


def decoding_defaults(config: Mapping[str, Any]) -> DecodingDefaults:
    """Return what the generation config asks for.

    Raises:
        BaseNotFoundError: It forbids a sequence of tokens, which is not served.
        CorruptBaseError: A value is not what it should be.
    """
    forced = _ids(config, "forced_eos_token_id")
    ended = _ids(config, "eos_token_id")
    return DecodingDefaults(
        forced_eos_id=forced[0] if forced else None,
        bad_words=tuple(word for word in _bad_words(config) if word not in ended),
        no_repeat_ngram_size=whole(config, "no_repeat_ngram_size", 0),
        repetition_penalty=positive(config, "repetition_penalty", 1.0),
        beam_size=_beam_size(config),
        length_penalty=_length_penalty(config),
        early_stopping=_early_stopping(config),
        max_length=_max_length(config),
    )


def _beam_size(config: Mapping[str, Any]) -> int:
    value = whole({"num_beams": _or(config, "num_beams", 1)}, "num_beams")
    if not 1 <= value <= MAX_BEAM:
        raise _wrong("num_beams", value, f"1 to {MAX_BEAM}")
    return value


def _length_penalty(config: Mapping[str, Any]) -> float:
    value = _or(config, "length_penalty", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 10:
        raise _wrong("length_penalty", value, "a number from -10 to 10")
    return float(value)


def _early_stopping(config: Mapping[str, Any]) -> EarlyStopping:
    value = _or(config, "early_stopping", False)
    if value is True or value is False or value == "never":
        return "never" if value == "never" else bool(value)
    raise _wrong("early_stopping", value, "true, false or 'never'")


def _max_length(config: Mapping[str, Any]) -> int | None:
    """Return the longest target; the limit in new tokens wins, which leaves out the start token."""
    new = _or(config, "max_new_tokens", None)
    if new is not None:
        return 1 + size({"max_new_tokens": new}, "max_new_tokens")
    longest = _or(config, "max_length", None)
    return None if longest is None else size({"max_length": longest}, "max_length")


def _or(config: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a value, the default for a key that is missing or null."""
    value = config.get(name)
    return default if value is None else value


def _bad_words(config: Mapping[str, Any]) -> list[int]:
    words = config.get("bad_words_ids")
    words = [] if words is None else words
    if not isinstance(words, list | tuple) or not all(_is_word(word) for word in words):
        raise _wrong("bad_words_ids", words, "a list of lists of token ids")
    for word in words:
        if len(word) != 1:
            raise BaseNotFoundError(
                f"bad_words_ids holds {word!r}; only single tokens are served, as [id]"
            )
    return [int(word[0]) for word in words]


def _is_word(word: object) -> bool:
    return isinstance(word, list | tuple) and len(word) > 0 and all(_is_id(one) for one in word)


def positive(config: Mapping[str, Any], name: str, default: float) -> float:
    """Return a finite number above 0.

    Raises:
        CorruptBaseError: It is anything else.
    """
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, "a number above 0")
    if not 0 < value <= sys.float_info.max:
        raise _wrong(name, value, "a finite number above 0")
    return float(value)


def _ids(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = config.get(name)
    ids = () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(_is_id(one) for one in ids):
        raise _wrong(name, value, "token ids")
    return ids


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _token_ids(architecture: Architecture) -> Iterator[tuple[str, int]]:
    """Yield every token id of a base with its key."""
    decoding = architecture.decoding
    yield "decoder_start_token_id", architecture.decoder_start_id
    yield "pad_token_id", architecture.pad_id
    yield from (("eos_token_id", one) for one in architecture.eos_ids)
    if decoding.forced_eos_id is not None:
        yield "forced_eos_token_id", decoding.forced_eos_id
    yield from (("bad_words_ids", one) for one in decoding.bad_words)


def _check_relative(relative: RelativeBias) -> None:
    """Check what laying distances out in buckets divides by, and takes logarithms of."""
    buckets, half = relative.buckets, relative.buckets // 2
    if buckets < _FEWEST_BUCKETS or buckets % 2:
        expected = f"an even number of at least {_FEWEST_BUCKETS}"
        raise _wrong("relative_attention_num_buckets", buckets, expected)
    if relative.max_distance <= half:
        expected = f"more than half of relative_attention_num_buckets ({half})"
        raise _wrong("relative_attention_max_distance", relative.max_distance, expected)


def _wrong(key: str, value: object, expected: str) -> CorruptBaseError:
    return CorruptBaseError(f"config.json: {key} is {value!r:.80}, expected {expected}")
