"""The tensors of a base, by our names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hub.bases.values import read_values
from hub.engine.architecture import Stack
from hub.engine.families.family import Family
from hub.errors import CorruptBaseError

if TYPE_CHECKING:
    from hub.bases import Base


class Checkpoint:
    """The tensors of a base, read one at a time, each accounted for.

    Reading by our names keeps the peak of a quantizing load near one tensor.
    """

    def __init__(self, base: Base, family: Family) -> None:
        """Take the base's tensors; no weights are read yet.

        Args:
            base: Whose weights.
            family: How it names them.
        """
        self.folder = base.folder
        self.family = family
        self.architecture = base.architecture
        self._tensors = base.tensors
        self._unread = set(self._tensors)

    def linear(self, stack: Stack, layer: int, name: str) -> tuple[Tensor, Tensor | None]:
        """Return `(weight (out, in), bias (out,))` of a linear, float32."""
        module = self.family.module(stack, layer, name)
        out, width = self.architecture.linear_shape(stack, name)
        weight = self._read(f"{module}.weight", (out, width))
        if not self.architecture.biases:
            return weight, None
        return weight, self._read(f"{module}.bias", (out,))

    def norm(self, stack: Stack, layer: int | None, name: str = "") -> tuple[Tensor, Tensor | None]:
        """Return `(weight, bias)` of a layer's norm, or of the stack's last one."""
        if layer is None:
            return self._norm(self.family.final_norm.format(stack=stack))
        return self._norm(self.family.module(stack, layer, name))

    def embedding_norm(self, stack: Stack) -> tuple[Tensor, Tensor | None]:
        """Return `(weight, bias)` of the norm behind a stack's embeddings."""
        return self._norm(self.family.embedding_norm.format(stack=stack))

    def positions(self, stack: Stack) -> Tensor:
        """Return learned positions `(max_positions, d_model)`, float32, the offset cut off."""
        architecture = self.architecture
        name = self.family.positions.format(stack=stack)
        rows = architecture.max_positions + architecture.position_offset
        table = self._read(name, (rows, architecture.d_model))
        return table[architecture.position_offset :]

    def relative_bias(self, stack: Stack) -> Tensor:
        """Return a stack's relative position values `(buckets, heads)`, float32."""
        assert self.architecture.relative is not None
        shape = (self.architecture.relative.buckets, self.architecture.heads(stack))
        return self._read(self.family.relative_bias.format(stack=stack), shape)

    def embedding(self) -> Tensor:
        """Return the token table `(vocab_size, d_model)`, float32."""
        shape = (self.architecture.vocab_size, self.architecture.d_model)
        return self._read(self.family.embeddings[0], shape)

    def output(self) -> Tensor | None:
        """Return an output table `(vocab_size, d_model)` of its own, None where it is tied."""
        if self.family.output not in self._tensors:
            return None
        return self._read(
            self.family.output, (self.architecture.vocab_size, self.architecture.d_model)
        )

    def output_bias(self) -> Tensor | None:
        """Return the bias of the logits `(vocab_size,)`, None where it is nothing."""
        name = self.family.output_bias
        if name not in self._tensors:
            return None
        return self._read(name, (1, self.architecture.vocab_size)).squeeze(0)

    def finish(self) -> None:
        """Check that every tensor of the checkpoint was used.

        Raises:
            CorruptBaseError: Names a tensor that binds to nothing.
        """
        if self._unread:
            raise CorruptBaseError(
                f"{self.folder}: {len(self._unread)} tensors bind to nothing in "
                f"{self.architecture.family}, the first is {min(self._unread)!r}"
            )

    def _norm(self, module: str) -> tuple[Tensor, Tensor | None]:
        shape = (self.architecture.d_model,)
        weight = self._read(f"{module}.weight", shape)
        if self.architecture.norm_kind == "rms":
            return weight, None
        return weight, self._read(f"{module}.bias", shape)

    def _read(self, name: str, shape: tuple[int, ...]) -> Tensor:
        place = self._tensors.get(name)
        if place is None:
            raise CorruptBaseError(f"{self.folder} lacks the tensor {name!r}")
        self._unread.discard(name)
        if place.shape != shape:
            raise CorruptBaseError(
                f"{self.folder}: {name!r} has shape {place.shape}, config.json says {shape}"
            )
        tensor = read_values(place).float()
        if not bool(torch.isfinite(tensor).all()):
            raise CorruptBaseError(f"{self.folder}: {name!r} holds values that are not finite")
        return tensor
