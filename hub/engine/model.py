"""The encoder-decoder: checkpoint to packed layers, sources to caches, tokens to logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hub.engine.architecture import FEED_FORWARD_GATE, STACKS, Architecture, Stack
from hub.engine.cache import Lane, length_mask, round_length
from hub.engine.deltas import StepAdapters
from hub.engine.families import Checkpoint
from hub.engine.layers import (
    Attention,
    FeedForward,
    KeysValues,
    LaneStep,
    Layer,
    Norm,
    SourceAttention,
    SourceBucket,
    StepAttention,
)
from hub.engine.linear import Embedding, Linear, Precision
from hub.engine.positions import Positions, find_positions


@dataclass(frozen=True)
class SourceBatch:
    """Sources end to end, shortest first.

    Attributes:
        order: For each place in the batch, the index of the source as it was given.
        ids: `(tokens,)`.
        positions: `(tokens,)`, counted from 0 in each source.
        buckets: Runs of sources of one rounded length.
    """

    order: list[int]
    lengths: list[int]
    ids: Tensor
    positions: Tensor
    buckets: list[SourceBucket]

    @classmethod
    def build(cls, sources: Sequence[Sequence[int]], dtype: torch.dtype) -> SourceBatch:
        """Sort and concatenate sources, none of them empty."""
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        lengths = [len(sources[index]) for index in order]
        return cls(
            order=order,
            lengths=lengths,
            ids=torch.tensor([token for index in order for token in sources[index]]),
            positions=torch.cat([torch.arange(length) for length in lengths]),
            buckets=_buckets(lengths, dtype),
        )


def _buckets(lengths: Sequence[int], dtype: torch.dtype) -> list[SourceBucket]:
    buckets: list[SourceBucket] = []
    start = token = 0
    while start < len(lengths):
        length = round_length(lengths[start])
        members = [own for own in lengths[start:] if round_length(own) == length]
        places = [i * length + j for i, own in enumerate(members) for j in range(own)]
        full = len(places) == len(members) * length
        mask = length_mask(torch.tensor(members), dtype)
        buckets.append(
            SourceBucket(
                tokens=slice(token, token + len(places)),
                count=len(members),
                length=length,
                places=None if full else torch.tensor(places),
                mask=mask,
            )
        )
        start, token = start + len(members), token + len(places)
    return buckets


@dataclass(frozen=True)
class DecoderStep:
    """The rows of one decoder step.

    Attributes:
        tokens: `(rows,)` the token each row reads.
        positions: `(rows,)` its place in the target, 0 for the start token.
        lanes: Each lane's share of the rows, in order.
    """

    tokens: Tensor
    positions: Tensor
    lanes: list[LaneStep]

    @classmethod
    def build(
        cls, parts: Sequence[tuple[Lane, Sequence[int], Sequence[int]]], dtype: torch.dtype
    ) -> DecoderStep:
        """Lay lanes end to end; each comes with its rows' tokens and positions."""
        tokens = torch.tensor([token for _, row_tokens, _ in parts for token in row_tokens])
        positions = torch.tensor([place for _, _, places in parts for place in places])
        lanes, start = [], 0
        for lane, row_tokens, _ in parts:
            rows = slice(start, start + len(row_tokens))
            own = positions[rows]
            index = torch.arange(len(row_tokens))
            lanes.append(LaneStep(lane, rows, index, own, length_mask(own + 1, dtype)))
            start = rows.stop
        return cls(tokens, positions, lanes)


@dataclass(frozen=True)
class Model:
    """Packed weights and the two passes over them."""

    architecture: Architecture
    precision: Precision
    embedding: Embedding
    output: Linear
    positions: Positions
    encoder: Sequence[Layer]
    decoder: Sequence[Layer]
    keys_values: Sequence[KeysValues]
    encoder_norm: Norm | None
    decoder_norm: Norm | None
    embedding_norms: Mapping[Stack, Norm] = field(default_factory=dict)
    output_bias: Tensor | None = None

    def encode(self, batch: SourceBatch, adapters: StepAdapters) -> Tensor:
        """Return the encoder's output `(tokens, d_model)`."""
        hidden = self._embed("encoder", batch.ids, batch.positions)
        architecture = self.architecture
        attend = SourceAttention(
            [replace(one, mask=self.positions.bias_source(one.mask)) for one in batch.buckets],
            architecture.encoder_heads,
            architecture.attention_scale("encoder"),
        )
        for layer in self.encoder:
            hidden = layer(hidden, attend, None, self.precision, adapters)
        return hidden if self.encoder_norm is None else self.encoder_norm(hidden)

    def store(
        self,
        encoded: Tensor,
        batch: SourceBatch,
        places: Sequence[tuple[Lane, int]],
        adapters: StepAdapters,
    ) -> None:
        """Compute cross-attention keys and values of every layer into the lanes.

        Args:
            encoded: Output of `encode`.
            batch: The same batch.
            places: Lane and index of each source, in the batch's order.
            adapters: Of the same rows.
        """
        prepared = self.precision.operand(encoded)
        for keys_values in self.keys_values:
            projected = keys_values(prepared, adapters)
            first = 0
            for bucket in batch.buckets:
                spread = bucket.spread(projected[bucket.tokens])
                owners = places[first : first + bucket.count]
                _store_bucket(spread, owners, keys_values.layer)
                first += bucket.count

    def decode(self, step: DecoderStep, adapters: StepAdapters) -> Tensor:
        """Return the decoder's output `(rows, d_model)` and extend the lanes' caches."""
        hidden = self._embed("decoder", step.tokens, step.positions)
        lanes = [
            replace(one, mask=self.positions.bias_step(one.mask, one.positions))
            for one in step.lanes
        ]
        attend = StepAttention(lanes, cross=False)
        attend_cross = StepAttention(step.lanes, cross=True)
        for layer in self.decoder:
            hidden = layer(hidden, attend, attend_cross, self.precision, adapters)
        return hidden if self.decoder_norm is None else self.decoder_norm(hidden)

    def project(self, hidden: Tensor) -> Tensor:
        """Return logits `(rows, vocab)`, float32."""
        if self.architecture.output_scale != 1.0:
            hidden = hidden * self.architecture.output_scale
        logits = self.output(self.precision.operand(hidden)).float()
        return logits if self.output_bias is None else logits.add_(self.output_bias)

    def _embed(self, stack: Stack, ids: Tensor, positions: Tensor) -> Tensor:
        hidden = self.positions.add(stack, self.embedding(ids), positions)
        norm = self.embedding_norms.get(stack)
        return hidden if norm is None else norm(hidden)


