"""The encoder-decoder: checkpoint to packed layers, sources to caches, tokens to logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import Architecture, Stack
from hub.engine.cache import Lane, length_mask, round_length
from hub.engine.deltas import StepAdapters
from hub.engine.devices import CPU, moved, upload
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
    def build(
        cls,
        sources: Sequence[Sequence[int]],
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> SourceBatch:
        """Sort and concatenate sources, none of them empty."""
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        lengths = [len(sources[index]) for index in order]
        return cls(
            order=order,
            lengths=lengths,
            ids=upload(
                torch.tensor([token for index in order for token in sources[index]]), device
            ),
            positions=upload(torch.cat([torch.arange(length) for length in lengths]), device),
            buckets=_buckets(lengths, dtype, device),
        )


def _buckets(
    lengths: Sequence[int], dtype: torch.dtype, device: torch.device
) -> list[SourceBucket]:
    buckets: list[SourceBucket] = []
    start = token = 0
    while start < len(lengths):
        length = round_length(lengths[start])
        members = [own for own in lengths[start:] if round_length(own) == length]
        places = [i * length + j for i, own in enumerate(members) for j in range(own)]
        full = len(places) == len(members) * length
        mask = upload(length_mask(torch.tensor(members), dtype), device)
        buckets.append(
            SourceBucket(
                tokens=slice(token, token + len(places)),
                count=len(members),
                length=length,
                places=None if full else upload(torch.tensor(places), device),
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
        cls,
        parts: Sequence[tuple[Lane, Sequence[int], Sequence[int]]],
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> DecoderStep:
        """Lay lanes end to end; each comes with its rows' tokens and positions."""
        tokens = torch.tensor([token for _, row_tokens, _ in parts for token in row_tokens])
        positions = torch.tensor([place for _, _, places in parts for place in places])
        placed = upload(positions, device)
        lanes, start = [], 0
        for lane, row_tokens, _ in parts:
            rows = slice(start, start + len(row_tokens))
            mask = upload(length_mask(positions[rows] + 1, dtype), device)
            index = torch.arange(len(row_tokens), device=device)
            lanes.append(LaneStep(lane, rows, index, placed[rows], mask))
            start = rows.stop
        return cls(upload(tokens, device), placed, lanes)


@dataclass(frozen=True)
class Model:
    """Packed weights and the two passes over them."""

    architecture: Architecture
    precision: Precision
    embedding: Embedding
    output: Linear
    positions: Tensor
    encoder: Sequence[Layer]
    decoder: Sequence[Layer]
    keys_values: Sequence[KeysValues]
    encoder_norm: Norm
    decoder_norm: Norm

    def encode(self, batch: SourceBatch, adapters: StepAdapters) -> Tensor:
        """Return the encoder's output `(tokens, d_model)`."""
        hidden = self._embed(batch.ids, batch.positions)
        attend = SourceAttention(batch.buckets, self.architecture.encoder_heads)
        for layer in self.encoder:
            hidden = layer(hidden, attend, None, self.precision, adapters)
        return self.encoder_norm(hidden)

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
        hidden = self._embed(step.tokens, step.positions)
        attend = StepAttention(step.lanes, cross=False)
        attend_cross = StepAttention(step.lanes, cross=True)
        for layer in self.decoder:
            hidden = layer(hidden, attend, attend_cross, self.precision, adapters)
        return self.decoder_norm(hidden)

    def project(self, hidden: Tensor) -> Tensor:
        """Return logits `(rows, vocab)`, float32."""
        return self.output(self.precision.operand(hidden)).float()

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return self.embedding(ids).add_(self.positions.index_select(0, positions))


