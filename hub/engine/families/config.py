"""Reading a config.json: every value is checked, and errors name the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from hub.engine.architecture import DecodingDefaults
from hub.errors import BaseNotFoundError, CorruptBaseError

ACTIVATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_new", "silu": "silu", "swish": "silu"}
)


def whole(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """Return a whole number of at least 0.

    Raises:
        CorruptBaseError: It is anything else.
    """
    value = config.get(name, default)
    if not _is_id(value):
        raise CorruptBaseError(f"config.json: {name} is {value!r}, expected a whole number")
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
    """Return what the generation config asks for; beams and lengths are the request's own.

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
        repetition_penalty=_positive(config, "repetition_penalty", 1.0),
    )


def _bad_words(config: Mapping[str, Any]) -> list[int]:
    words = config.get("bad_words_ids") or []
    for word in words:
        if not isinstance(word, Sequence) or len(word) != 1 or not _is_id(word[0]):
            raise BaseNotFoundError(
                f"bad_words_ids holds {word!r}; only single tokens are served, as [id]"
            )
    return [int(word[0]) for word in words]


def _positive(config: Mapping[str, Any], name: str, default: float) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise CorruptBaseError(f"config.json: {name} is {value!r}, expected a number above 0")
    return float(value)


def _ids(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = config.get(name)
    ids = () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
    if not all(_is_id(one) for one in ids):
        raise CorruptBaseError(f"config.json: {name} is {value!r}, expected token ids")
    return ids


def _is_id(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
