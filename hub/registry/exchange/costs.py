"""PEFT runs a config's expressions with `re`, which has no time limit: they are tried apart first.

An expression that is cheap for the engine's matcher may be endless for `re`. Importing hands the
config to PEFT, in this process, so a process of its own tries the expressions before.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hub.errors import IncompatibleAdapterError

SECONDS: Final = 20.0
_EXPRESSIONS: Final = ("target_modules", "exclude_modules", "feedforward_modules", "layers_pattern")
_PATTERNS: Final = ("rank_pattern", "alpha_pattern")
_TRY: Final = """
import json, re, sys
expressions, names = json.load(sys.stdin)
for expression in expressions:
    form = rf"(.*\\.)?({expression})$"
    try:
        for name in names:
            re.match(form, name)
            re.fullmatch(expression, name)
    except Exception:
        pass
"""


def check_cost(config: Mapping[str, Any], names: Iterable[str]) -> None:
    """Check that PEFT can match a config's expressions with a model's modules in bounded time.

    Args:
        config: adapter_config.json.
        names: Paths of all modules of the base.

    Raises:
        IncompatibleAdapterError: It takes longer; names the option.
    """
    for option, expressions in _found(config):
        try:
            subprocess.run(
                [sys.executable, "-I", "-c", _TRY],
                input=json.dumps([expressions, list(names)]).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise IncompatibleAdapterError(
                f"{option} holds an expression that Python takes over {SECONDS:g} s to match with "
                f"the base's modules ({expressions[0]!r:.80}); name the modules by their paths",
                field=option,
            ) from None


def _found(config: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the options that hold expressions, with what they hold."""
    for option in _EXPRESSIONS:
        given = config.get(option)
        listed = given if option == "layers_pattern" and isinstance(given, list) else [given]
        expressions = [each for each in listed if isinstance(each, str) and _is_costly(each)]
        if expressions:
            yield option, expressions
    for option in _PATTERNS:
        given = config.get(option)
        keys = [key for key in given if _is_costly(key)] if isinstance(given, dict) else []
        if keys and config.get("peft_type") == "LORA":
            yield option, keys


def _is_costly(expression: str) -> bool:
    """Return whether an expression repeats something; what repeats nothing is cheap."""
    return any(sign in expression for sign in "*+?{|")