def _store_bucket(spread: Tensor, owners: Sequence[tuple[Lane, int]], layer: int) -> None:
    """Write `(sources, length, 2 * d_model)` into the owners' cross caches."""
    for lane in {id(lane): lane for lane, _ in owners}.values():
        cache = lane.cross_kv[layer]
        rows = [row for row, (owner, _) in enumerate(owners) if owner is lane]
        places = torch.tensor([place for owner, place in owners if owner is lane])
        index = upload(places, cache.device)
        own = spread
        if len(rows) != len(owners):
            own = spread[upload(torch.tensor(rows), cache.device)]
        split = own.view(len(rows), own.shape[1], 2, cache.shape[2], cache.shape[4])
        cache[:, index, :, : own.shape[1]] = split.permute(2, 0, 3, 1, 4)


def build_model(checkpoint: Checkpoint, precision: Precision, device: torch.device = CPU) -> Model:
    """Read and pack every weight, and bring it to a device.

    Raises:
        CorruptBaseError: A tensor is missing, misshapen, not finite or left over.
    """
    architecture = checkpoint.architecture
    assert architecture.norm_placement == "pre"
    assert architecture.positions == "sinusoidal"
    builder = _Builder(checkpoint, precision)
    embedding, output = precision.tied(checkpoint.embedding(), architecture.embedding_scale)
    model = Model(
        architecture=architecture,
        precision=precision,
        embedding=embedding,
        output=output,
        positions=sinusoids(architecture).to(precision.hidden_dtype),
        encoder=[builder.layer("encoder", i) for i in range(architecture.encoder_layers)],
        decoder=[builder.layer("decoder", i) for i in range(architecture.decoder_layers)],
        keys_values=[
            KeysValues(i, builder.fused("decoder", i, "cross_attn", "kv"))
            for i in range(architecture.decoder_layers)
        ],
        encoder_norm=builder.norm("encoder", None),
        decoder_norm=builder.norm("decoder", None),
    )
    checkpoint.finish()
    return model if device.type == "cpu" else moved(model, device)


@dataclass(frozen=True)
class _Builder:
    """Packs one layer at a time, so the float32 weights are never all in memory."""

    checkpoint: Checkpoint
    precision: Precision

    def layer(self, stack: Stack, index: int) -> Layer:
        cross = stack == "decoder"
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
                fc1=self.precision.linear(*self.checkpoint.linear(stack, index, "fc1")),
                fc2=self.precision.linear(*self.checkpoint.linear(stack, index, "fc2")),
                activation=self.checkpoint.architecture.activation,
            ),
        )

    def norm(self, stack: Stack, index: int | None, name: str = "") -> Norm:
        weight, bias = self.checkpoint.norm(stack, index, name)
        dtype = self.precision.hidden_dtype
        epsilon = self.checkpoint.architecture.norm_epsilon
        return Norm(weight.to(dtype), bias.to(dtype), epsilon)

    def fused(self, stack: Stack, index: int, site: str, names: str) -> Linear:
        pairs = [self.checkpoint.linear(stack, index, f"{site}.{name}") for name in names]
        weight = torch.cat([weight for weight, _ in pairs])
        return self.precision.linear(weight, torch.cat([bias for _, bias in pairs]))

    def _attention(self, stack: Stack, index: int, site: str, names: str) -> Attention:
        out = self.precision.linear(*self.checkpoint.linear(stack, index, f"{site}.out"))
        inputs = self.fused(stack, index, site, names)
        return Attention(stack, index, site, inputs=inputs, names=tuple(names), out=out)


def sinusoids(architecture: Architecture) -> Tensor:
    """Return position vectors `(max_positions, d_model)`, as fairseq lays them out.

    Sines fill the first half of a row and cosines the second ("Attention Is All You Need",
    section 3.5, interleaves them); the first token takes row `position_offset`.
    """
    half = architecture.d_model // 2
    step = math.log(10000) / max(1, half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.int64).float() * -step)
    rows = torch.arange(architecture.max_positions) + architecture.position_offset
    angles = rows.float().unsqueeze(1) * frequencies.unsqueeze(0)
    table = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(table, (0, architecture.d_model % 2))
