"""An adapter folder becomes host tensors that are ready for a slot.

Everything is checked here, off the engine's thread: what `place` gets binds and
is finite. An adapter that would act only in part is refused, tensor by name.
Each kind is read by its own module in `hub.engine.readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from hub.engine.architecture import Architecture
from hub.engine.banks import BankPart
from hub.engine.deltas import Deltas
from hub.engine.families import Checkpoint, Family
from hub.engine.prefixes import Prefix
from hub.engine.readers.bitfit import read_bitfit
from hub.engine.readers.bottleneck import read_bottleneck
from hub.engine.readers.files import HOW_TO_SERVE_WHOLE_WEIGHTS, MAX_MAGNITUDE, AdapterFiles
from hub.engine.readers.ia3 import read_ia3
from hub.engine.readers.lora import read_lora
from hub.engine.readers.norms import read_ln_tuning, read_norms
from hub.engine.readers.options import refuse_unknown
from hub.engine.readers.prefix import read_kv_prefix, read_prefix_tuning
from hub.engine.readers.target import Contents, Target
from hub.engine.readers.tokens import read_tokens, split_token_rows
from hub.engine.rules import check_shortlist
from hub.engine.shortlists import Shortlist
from hub.engine.token_rows import TokenRows
from hub.engine.vectors import VectorPart
from hub.errors import AdapterBindingError, DecodingError, IncompatibleAdapterError
from hub.vocabulary import VOCABULARY_FILE, read_vocabulary

__all__ = ["MAX_MAGNITUDE", "AdapterReader", "HostAdapter"]

_READERS: Final[Mapping[str, Callable[[AdapterFiles, Target], Contents]]] = MappingProxyType(
    {
        "BITFIT": read_bitfit,
        "BOTTLENECK": read_bottleneck,
        "IA3": read_ia3,
        "KV_PREFIX": read_kv_prefix,
        "LN_TUNING": read_ln_tuning,
        "LORA": read_lora,
        "NORMS": read_norms,
        "PREFIX_TUNING": read_prefix_tuning,
        "TRAINABLE_TOKENS": read_tokens,
    }
)
_WHOLE_WEIGHTS: Final = ("CROSS_ATTENTION", "FULL")


TableRows = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Converts float32 rows of a token table: `Precision.table_rows`."""


def float_rows(weight: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return rows of a token table as they are, float32."""
    return weight, None


@dataclass(frozen=True)
class HostAdapter:
    """An adapter in host memory, checked and converted.

    Attributes:
        kind: The `peft_type`, in lower case.
        digest: Digest of the base it was checked against.
        parameters: Number of trained values, before padding.
        parts: What each bank copies.
        vectors: What each vector table copies.
        prefixes: Keys and values in front of attentions.
        token_rows: Rows of the token table; None for none.
        tokens: `(n,)` int32, the tokens of its target language, ascending; None for an adapter
            without such a list.
    """

    kind: str
    digest: str
    parameters: int
    parts: tuple[BankPart, ...]
    vectors: tuple[VectorPart, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    tokens: Tensor | None = None
    token_rows: TokenRows | None = None

    @property
    def table_rows(self) -> int:
        """Return how many rows of the token table it has."""
        return 0 if self.token_rows is None else len(self.token_rows.ids)

    @property
    def nbytes(self) -> int:
        """Return the bytes held in memory, and copied by placing it."""
        own: list[BankPart | VectorPart | Prefix]
        own = [*self.parts, *self.vectors, *self.prefixes]
        listed = 0 if self.tokens is None else self.tokens.nbytes
        rows = 0 if self.token_rows is None else self.token_rows.nbytes
        return sum(part.nbytes for part in own) + listed + rows


class AdapterReader:
    """Reads adapter folders for one base; has no mutable state, so threads may share it.

    Attributes:
        target: The base as adapters see it.
    """

    def __init__(
        self,
        family: Family,
        architecture: Architecture,
        deltas: Deltas,
        base_digest: str,
        *,
        weights: Callable[[], Checkpoint],
        dtype: torch.dtype = torch.float32,
        table_rows: TableRows = float_rows,
    ) -> None:
        """Learn the base's module paths.

        Args:
            family: How the base names its modules.
            architecture: Its shape.
            deltas: Converts low-rank adapters and bottlenecks.
            base_digest: What adapters are checked against.
            weights: Opens the unquantized base, for kinds that relate to its weights.
            dtype: Of the caches.
            table_rows: Converts rows of the token table.
        """
        self._digest = base_digest
        self._table_rows = table_rows
        self._architecture = architecture
        self.target = Target.of(family, architecture, deltas, weights, dtype)

    def read(self, folder: Path) -> HostAdapter:
        """Read, check and convert one adapter.

        Raises:
            IncompatibleAdapterError: The kind or an option is not served; names it.
            AdapterBindingError: A tensor does not bind, is missing, or is not sound, or its list of
                tokens is not one of this base's.
            CorruptBlobError: A file cannot be read.
        """
        files = AdapterFiles.read(folder)
        reader = _READERS.get(files.kind)
        if reader is None:
            raise _not_served(files.kind)
        refuse_unknown(files.config)
        if not files.tensors:
            raise AdapterBindingError(f"{folder.name} holds no tensors: it would not act")
        tokens = self._listed(folder)
        files, own = split_token_rows(files, self.target)
        contents = reader(files, self.target)
        return HostAdapter(
            kind=files.kind.lower(),
            digest=self._digest,
            parameters=sum(tensor.numel() for tensor in files.tensors.values())
            + (0 if own is None else own.weight.numel()),
            parts=contents.parts,
            vectors=contents.vectors,
            prefixes=contents.prefixes,
            tokens=tokens,
            token_rows=None if own is None else TokenRows(own.ids, *self._table_rows(own.weight)),
        )

    def _listed(self, folder: Path) -> Tensor | None:
        """Read the tokens of the adapter's target language, where it lists them."""
        tokens = read_vocabulary(folder)
        if tokens is None:
            return None
        try:
            check_shortlist(Shortlist(tokens), self._architecture)
        except DecodingError as error:
            raise AdapterBindingError(
                f"{folder.name}: {VOCABULARY_FILE}: {error.message}; remove it, or publish the "
                "adapter again from its run folder"
            ) from None
        return torch.tensor(tokens, dtype=torch.int32)


def _not_served(kind: str) -> IncompatibleAdapterError:
    if kind in _WHOLE_WEIGHTS:
        why = "replace whole weights of the base, which no slot holds"
    else:
        why = f"are not known here; {', '.join(sorted(_READERS))} are served in slots"
    return IncompatibleAdapterError(
        f"adapters of kind {kind} {why}. To serve this one, {HOW_TO_SERVE_WHOLE_WEIGHTS}",
        field="peft_type",
    )
