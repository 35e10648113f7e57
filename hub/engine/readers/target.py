"""What an adapter is read for: the base's paths, shapes and weights; and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hub.engine.architecture import Architecture, Site
from hub.engine.banks import RANK_MULTIPLE, BankKey, BankPart
from hub.engine.deltas import Deltas
from hub.engine.families import Checkpoint, Family
from hub.engine.prefixes import Prefix
from hub.engine.vectors import Operation, VectorKey, VectorPart


@dataclass(frozen=True)
class Contents:
    """What an adapter puts into a slot."""

    parts: tuple[BankPart, ...] = ()
    vectors: tuple[VectorPart, ...] = ()
    prefixes: tuple[Prefix, ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """One site's weights in float32, one layer.

    Attributes:
        down: `(rank, in)`.
        up: `(rank, out)`.
        down_bias: `(rank,)` or None.
        up_bias: `(out,)` or None.
    """

    down: Tensor
    up: Tensor
    down_bias: Tensor | None = None
    up_bias: Tensor | None = None


@dataclass(frozen=True)
class Target:
    """One base, as adapters see it; has no mutable state, so threads may share it.

    Attributes:
        linears: Module path of every linear with its site.
        layers: Module path of every layer with the site behind it.
        sublayers: Module path of every sub-layer with the site of its output.
        attentions: Module path of every attention.
        norms: Module path of every norm.
        tables: Module paths of the token table, the input's first; those after it are tied to it.
        weights: Opens the unquantized base.
        dtype: Of caches, and so of prefixes.
    """

    architecture: Architecture
    deltas: Deltas
    linears: Mapping[str, Site]
    layers: Mapping[str, Site]
    sublayers: Mapping[str, Site]
    attentions: Mapping[str, Site]
    norms: Mapping[str, Site]
    tables: tuple[str, ...]
    weights: Callable[[], Checkpoint]
    dtype: torch.dtype

    @classmethod
    def of(
        cls,
        family: Family,
        architecture: Architecture,
        deltas: Deltas,
        weights: Callable[[], Checkpoint],
        dtype: torch.dtype,
    ) -> Target:
        """Learn a base's module paths."""
        return cls(
            architecture=architecture,
            deltas=deltas,
            linears=family.linear_modules(architecture),
            layers=family.layer_modules(architecture),
            sublayers=family.sublayer_modules(architecture),
            attentions=family.attention_modules(architecture),
            norms=family.norm_modules(architecture),
            tables=family.table_modules(),
            weights=weights,
            dtype=dtype,
        )

    def linear_shape(self, site: Site) -> tuple[int, int]:
        """Return `(out_features, in_features)` of a linear."""
        return self.architecture.linear_shape(site.stack, site.name)

    def pack(self, sites: Mapping[BankKey, Mapping[Site, Delta]]) -> tuple[BankPart, ...]:
        """Convert every bank's deltas, in a fixed order."""
        return tuple(self._pack(key, sites[key]) for key in sorted(sites))

    def _pack(self, key: BankKey, sites: Mapping[Site, Delta]) -> BankPart:
        """Stack a bank's layers; layers without the adapter are zeros."""
        layers = self.architecture.layers(key.stack)
        first = next(iter(sites.values()))
        rank = max(delta.down.shape[0] for delta in sites.values())
        rank = -(-rank // RANK_MULTIPLE) * RANK_MULTIPLE
        down = torch.zeros(layers, rank, first.down.shape[1])
        up = torch.zeros(layers, rank, first.up.shape[1])
        down_bias = torch.zeros(layers, rank) if key.biased else None
        up_bias = torch.zeros(layers, first.up.shape[1]) if key.biased else None
        for site, delta in sites.items():
            down[site.layer, : delta.down.shape[0]] = delta.down
            up[site.layer, : delta.up.shape[0]] = delta.up
            if down_bias is not None and up_bias is not None:
                assert delta.down_bias is not None
                assert delta.up_bias is not None
                down_bias[site.layer, : delta.down_bias.shape[0]] = delta.down_bias
                up_bias[site.layer] = delta.up_bias
        return self.deltas.pack(key, down, up, down_bias, up_bias)


def vector(site: Site, operation: Operation, values: Tensor) -> VectorPart:
    """Return one vector for its table, contiguous and float32."""
    return VectorPart(VectorKey(site, operation), values.float().contiguous())
