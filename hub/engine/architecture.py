"""The shape of an encoder-decoder, free of any checkpoint's naming."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Stack = Literal["encoder", "decoder"]
NormPlacement = Literal["pre", "post"]
NormKind = Literal["layer", "rms"]
Positions = Literal["sinusoidal", "learned", "relative"]

SELF_ATTENTION = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.out")
CROSS_ATTENTION = ("cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.out")
FEED_FORWARD = ("fc1", "fc2")
LAYER_OUTPUT = "output"
"""The site behind a layer's last residual, where a bottleneck acts."""
SELF_INPUT = "self_attn.qkv"
CROSS_INPUT = "cross_attn.kv"
"""What linears read together: one input, prepared once for all of them (the encoder's output
even once for all layers, at layer 0)."""
FINAL_NORM = "final_norm"
FINAL_LAYER = -1
"""A stack's last norm is at `Site(stack, FINAL_LAYER, FINAL_NORM)`."""


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """The address of a place where an adapter can act."""

    stack: Stack
    layer: int
    name: str

    def __str__(self) -> str:
        return f"{self.stack}.{self.layer}.{self.name}"


@dataclass(frozen=True, slots=True)
class Architecture:
    """Everything that decides the computation, apart from the weights.

    Attributes:
        family: transformers' `model_type`.
        max_positions: Longest source and longest target, in tokens.
        position_offset: Row of the position table that the first token takes.
        gated_feed_forward: The first feed-forward linear is gated by a second one.
        biases: Linears have biases.
        embedding_scale: Factor on token embeddings.
        embedding_norm: A norm follows the embeddings.
        final_norm: A norm follows the last layer of each stack.
        tied_output: The output projection is the embedding table.
        output_scale: Factor on the decoder's output before the projection.
        decoder_start_id: First token of every target.
        eos_ids: Tokens that end a hypothesis.
    """

    family: str
    d_model: int
    vocab_size: int
    encoder_layers: int
    decoder_layers: int
    encoder_heads: int
    decoder_heads: int
    encoder_ffn: int
    decoder_ffn: int
    max_positions: int
    activation: str
    norm_placement: NormPlacement
    norm_kind: NormKind
    norm_epsilon: float
    positions: Positions
    position_offset: int
    gated_feed_forward: bool
    biases: bool
    embedding_scale: float
    embedding_norm: bool
    final_norm: bool
    tied_output: bool
    output_scale: float
    decoder_start_id: int
    pad_id: int
    eos_ids: tuple[int, ...]

    def layers(self, stack: Stack) -> int:
        """Return the number of layers of a stack."""
        return self.encoder_layers if stack == "encoder" else self.decoder_layers

    def heads(self, stack: Stack) -> int:
        """Return the number of attention heads of a stack."""
        return self.encoder_heads if stack == "encoder" else self.decoder_heads

    def ffn(self, stack: Stack) -> int:
        """Return the feed-forward width of a stack."""
        return self.encoder_ffn if stack == "encoder" else self.decoder_ffn

    def linear_names(self, stack: Stack) -> tuple[str, ...]:
        """Return the names of a layer's linears, in the order they run."""
        cross = CROSS_ATTENTION if stack == "decoder" else ()
        return SELF_ATTENTION + cross + FEED_FORWARD

    def linear_shape(self, stack: Stack, name: str) -> tuple[int, int]:
        """Return `(out_features, in_features)` of a linear."""
        if name == "fc1":
            return self.ffn(stack), self.d_model
        if name == "fc2":
            return self.d_model, self.ffn(stack)
        return self.d_model, self.d_model

    def linear_sites(self) -> Iterator[Site]:
        """Yield the address of every linear inside a layer."""
        for stack in _STACKS:
            for layer in range(self.layers(stack)):
                for name in self.linear_names(stack):
                    yield Site(stack, layer, name)


_STACKS: tuple[Stack, ...] = ("encoder", "decoder")
