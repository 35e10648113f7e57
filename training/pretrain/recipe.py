"""The description of a base model to build."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

EMBEDDED_LANGUAGES = "ar cs de el en es fi fr hi id it ja ko nl pl pt ru sv th tr uk vi zh"
EMBEDDED_WEAK = {"ko": 0.05, "nl": 0.05}


@dataclass(frozen=True)
class CorpusFacts:
    """A parallel corpus of a base: pair, name, training segments, and "sha256:…" of its content."""

    pair: str
    name: str
    segments: int
    fingerprint: str


@dataclass(frozen=True)
class TextFacts:
    """A text that the vocabulary was made from: language, file name, "sha256:…"."""

    language: str
    name: str
    digest: str


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that a base's weights follow from.

    Attributes:
        languages: BCP-47 codes; on CLDR every direction between them is trained.
        data: The parallel files trained on, both directions of each pair; empty for CLDR.
        texts: Texts that only the vocabulary was made from.
        weak: Language to share of the usual sampling weight, for languages that are to be left
            for adapters to teach.
        english_weight: How much likelier English is than another language.
        vocabulary: SentencePiece pieces, byte fallback included.
        batch_tokens: Target tokens per update, padding included.
        updates: Optimiser steps.
        learning_rate: Its peak, reached after `warmup` updates; it then falls to zero by a cosine.
    """

    languages: tuple[str, ...] = tuple(EMBEDDED_LANGUAGES.split())
    weak: Mapping[str, float] = field(default_factory=lambda: dict(EMBEDDED_WEAK))
    english_weight: float = 3.0
    vocabulary: int = 8000
    vocabulary_phrases: int = 6000
    d_model: int = 256
    ffn: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 4
    max_positions: int = 256
    batch_tokens: int = 4096
    updates: int = 2200
    learning_rate: float = 2e-3
    warmup: int = 400
    label_smoothing: float = 0.0
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    data: tuple[CorpusFacts, ...] = ()
    texts: tuple[TextFacts, ...] = ()

    @property
    def digest(self) -> str:
        """Sixteen hex digits that name the recipe."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the canonical JSON of the recipe."""
        return json.dumps(self.facts(), sort_keys=True, indent=1)

    def facts(self) -> dict[str, Any]:
        """Return the fields by name; those of files only where there are files."""
        facts = asdict(self)
        return facts if self.data else {k: facts[k] for k in facts if k not in ("data", "texts")}

    def weight(self, language: str) -> float:
        """Return the sampling weight of a language, the same as source and as target."""
        usual = self.english_weight if language == "en" else 1.0
        return usual * self.weak.get(language, 1.0)

    def model_config(self, vocabulary: int) -> dict[str, Any]:
        """Return the keyword arguments of transformers' M2M100Config.

        Args:
            vocabulary: Rows of the embedding: pieces, language tokens and spare rows.
        """
        return {
            "vocab_size": vocabulary,
            "d_model": self.d_model,
            "encoder_layers": self.encoder_layers,
            "decoder_layers": self.decoder_layers,
            "encoder_ffn_dim": self.ffn,
            "decoder_ffn_dim": self.ffn,
            "encoder_attention_heads": self.heads,
            "decoder_attention_heads": self.heads,
            "max_position_embeddings": self.max_positions,
            "dropout": 0.0,
            "attention_dropout": 0.0,
            "activation_dropout": 0.0,
            "encoder_layerdrop": 0.0,
            "decoder_layerdrop": 0.0,
            "scale_embedding": True,
            "activation_function": "relu",
        }