def _store_bucket(spread: Tensor, owners: Sequence[tuple[Lane, int]], layer: int) -> None:
    """Write `(sources, length, 2 * d_model)` into the owners' cross caches."""
    for lane in {id(lane): lane for lane, _ in owners}.values():
        cache = lane.cross_kv[layer]
        rows = [row for row, (owner, _) in enumerate(owners) if owner is lane]
        index = torch.tensor([place for owner, place in owners if owner is lane])
        own = spread if len(rows) == len(owners) else spread[torch.tensor(rows)]
        split = own.view(len(rows), own.shape[1], 2, cache.shape[2], cache.shape[4])
        cache[:, index, :, : own.shape[1]] = split.permute(2, 0, 3, 1, 4)


def build_model(checkpoint: Checkpoint, precision: Precision) -> Model:
    """Read and pack every weight.

    Raises:
        CorruptBaseError: A tensor is missing, misshapen, not finite or left over.
    """
    architecture = checkpoint.architecture
    builder = _Builder(checkpoint, precision)
    embedding, output = builder.tables()
    model = Model(
        architecture=architecture,
        precision=precision,
        embedding=embedding,
        output=output,
        positions=find_positions(checkpoint, precision.hidden_dtype),
        encoder=[builder.layer("encoder", i) for i in range(architecture.encoder_layers)],
        decoder=[builder.layer("decoder", i) for i in range(architecture.decoder_layers)],
        keys_values=[
            KeysValues(i, builder.fused("decoder", i, "cross_attn", "kv"))
            for i in range(architecture.decoder_layers)
        ],
        encoder_norm=builder.norm("encoder", None) if architecture.final_norm else None,
        decoder_norm=builder.norm("decoder", None) if architecture.final_norm else None,
        embedding_norms=builder.embedding_norms(),
        output_bias=checkpoint.output_bias() if architecture.output_bias else None,
    )
    checkpoint.finish()
    return model


@dataclass(frozen=True)
class _Builder:
    """Packs one layer at a time, so the float32 weights are never all in memory."""

    checkpoint: Checkpoint
    precision: Precision

    def tables(self) -> tuple[Embedding, Linear]:
        architecture = self.checkpoint.architecture
        table = self.checkpoint.embedding()
        own = None if architecture.tied_output else self.checkpoint.output()
        embedding, output = self.precision.tied(table, architecture.embedding_scale)
        return embedding, output if own is None else self.precision.linear(own, None)

    def embedding_norms(self) -> dict[Stack, Norm]:
        if not self.checkpoint.architecture.embedding_norm:
            return {}
        return {stack: self._norm(*self.checkpoint.embedding_norm(stack)) for stack in STACKS}

    def layer(self, stack: Stack, index: int) -> Layer:
        cross = stack == "decoder"
        architecture = self.checkpoint.architecture
        return Layer(
            stack=stack,
            index=index,
            self_norm=self.norm(stack, index, "self_attn_norm"),
            self_attention=self._attention(stack, index, "self_attn", "qkv"),
            cross_norm=self.norm(stack, index, "cross_attn_norm") if cross else None,
            cross_attention=self._attention(stack, index, "cross_attn", "q") if cross else None,
            feed_forward_norm=self.norm(stack, index, "feed_forward_norm"),
            feed_forward=FeedForward(
                stack,
                index,
                fc1=self._linear(stack, index, "fc1"),
                fc2=self._linear(stack, index, "fc2"),
                activation=architecture.activation,
                gate=self._linear(stack, index, FEED_FORWARD_GATE)
                if architecture.gated_feed_forward
                else None,
            ),
            pre_norm=architecture.norm_placement == "pre",
        )

    def norm(self, stack: Stack, index: int | None, name: str = "") -> Norm:
        return self._norm(*self.checkpoint.norm(stack, index, name))

    def fused(self, stack: Stack, index: int, site: str, names: str) -> Linear:
        pairs = [self.checkpoint.linear(stack, index, f"{site}.{name}") for name in names]
        weight = torch.cat([weight for weight, _ in pairs])
        biases = [bias for _, bias in pairs if bias is not None]
        return self.precision.linear(weight, torch.cat(biases) if biases else None)

    def _linear(self, stack: Stack, index: int, name: str) -> Linear:
        return self.precision.linear(*self.checkpoint.linear(stack, index, name))

    def _norm(self, weight: Tensor, bias: Tensor | None) -> Norm:
        dtype = self.precision.hidden_dtype
        shift = None if bias is None else bias.to(dtype)
        return Norm(weight.to(dtype), shift, self.checkpoint.architecture.norm_epsilon)

    def _attention(self, stack: Stack, index: int, site: str, names: str) -> Attention:
        out = self._linear(stack, index, f"{site}.out")
        inputs = self.fused(stack, index, site, names)
        return Attention(stack, index, site, inputs=inputs, names=tuple(names), out=out)
