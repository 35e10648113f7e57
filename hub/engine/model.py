"""The encoder-decoder: checkpoint to packed layers, sources to caches, tokens to logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import CROSS_INPUT, FINAL_LAYER, FINAL_NORM, Architecture, Stack
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
from hub.engine.linear import Embedding, Int8Vocabulary, Linear, Precision
from hub.engine.native import MOST_KEPT, Places, Ranking
from hub.engine.prefixes import Prefix, PrefixedKeys
from hub.engine.search import EarlyRows, likeliest

Place = tuple[Lane, int, int]
"""A lane, a request's index in it, and the first entry of its source in the cross cache."""


@dataclass(frozen=True)
class SourceBatch:
    """Sources end to end, shortest first; of one rounded length, those with a prefix last.

    Attributes:
        order: For each place in the batch, the index of the source as it was given.
        ids: `(tokens,)`.
        positions: `(tokens,)`, counted from 0 in each source.
        buckets: Runs of sources that attention takes together.
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
        prefixes: Sequence[Prefix | None] = (),
    ) -> SourceBatch:
        """Sort and concatenate sources, none of them empty.

        Args:
            sources: Token ids.
            dtype: Of the masks.
            prefixes: What each source's self-attention has in front; empty for nothing at all.
        """
        before = list(prefixes) or [None] * len(sources)
        shapes = [
            _bucket_shape(len(own), prefix) for own, prefix in zip(sources, before, strict=True)
        ]
        order = sorted(range(len(sources)), key=lambda i: (shapes[i], len(sources[i])))
        lengths = [len(sources[index]) for index in order]
        return cls(
            order=order,
            lengths=lengths,
            ids=torch.tensor([token for index in order for token in sources[index]]),
            positions=torch.cat([torch.arange(length) for length in lengths]),
            buckets=_buckets(lengths, [before[index] for index in order], dtype),
        )


def _bucket_shape(length: int, prefix: Prefix | None) -> tuple[int, bool, int]:
    """Return what sources of one bucket share.

    That is the rounded number of queries, whether there are prefixes, and the rounded number of
    entries that attention sees.
    """
    ahead = prefix.length if prefix else 0
    return round_length(length), prefix is not None, round_length(length + ahead)


def _buckets(
    lengths: Sequence[int], prefixes: Sequence[Prefix | None], dtype: torch.dtype
) -> list[SourceBucket]:
    buckets: list[SourceBucket] = []
    shapes = [_bucket_shape(own, prefix) for own, prefix in zip(lengths, prefixes, strict=True)]
    start = token = 0
    while start < len(lengths):
        length, prefixed, entries = shapes[start]
        stop = start + shapes.count(shapes[start])
        members, own_prefixes = lengths[start:stop], prefixes[start:stop]
        places = [i * length + j for i, own in enumerate(members) for j in range(own)]
        full = len(places) == len(members) * length
        ahead = [prefix.length if prefix else 0 for prefix in own_prefixes]
        mask = length_mask(torch.tensor(members) + torch.tensor(ahead), dtype)
        buckets.append(
            SourceBucket(
                tokens=slice(token, token + len(places)),
                count=len(members),
                length=length,
                places=None if full else torch.tensor(places),
                mask=mask,
                prefixed=PrefixedKeys.build(entries, members, own_prefixes) if prefixed else None,
            )
        )
        start, token = stop, token + len(places)
    return buckets


@dataclass(frozen=True)
class DecoderStep:
    """The rows of one decoder step.

    Attributes:
        tokens: `(rows,)` the token each row reads.
        positions: `(rows,)` the row of its position vector, 0 for the start token.
        lanes: Each lane's share of the rows, in order.
    """

    tokens: Tensor
    positions: Tensor
    lanes: list[LaneStep]

    @classmethod
    def build(
        cls,
        parts: Sequence[tuple[Lane, Sequence[int], Sequence[int], Sequence[int]]],
        precision: Precision,
    ) -> DecoderStep:
        """Lay lanes end to end; each comes with its rows' tokens, positions and cache entries.

        An entry is where a row writes its keys and values: behind its prefix, if it has one.
        """
        compiled = precision.cache_dtype != precision.hidden_dtype
        tokens = torch.tensor([token for _, row_tokens, _, _ in parts for token in row_tokens])
        positions = torch.tensor([place for _, _, places, _ in parts for place in places])
        lanes, start = [], 0
        for lane, row_tokens, _, entries in parts:
            rows = slice(start, start + len(row_tokens))
            own = torch.tensor(entries)
            index = torch.arange(len(row_tokens))
            mask = None if compiled else length_mask(own + 1, precision.hidden_dtype)
            places = Places(index, own + 1, max(entries) + 1) if compiled else None
            lanes.append(LaneStep(lane, rows, index, own, mask, places))
            start = rows.stop
        return cls(tokens, positions, lanes)


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
        return adapters.normalise("encoder", FINAL_NORM, FINAL_LAYER, self.encoder_norm, hidden)

    def store(
        self,
        encoded: Tensor,
        batch: SourceBatch,
        places: Sequence[Place],
        adapters: StepAdapters,
    ) -> None:
        """Compute cross-attention keys and values of every layer into the lanes.

        Args:
            encoded: Output of `encode`.
            batch: The same batch.
            places: Where each source's entries go, in the batch's order.
            adapters: Of the same rows.
        """
        prepared = self.precision.operand(encoded)
        prepared = adapters.scale_input("decoder", CROSS_INPUT, 0, encoded, prepared)
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
        return adapters.normalise("decoder", FINAL_NORM, FINAL_LAYER, self.decoder_norm, hidden)

    def project(self, hidden: Tensor) -> Tensor:
        """Return logits `(rows, vocab)`, float32."""
        return self.output(self.precision.operand(hidden)).float()

    def likeliest(self, hidden: Tensor, keep: int, early: EarlyRows) -> tuple[Tensor, Tensor]:
        """Return log-probabilities and tokens, `(rows, keep)` each, best first.

        The log-probabilities are those before `early` blocks any token.
        """
        if not isinstance(self.output, Int8Vocabulary) or keep > MOST_KEPT:
            return likeliest(self.project(hidden), keep, early)
        x = self.precision.operand(hidden)
        blocked = torch.zeros(x.rows, dtype=torch.bool)
        blocked[list(early.rows)] = True
        ranking = Ranking(x.rows, keep, blocked, torch.tensor(list(early.eos_ids)))
        for first, logits in self.output.parts(x):
            ranking.update(logits, first)
        return ranking.best()

    def _embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        return self.embedding(ids).add_(self.positions.index_select(0, positions))


def _store_bucket(spread: Tensor, owners: Sequence[Place], layer: int) -> None:
    """Write `(sources, length, 2 * d_model)` into the owners' cross caches."""
    for lane, first in {(id(lane), first): (lane, first) for lane, _, first in owners}.values():
        cache = lane.cross_kv[layer]
        rows = [row for row, one in enumerate(owners) if one[0] is lane and one[2] == first]
        index = torch.tensor([owners[row][1] for row in rows])
        own = spread if len(rows) == len(owners) else spread[torch.tensor(rows)]
        # A bucket's length is rounded up and a lane's too, but not a prefix: what would go
        # past the end of the cache is padding.
        length = min(own.shape[1], cache.shape[3] - first)
        split = own[:, :length].view(len(rows), length, 2, cache.shape[2], cache.shape[4])
        written = split.permute(2, 0, 3, 1, 4).to(cache.dtype)
        cache[:, index, :, first : first + length] = written


def build_model(checkpoint: Checkpoint, precision: Precision) -> Model:
    """Read and pack every weight.

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
    return model


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
