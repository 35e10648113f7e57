"""The numbers of a base model that decide what anything in it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hub.errors import BaseNotFoundError


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """The numbers of a base model that decide parameter counts.

    Attributes:
        max_positions: Longest sequence the positions allow.
        parameters: Unique parameters of the unquantized model, ties once.
        embedding_norms: Layer norms directly after embeddings (mBART has two).
        final_norms: Layer norms behind the last layer of a stack.
        inner_width: Heads × head width of an attention where that is not d_model; else 0.
        biased: Whether linears and norms have biases.
        gated: Whether a feed-forward has two projections into its width.
    """

    d_model: int
    encoder_layers: int
    decoder_layers: int
    encoder_ffn: int
    decoder_ffn: int
    vocab_size: int
    max_positions: int
    parameters: int
    embedding_norms: int = 0
    final_norms: int = 2
    inner_width: int = 0
    biased: bool = True
    gated: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelDimensions:
        """Read a transformers `config.json` of a known family.

        Raises:
            BaseNotFoundError: The family is unknown or a dimension is missing.
        """
        family = config.get("model_type")
        if family not in ("m2m_100", "mbart"):
            raise BaseNotFoundError(
                f"cannot count the parameters of model type {family!r}; known are m2m_100 and mbart"
            )
        learned = family == "mbart"
        positions = _dimension(config, "max_position_embeddings")
        bare = cls(
            d_model=_dimension(config, "d_model"),
            encoder_layers=_dimension(config, "encoder_layers"),
            decoder_layers=_dimension(config, "decoder_layers"),
            encoder_ffn=_dimension(config, "encoder_ffn_dim"),
            decoder_ffn=_dimension(config, "decoder_ffn_dim"),
            vocab_size=_dimension(config, "vocab_size"),
            max_positions=positions,
            parameters=0,
            embedding_norms=2 if learned else 0,
        )
        tied = bool(config.get("tie_word_embeddings", True))
        total = _full_count(bare, position_rows=2 * (positions + 2) if learned else 0, tied=tied)
        return replace(bare, parameters=total)

    @property
    def attentions(self) -> int:
        """Return the number of attention blocks: E self, D self, D cross."""
        return self.encoder_layers + 2 * self.decoder_layers

    @property
    def layers(self) -> int:
        """Return the number of layers, encoder and decoder."""
        return self.encoder_layers + self.decoder_layers

    @property
    def sublayers(self) -> int:
        """Return the number of residual blocks: two a encoder layer, three a decoder layer."""
        return 2 * self.encoder_layers + 3 * self.decoder_layers

    @property
    def norms(self) -> int:
        """Return the number of layer norms."""
        return self.sublayers + self.final_norms + self.embedding_norms

    @property
    def attention_width(self) -> int:
        """Return heads × head width: the width of queries, keys and values."""
        return self.inner_width or self.d_model

    @property
    def feed_forward_inputs(self) -> int:
        """Return how many projections lead into a feed-forward."""
        return 2 if self.gated else 1

    @property
    def ffn_total(self) -> int:
        """Return the feed-forward widths of all layers, summed."""
        return self.encoder_layers * self.encoder_ffn + self.decoder_layers * self.decoder_ffn


def _dimension(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BaseNotFoundError(f"config.json: {key} is {value!r}; it must be a whole number >= 1")
    return value


def _full_count(dims: ModelDimensions, *, position_rows: int, tied: bool) -> int:
    """Count all unique parameters of an M2M-100 or mBART model.

    Untied, transformers keeps four tables: shared, encoder, decoder and output.
    """
    d = dims.d_model
    embeddings = dims.vocab_size * d * (1 if tied else 4) + position_rows * d
    encoder = dims.encoder_layers * (4 * d * d + 2 * d * dims.encoder_ffn + 9 * d)
    decoder = dims.decoder_layers * (8 * d * d + 2 * d * dims.decoder_ffn + 15 * d)
    norms = 4 * d + dims.embedding_norms * 2 * d
    return embeddings + encoder + decoder + dims.ffn_total + norms
