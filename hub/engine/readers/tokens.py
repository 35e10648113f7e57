"""Rows of the token table as PEFT saves them: `TRAINABLE_TOKENS`, or beside another kind.

PEFT keeps whole rows, not changes, in the order of the config's list of token ids. On a tied table
it may save them once for each of the modules that share it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from hub.engine.readers.files import (
    HOW_TO_SERVE_WHOLE_WEIGHTS,
    AdapterFiles,
    check_shape,
    missing,
    unbound,
)
from hub.engine.readers.spelling import PREFIX
from hub.engine.readers.target import Contents, Target
from hub.errors import AdapterBindingError, IncompatibleAdapterError

KIND: Final = "TRAINABLE_TOKENS"
BESIDE: Final = "trainable_token_indices"
"""The option that names the tokens, of a kind that has rows beside what it is itself."""

_WITH_ROWS: Final = ("BITFIT", "BOTTLENECK", "KV_PREFIX", "LORA", "NORMS")


@dataclass(frozen=True)
class OwnRows:
    """Whole rows of the token table.

    Attributes:
        ids: `(n,)` int64, ascending.
        weight: `(n, d_model)` float32.
    """

    ids: Tensor
    weight: Tensor


def read_tokens(files: AdapterFiles, target: Target) -> Contents:
    """Return nothing beside the rows, which are split off before."""
    files.refuse(("modules_to_save",), KIND)
    for name in files.tensors:
        raise unbound(name)
    return Contents()


def split_token_rows(files: AdapterFiles, target: Target) -> tuple[AdapterFiles, OwnRows | None]:
    """Return an adapter without its rows of the token table, and these.

    Raises:
        IncompatibleAdapterError: The option is none that is served, or the base's output is a table
            of its own.
        AdapterBindingError: Rows are missing, misshapen, or differ among modules of one table.
    """
    alone = files.kind == KIND
    option = "token_indices" if alone else BESIDE
    given = files.config.get(option)
    if not alone and not given:
        return files, None
    if not alone and files.kind not in _WITH_ROWS:
        files.refuse((option,), files.kind)
    if not target.architecture.tied_output:
        raise IncompatibleAdapterError(
            f"{option} is set, but the output of this base is a table of its own, and rows of the "
            f"token table are served where both are one; {HOW_TO_SERVE_WHOLE_WEIGHTS}",
            field=option,
        )
    table = target.tables[0]
    listed = given if alone else _of_the_table(given, target)
    if alone and not files.rules.targets(table):
        raise _elsewhere("target_modules", files.config.get("target_modules"), table)
    ids = _token_ids(option, listed, target.architecture.vocab_size)
    suffix = ".trainable_tokens_delta" if alone else ".token_adapter.trainable_tokens_delta"
    rest, weight = _split(files, target, suffix)
    check_shape(f"{table}{suffix}", weight, (len(ids), target.architecture.d_model))
    order = torch.tensor(ids).argsort()
    return replace(files, tensors=rest), OwnRows(torch.tensor(ids)[order], weight[order])


def _split(files: AdapterFiles, target: Target, suffix: str) -> tuple[Mapping[str, Tensor], Tensor]:
    """Return the other tensors, and the table's rows, once."""
    places = {f"{table}{suffix}": table for table in target.tables}
    found: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in files.tensors.items():
        table = places.get(name.removeprefix(PREFIX))
        if table is None:
            rest[name] = tensor
        elif table in found:
            raise unbound(name)
        else:
            found[table] = tensor
    first = target.tables[0]
    if first not in found:
        raise missing(f"{first}{suffix}")
    for table, tensor in found.items():
        if not torch.equal(tensor, found[first]):
            raise AdapterBindingError(
                f"tensor '{table}{suffix}' differs from that of {first}, and the base has one "
                "table for both; train rows of the input embedding, which PEFT ties the others to"
            )
    return rest, found[first]


def _of_the_table(given: Any, target: Target) -> Any:
    """Return the list of ids of PEFT's option: a list, or one for each module by its name."""
    if not isinstance(given, Mapping):
        return given
    first = target.tables[0]
    if not any(_ends_in(first, name) for name in given):
        raise _elsewhere(BESIDE, sorted(given), first)
    lists = list(given.values())
    known = all(any(_ends_in(table, name) for table in target.tables) for name in given)
    if not known or any(one != lists[0] for one in lists):
        raise IncompatibleAdapterError(
            f"{BESIDE} names {', '.join(map(str, given))} with lists of their own, and the base "
            f"has one token table; give one list for {first}",
            field=BESIDE,
        )
    return lists[0]


def _ends_in(path: str, name: object) -> bool:
    return path == name or path.endswith(f".{name}")


def _elsewhere(option: str, given: object, table: str) -> IncompatibleAdapterError:
    return IncompatibleAdapterError(
        f"{option} is {given!r:.80}, which leaves out the input embedding {table}: its rows would "
        f"differ from those of modules that share the table; name {table}",
        field=option,
    )


def _token_ids(option: str, given: Any, vocabulary: int) -> list[int]:
    """Check a list of token ids.

    Raises:
        IncompatibleAdapterError: It is none, names a token twice, or one that the base has not.
    """
    if not isinstance(given, list) or not given or not all(type(one) is int for one in given):
        raise IncompatibleAdapterError(
            f"{option} is {given!r:.80}, expected a list of token ids", field=option
        )
    if len(set(given)) < len(given):
        raise IncompatibleAdapterError(f"{option} names a token twice", field=option)
    if not 0 <= min(given) <= max(given) < vocabulary:
        raise IncompatibleAdapterError(
            f"{option} names token {max(given) if min(given) >= 0 else min(given)}, the base has 0 "
            f"to {vocabulary - 1}",
            field=option,
        )
    return given
