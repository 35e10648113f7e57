"""What a family is: the way from a checkpoint's names to ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.engine.architecture import (
    EMBEDDING_NORM,
    FINAL_NORM,
    LAYER_OUTPUT,
    NO_LAYER,
    STACKS,
    Architecture,
    Site,
    Stack,
)


@dataclass(frozen=True)
class Family:
    """How one `model_type` of transformers maps to our names.

    Attributes:
        architecture: Builds the shape from a parsed config.json.
        modules: For each stack, our name inside a layer to the checkpoint's: linears
            ("self_attn.q"), norms ("self_attn_norm"), attentions ("self_attn") and the
            feed-forward module whose output is the sub-layer's ("feed_forward").
        layer_prefix: Checkpoint path of a layer, with `{stack}` and `{layer}`.
        final_norm: Checkpoint path of a stack's last norm, with `{stack}`.
        embeddings: Names that the (tied) embedding table may have, best first.
        input_embedding: Module that transformers says is the input embedding, if it is not that of
            the first of `embeddings`.
        output: Name of the output table, which a checkpoint may have of its own.
        unused: Endings of tensors that the model has no use for, whatever their values.
        computed: Endings of position tables that are computed; stored ones must equal them.
        zeros: Endings of tensors that the family has no place for unless they are zero.
        embedding_norm: Checkpoint path of the norm behind the embeddings, with `{stack}`.
        positions: Checkpoint path of learned positions, with `{stack}`.
        relative_bias: Checkpoint path of the relative position values, with `{stack}`.
        output_bias: Name of the bias of the logits.
    """

    architecture: Callable[[Mapping[str, Any]], Architecture]
    modules: Mapping[Stack, Mapping[str, str]]
    layer_prefix: str
    final_norm: str
    embeddings: tuple[str, ...]
    output: str
    unused: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()
    zeros: tuple[str, ...] = ()
    embedding_norm: str = ""
    positions: str = ""
    relative_bias: str = ""
    output_bias: str = ""
    input_embedding: str = ""

    def table_modules(self) -> tuple[str, ...]:
        """Return the modules that share a tied token table, the input embedding first."""
        names = dict.fromkeys((*self.embeddings, self.output))
        modules = [name.removesuffix(".weight") for name in names]
        first = self.input_embedding or modules[0]
        return (first, *(module for module in modules if module != first))

    def module(self, stack: Stack, layer: int, name: str) -> str:
        """Return the checkpoint's path of a layer's module."""
        return f"{self.layer_prefix.format(stack=stack, layer=layer)}.{self.modules[stack][name]}"

    def linear_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every linear with its site."""
        sites = architecture.linear_sites()
        return {self.module(site.stack, site.layer, site.name): site for site in sites}

    def layer_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every layer with the site behind it."""
        return {
            self.layer_prefix.format(stack=stack, layer=layer): Site(stack, layer, LAYER_OUTPUT)
            for stack in STACKS
            for layer in range(architecture.layers(stack))
        }

    def norm_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every norm; those of a whole stack have layer -1."""
        found = self._in_layers(
            architecture, ("self_attn_norm", "cross_attn_norm", "feed_forward_norm")
        )
        for stack in STACKS:
            if architecture.final_norm:
                path = self.final_norm.format(stack=stack)
                found[path] = Site(stack, NO_LAYER, FINAL_NORM)
            if architecture.embedding_norm:
                path = self.embedding_norm.format(stack=stack)
                found[path] = Site(stack, NO_LAYER, EMBEDDING_NORM)
        return found

    def sublayer_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every module whose output a residual takes."""
        return self._in_layers(architecture, ("self_attn", "cross_attn", "feed_forward"))

    def attention_modules(self, architecture: Architecture) -> dict[str, Site]:
        """Return the checkpoint path of every attention with its site."""
        return self._in_layers(architecture, ("self_attn", "cross_attn"))

    def _in_layers(self, architecture: Architecture, names: tuple[str, ...]) -> dict[str, Site]:
        return {
            self.module(stack, layer, name): Site(stack, layer, name)
            for stack in STACKS
            for layer in range(architecture.layers(stack))
            for name in names
            if name in self.modules[stack]
        }
