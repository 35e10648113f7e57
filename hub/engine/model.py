"""The encoder-decoder: checkpoint to packed layers, sources to caches, tokens to logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hub.engine.alignment import CrossQueries
from hub.engine.architecture import (
    CROSS_INPUT,
    EMBEDDING_NORM,
    FEED_FORWARD_GATE,
    FINAL_NORM,
    NO_LAYER,
    STACKS,
    Architecture,
    Stack,
)
from hub.engine.cache import Lane, length_mask, round_length
from hub.engine.deltas import StepAdapters
from hub.engine.devices import CPU, moved, upload
from hub.engine.families import Checkpoint
from hub.engine.int8 import Int8Vocabulary
from hub.engine.layers import (
    Attend,
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
from hub.engine.linear import Embedding, Linear, Precision, Table
from hub.engine.native import Places
from hub.engine.output import OutputTable
from hub.engine.positions import Positions, find_positions
from hub.engine.prefixes import Prefix, PrefixedKeys
from hub.engine.token_rows import OwnColumns

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
        device: torch.device = CPU,
    ) -> SourceBatch:
        """Sort and concatenate sources, none of them empty.

        Args:
            sources: Token ids.
            dtype: Of the masks.
            prefixes: What each source's self-attention has in front; empty for nothing at all.
            device: Where the model is.
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
            ids=upload(
                torch.tensor([token for index in order for token in sources[index]]), device
            ),
            positions=upload(torch.cat([torch.arange(length) for length in lengths]), device),
            buckets=_buckets(lengths, [before[index] for index in order], dtype, device),
        )


def _bucket_shape(length: int, prefix: Prefix | None) -> tuple[int, bool, int]:
    """Return what sources of one bucket share.

    That is the rounded number of queries, whether there are prefixes, and the rounded number of
    entries that attention sees.
    """
    ahead = prefix.length if prefix else 0
    return round_length(length), prefix is not None, round_length(length + ahead)


