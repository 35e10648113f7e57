"""The shape of an encoder-decoder, free of any checkpoint's naming."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from hub.engine.requests import EarlyStopping

Stack = Literal["encoder", "decoder"]
NormPlacement = Literal["pre", "post"]
NormKind = Literal["layer", "rms"]
Positions = Literal["sinusoidal", "marian", "learned", "relative"]
"""Marian has sinusoids too, of slightly other frequencies."""

STACKS: tuple[Stack, ...] = ("encoder", "decoder")

SELF_ATTENTION = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.out")
CROSS_ATTENTION = ("cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.out")
FEED_FORWARD = ("fc1", "fc2")
FEED_FORWARD_GATE = "fc1_gate"
"""The linear whose activated output multiplies that of fc1, in gated feed-forward layers."""
LAYER_OUTPUT = "output"
"""The site behind a layer's last residual, where a bottleneck acts."""
SELF_INPUT = "self_attn.qkv"
CROSS_INPUT = "cross_attn.kv"
"""What linears read together: one input, prepared once for all of them (the encoder's output
even once for all layers, at layer 0)."""

NO_LAYER = -1
"""Layer of a site that belongs to a stack as a whole."""
FINAL_NORM = "final_norm"
EMBEDDING_NORM = "embedding_norm"


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """The address of a place where an adapter can act."""

    stack: Stack
    layer: int
    name: str

    def __str__(self) -> str:
        return f"{self.stack}.{self.layer}.{self.name}"


@dataclass(frozen=True, slots=True)
class DecodingDefaults:
    """What a base's generation config asks of every request that does not say otherwise.

    Attributes:
        forced_eos_id: Token that a target of full length must end with, None for any.
        bad_words: Single tokens that are never generated.
        no_repeat_ngram_size: Length of the n-grams that may not repeat; 0 for no limit.
        repetition_penalty: Divisor of the logits of tokens already in the target; 1 for none.
        beam_size: Beam width that the base was published with; 1 is greedy.
        length_penalty: Exponent of the length that divides a sum of log-probabilities.
        early_stopping: When a beam search is over, as in `DecodingOptions`.
        max_length: Longest target, start token and forced prefix included; None for the base's
            positions.
    """

    forced_eos_id: int | None = None
    bad_words: tuple[int, ...] = ()
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    beam_size: int = 1
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = False
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class RelativeBias:
    """T5's relative positions (arXiv 1910.10683, section 2.1).

    Attributes:
        buckets: Learned values a head; half of them look ahead in the encoder.
        max_distance: From here on all distances share the last bucket.
    """

    buckets: int
    max_distance: int


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
        tied_output: The output projection is the embedding table; where this is false, a
            checkpoint may bring a table of its own.
        output_scale: Factor on the decoder's output before the projection.
        decoder_start_id: First token of every target.
        eos_ids: Tokens that end a hypothesis.
        head_dim: Width of an attention head; 0 for `d_model` divided by the heads.
        attention_scaled: Attention divides by the root of `head_dim`.
        output_bias: The logits may have a bias.
        relative: Set where positions are relative.
        decoding: What the generation config asks for.
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
    head_dim: int = 0
    attention_scaled: bool = True
    output_bias: bool = False
    relative: RelativeBias | None = None
    decoding: DecodingDefaults = field(default_factory=DecodingDefaults)

    def layers(self, stack: Stack) -> int:
        """Return the number of layers of a stack."""
        return self.encoder_layers if stack == "encoder" else self.decoder_layers

    def heads(self, stack: Stack) -> int:
        """Return the number of attention heads of a stack."""
        return self.encoder_heads if stack == "encoder" else self.decoder_heads

    def ffn(self, stack: Stack) -> int:
        """Return the feed-forward width of a stack."""
        return self.encoder_ffn if stack == "encoder" else self.decoder_ffn

    def attention_width(self, stack: Stack) -> int:
        """Return the width of queries, keys and values: heads times head width."""
        return self.heads(stack) * self.head_dim if self.head_dim else self.d_model

    def attention_scale(self, stack: Stack) -> float:
        """Return the factor on the products of queries and keys."""
        head_dim = self.attention_width(stack) // self.heads(stack)
        return math.sqrt(1 / head_dim) if self.attention_scaled else 1.0

    def linear_names(self, stack: Stack) -> tuple[str, ...]:
        """Return the names of a layer's linears, in the order they run."""
        cross = CROSS_ATTENTION if stack == "decoder" else ()
        gate = (FEED_FORWARD_GATE,) if self.gated_feed_forward else ()
        return SELF_ATTENTION + cross + gate + FEED_FORWARD

    def linear_shape(self, stack: Stack, name: str) -> tuple[int, int]:
        """Return `(out_features, in_features)` of a linear."""
        if name in ("fc1", FEED_FORWARD_GATE):
            return self.ffn(stack), self.d_model
        if name == "fc2":
            return self.d_model, self.ffn(stack)
        if name.endswith(".out"):
            return self.d_model, self.attention_width(stack)
        return self.attention_width(stack), self.d_model

    def linear_sites(self) -> Iterator[Site]:
        """Yield the address of every linear inside a layer."""
        for stack in STACKS:
            for layer in range(self.layers(stack)):
                for name in self.linear_names(stack):
                    yield Site(stack, layer, name)
