"""The numbers of a base model that decide what anything in it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hub.errors import BaseNotFoundError

_BART_FAMILIES: Final = ("bart", "m2m_100", "marian", "mbart")
_T5_FAMILIES: Final = ("mt5", "t5")

T5_POSITIONS: Final = 1024
"""Relative positions set no limit; this one keeps attention over a source within memory."""


@dataclass(frozen=True, slots=True)
class ModelDimensions:
    """The numbers of a base model that decide parameter counts.

    Attributes:
        max_positions: Longest sequence the positions allow.
        parameters: Unique parameters of the unquantized model, ties once.
        embedding_norms: Layer norms directly after embeddings (mBART and BART have two).
        final_norms: Norms behind the last layers (BART and Marian have none).
        norm_parameters: Vectors of a norm: weight and bias, or the weight alone (T5).
        attention_width: Heads times head width where that is not d_model (T5), else 0.
        feed_forward_linears: Two a layer, three where one of them is a gate.
        biases: Linears have biases (T5's have none).
        tied: The output is the input's token table.
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
    norm_parameters: int = 2
    attention_width: int = 0
    feed_forward_linears: int = 2
    biases: bool = True
    tied: bool = True

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ModelDimensions:
        """Read a transformers `config.json` of a known family.

        Raises:
            BaseNotFoundError: The family is unknown or a dimension is missing.
        """
        family = str(config.get("model_type"))
        if family in _T5_FAMILIES:
            return _t5_dimensions(config)
        if family in _BART_FAMILIES:
            return _bart_dimensions(config, family)
        known = ", ".join(sorted({*_T5_FAMILIES, *_BART_FAMILIES}))
        raise BaseNotFoundError(
            f"cannot count the parameters of model type {family!r}; known are {known}"
        )

    @property
    def inner(self) -> int:
        """Return the width of queries, keys and values: heads times head width."""
        return self.attention_width or self.d_model

    @property
    def norms(self) -> int:
        """Return the number of norms in the model."""
        return self.sublayers + self.final_norms + self.embedding_norms

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
    def ffn_total(self) -> int:
        """Return the feed-forward widths of all layers, summed."""
        return self.encoder_layers * self.encoder_ffn + self.decoder_layers * self.decoder_ffn


def _dimension(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BaseNotFoundError(f"config.json: {key} is {value!r}; it must be a whole number >= 1")
    return value


def _bart_dimensions(config: Mapping[str, Any], family: str) -> ModelDimensions:
    learned = family in ("bart", "mbart")
    final = family in ("m2m_100", "mbart")
    tied = bool(config.get("tie_word_embeddings", True))
    bare = ModelDimensions(
        d_model=_dimension(config, "d_model"),
        encoder_layers=_dimension(config, "encoder_layers"),
        decoder_layers=_dimension(config, "decoder_layers"),
        encoder_ffn=_dimension(config, "encoder_ffn_dim"),
        decoder_ffn=_dimension(config, "decoder_ffn_dim"),
        vocab_size=_dimension(config, "vocab_size"),
        max_positions=_dimension(config, "max_position_embeddings"),
        parameters=0,
        embedding_norms=2 if learned else 0,
        final_norms=2 if final else 0,
        tied=tied,
    )
    # Untied, transformers keeps four tables: shared, encoder, decoder and output. Sinusoids,
    # M2M-100's and Marian's, are computed and no parameters.
    positions = 2 * (bare.max_positions + 2) if learned else 0
    return _counted(bare, tables=1 if tied else 4, others=positions * bare.d_model)


def _t5_dimensions(config: Mapping[str, Any]) -> ModelDimensions:
    layers, ffn = _dimension(config, "num_layers"), _dimension(config, "d_ff")
    heads = _dimension(config, "num_heads")
    has_own = config.get("num_decoder_layers") is not None
    default = "relu" if config["model_type"] == "t5" else "gated-gelu"
    # T5 v1.1, mT5 and MADLAD-400 say false and have an output table of their own.
    tied = config.get("tie_word_embeddings", True) is not False
    bare = ModelDimensions(
        d_model=_dimension(config, "d_model"),
        encoder_layers=layers,
        decoder_layers=_dimension(config, "num_decoder_layers") if has_own else layers,
        encoder_ffn=ffn,
        decoder_ffn=ffn,
        vocab_size=_dimension(config, "vocab_size"),
        max_positions=max(T5_POSITIONS, int(config.get("n_positions") or 0)),
        parameters=0,
        norm_parameters=1,
        attention_width=heads * _dimension(config, "d_kv"),
        feed_forward_linears=2 + str(config.get("feed_forward_proj", default)).startswith("gated-"),
        biases=False,
        tied=tied,
    )
    buckets = int(config.get("relative_attention_num_buckets", 32))
    return _counted(bare, tables=1 if tied else 2, others=2 * buckets * heads)


def _counted(bare: ModelDimensions, *, tables: int, others: int) -> ModelDimensions:
    """Count all unique parameters: `tables` of tokens, layers, norms, and `others`."""
    d, inner, linears = bare.d_model, bare.inner, bare.feed_forward_linears
    total = tables * bare.vocab_size * d + others
    total += 4 * d * inner * bare.attentions + linears * d * bare.ffn_total
    total += bare.norms * bare.norm_parameters * d
    if bare.biases:
        total += (3 * inner + d) * bare.attentions
        total += (linears - 1) * bare.ffn_total + d * bare.layers
    return replace(bare, parameters=total)