def _buckets(
    lengths: Sequence[int],
    prefixes: Sequence[Prefix | None],
    dtype: torch.dtype,
    device: torch.device,
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
        mask = upload(length_mask(torch.tensor(members) + torch.tensor(ahead), dtype), device)
        keys = PrefixedKeys.build(entries, members, own_prefixes, device) if prefixed else None
        buckets.append(
            SourceBucket(
                tokens=slice(token, token + len(places)),
                count=len(members),
                length=length,
                places=None if full else upload(torch.tensor(places), device),
                mask=mask,
                prefixed=keys,
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
        device: torch.device = CPU,
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
            index = torch.arange(len(row_tokens), device=device)
            mask = None
            if not compiled:
                mask = upload(length_mask(own + 1, precision.hidden_dtype), device)
            places = Places(index, own + 1, max(entries) + 1) if compiled else None
            lanes.append(LaneStep(lane, rows, index, upload(own, device), mask, places))
            start = rows.stop
        return cls(upload(tokens, device), upload(positions, device), lanes)


@dataclass(frozen=True)
class Model:
    """Packed weights and the two passes over them."""

    architecture: Architecture
    precision: Precision
    embedding: Embedding
    output: Table
    positions: Positions
    encoder: Sequence[Layer]
    decoder: Sequence[Layer]
    keys_values: Sequence[KeysValues]
    encoder_norm: Norm | None
    decoder_norm: Norm | None
    embedding_norms: Mapping[Stack, Norm] = field(default_factory=dict)
    output_bias: Tensor | None = None

    def embed_sources(self, batch: SourceBatch, adapters: StepAdapters) -> Tensor:
        """Return what the encoder's first layer reads, `(tokens, d_model)`."""
        return self._embed("encoder", batch.ids, batch.positions, adapters)

    def attend_sources(self, batch: SourceBatch) -> SourceAttention:
        """Return the self-attention of a batch, the same for all layers."""
        architecture = self.architecture
        return SourceAttention(
            [replace(one, mask=self.positions.bias_source(one.mask)) for one in batch.buckets],
            architecture.encoder_heads,
            architecture.attention_scale("encoder"),
        )

    def encode_layer(
        self, index: int, hidden: Tensor, attend: SourceAttention, adapters: StepAdapters
    ) -> Tensor:
        """Return the output of one encoder layer, `(tokens, d_model)`."""
        return self.encoder[index](hidden, attend, None, self.precision, adapters)

    def end_encoder(self, hidden: Tensor, adapters: StepAdapters) -> Tensor:
        """Return the encoder's output `(tokens, d_model)` from that of its last layer."""
        return _last(self.encoder_norm, "encoder", hidden, adapters)

    def store(
        self,
        encoded: Tensor,
        batch: SourceBatch,
        places: Sequence[Place],
        adapters: StepAdapters,
    ) -> None:
        """Compute cross-attention keys and values of every layer into the lanes.

        Args:
            encoded: Output of `end_encoder`.
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

    def decode(
        self, step: DecoderStep, adapters: StepAdapters, queries: CrossQueries | None = None
    ) -> Tensor:
        """Return the decoder's output `(rows, d_model)` and extend the lanes' caches.

        Args:
            step: Tokens, positions and lanes.
            adapters: Of the same rows.
            queries: Keeps the queries of one layer, for whoever asks what they attend to.
        """
        hidden = self._embed("decoder", step.tokens, step.positions, adapters)
        attend = StepAttention([self._placed(one) for one in step.lanes], cross=False)
        attend_cross: Attend = StepAttention(step.lanes, cross=True)
        if queries is not None:
            attend_cross = queries.watch(attend_cross)
        for layer in self.decoder:
            hidden = layer(hidden, attend, attend_cross, self.precision, adapters)
        return _last(self.decoder_norm, "decoder", hidden, adapters)

    def _placed(self, lane: LaneStep) -> LaneStep:
        """Tell a lane's self-attention how far apart queries and keys are, where it matters."""
        if lane.mask is not None:
            return replace(lane, mask=self.positions.bias_step(lane.mask, lane.positions))
        assert lane.places is not None
        bias = self.positions.by_distance(lane.places.longest)
        return lane if bias is None else replace(lane, bias=bias)

    def project(self, hidden: Tensor, own: tuple[OwnColumns, ...] = ()) -> Tensor:
        """Return logits `(rows, vocab)`, float32; `own` says which rows have some of their own."""
        return self.table.adapted(own).project(hidden)

    @property
    def table(self) -> OutputTable:
        """Return the output projection as rows are ranked by it."""
        ranks = isinstance(self.output, Int8Vocabulary) and self.output.compiled
        scale = self.architecture.output_scale
        return OutputTable(self.output, self.output_bias, self.precision, scale, ranks)

    def _embed(
        self, stack: Stack, ids: Tensor, positions: Tensor, adapters: StepAdapters
    ) -> Tensor:
        embedded = adapters.embed(ids, self.embedding(ids))
        hidden = self.positions.add(stack, embedded, positions)
        norm = self.embedding_norms.get(stack)
        if norm is None:
            return hidden
        return adapters.normalise(stack, EMBEDDING_NORM, NO_LAYER, norm, hidden)


def _last(norm: Norm | None, stack: Stack, hidden: Tensor, adapters: StepAdapters) -> Tensor:
    """Return the output of a stack, normed where the architecture says so."""
    if norm is None:
        return hidden
    return adapters.normalise(stack, FINAL_NORM, NO_LAYER, norm, hidden)


def _store_bucket(spread: Tensor, owners: Sequence[Place], layer: int) -> None:
    """Write `(sources, length, 2 * d_model)` into the owners' cross caches."""
    for lane, first in {(id(lane), first): (lane, first) for lane, _, first in owners}.values():
        cache = lane.cross_kv[layer]
        rows = [row for row, one in enumerate(owners) if one[0] is lane and one[2] == first]
        index = upload(torch.tensor([owners[row][1] for row in rows]), cache.device)
        own = spread
        if len(rows) != len(owners):
            own = spread[upload(torch.tensor(rows), cache.device)]
        # A bucket's length is rounded up and a lane's too, but not a prefix: what would go
        # past the end of the cache is padding.
        length = min(own.shape[1], cache.shape[3] - first)
        split = own[:, :length].view(len(rows), length, 2, cache.shape[2], cache.shape[4])
        written = split.permute(2, 0, 3, 1, 4).to(cache.dtype)
        cache[:, index, :, first : first + length] = written


def build_model(checkpoint: Checkpoint, precision: Precision, device: torch.device = CPU) -> Model:
    """Read and pack every weight, and bring it to a device.

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
    return model if device.type == "cpu" else moved(model, device)


@dataclass(frozen=True)
class _Builder:
    """Packs one layer at a time, so the float32 weights are never all in memory."""

    checkpoint: Checkpoint
    precision: Precision

    def tables(self) -> tuple[Embedding, Table]:
        architecture = self.checkpoint.architecture
        table = self.checkpoint.embedding()
        own = None if architecture.tied_output else self.checkpoint.output()
        embedding, output = self.precision.tied(table, architecture.embedding_scale)
        return embedding, output if own is None else self.precision.output(own)

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
