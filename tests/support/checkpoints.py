"""The dimensions of published checkpoints, and the rows of docs/bases.md made from them.

    python tests/support/checkpoints.py        prints the table

Parameters and budgets come from the project's own counting. Memory is computed, not measured:
float32 takes 4 bytes a parameter; int8 takes 1 byte for every number of a matrix, 4 for its scale
of each row, and 4 for every other number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hub.budget import solve
from hub.dimensions import ModelDimensions

BUDGET = 0.01


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hugging Face Hub.

    Attributes:
        ids: Its id, or several of the same dimensions.
        config: The keys of its config.json that decide sizes.
        licence: As its model card states it.
        opens: "yes", or why not.
        parameters: Unique parameters as counted elsewhere, 0 where no such count is at hand.
    """

    ids: tuple[str, ...]
    config: Mapping[str, Any]
    licence: str
    opens: str = "yes"
    parameters: int = 0


def _bart(
    family: str, d: int, layers: int, ffn: int, vocabulary: int, **more: int
) -> dict[str, Any]:
    return {
        "model_type": family, "d_model": d, "encoder_layers": layers, "decoder_layers": layers,
        "encoder_ffn_dim": ffn, "decoder_ffn_dim": ffn, "vocab_size": vocabulary,
        "max_position_embeddings": 1024, **more,
    }  # fmt: skip


def _t5(d: int, layers: int, heads: int, ffn: int, vocabulary: int, **more: Any) -> dict[str, Any]:
    return {
        "model_type": "t5", "d_model": d, "num_layers": layers, "num_heads": heads, "d_kv": 64,
        "d_ff": ffn, "vocab_size": vocabulary, **more,
    }  # fmt: skip


_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_NLLB = "CC-BY-NC-4.0"
PUBLISHED = (
    Published(
        ("facebook/nllb-200-distilled-600M",),
        _bart("m2m_100", 1024, 12, 4096, 256206), _NLLB, parameters=615_073_792,
    ),
    Published(
        ("facebook/nllb-200-distilled-1.3B", "facebook/nllb-200-1.3B"),
        _bart("m2m_100", 1024, 24, 8192, 256206), _NLLB, parameters=1_370_638_336,
    ),
    Published(("facebook/nllb-200-3.3B",), _bart("m2m_100", 2048, 24, 8192, 256206), _NLLB),
    Published(
        ("facebook/m2m100_418M",),
        _bart("m2m_100", 1024, 12, 4096, 128112), "MIT", parameters=483_905_536,
    ),
    Published(("facebook/m2m100_1.2B",), _bart("m2m_100", 1024, 24, 8192, 128112), "MIT"),
    Published(
        ("facebook/mbart-large-50-many-to-many-mmt", "…-one-to-many-mmt", "…-many-to-one-mmt"),
        _bart("mbart", 1024, 12, 4096, 250054), "see the card", parameters=610_879_488,
    ),
    Published(
        ("Helsinki-NLP/opus-mt-en-de",),
        _bart("marian", 512, 6, 2048, 58101, max_position_embeddings=512), "CC-BY-4.0",
    ),
    Published(
        ("Helsinki-NLP/opus-mt-tc-big-… (here with 57,000 pieces)",),
        _bart("marian", 1024, 6, 4096, 57000), "CC-BY-4.0",
    ),
    Published(
        ("google-t5/t5-small",), _t5(512, 6, 8, 2048, 32128), "Apache-2.0", parameters=60_506_624
    ),
    Published(
        ("google-t5/t5-base",), _t5(768, 12, 12, 3072, 32128), "Apache-2.0",
        parameters=222_903_552,
    ),
    Published(
        ("google-t5/t5-large",), _t5(1024, 24, 16, 4096, 32128), "Apache-2.0",
        parameters=737_668_096,
    ),
    Published(
        ("google/mt5-small",), _t5(512, 8, 6, 1024, 250112, **_GATED) | {"model_type": "mt5"},
        "Apache-2.0", parameters=300_176_768,
    ),
    Published(
        ("google/mt5-base",), _t5(768, 12, 12, 2048, 250112, **_GATED) | {"model_type": "mt5"},
        "Apache-2.0", parameters=582_401_280,
    ),
    Published(
        ("google/madlad400-3b-mt",), _t5(1024, 32, 16, 8192, 256000, **_GATED) | {"d_kv": 128},
        "Apache-2.0",
    ),
    Published(
        ("alirezamsh/small100",),
        _bart("m2m_100", 1024, 12, 4096, 128112) | {"decoder_layers": 3}, "MIT",
        opens="no: its tokenizer asks for the target in the source",
    ),
)  # fmt: skip


def rows() -> list[str]:
    """The table as lines of Markdown."""
    head = [
        "| checkpoint | opens as it is | parameters | float32 | int8 | 1 %: bottleneck, LoRA "
        "| licence |",
        "|---|---|---|---|---|---|---|",
    ]
    return head + [_row(each) for each in PUBLISHED]


def _row(each: Published) -> str:
    dims = ModelDimensions.from_config(each.config)
    names = ", ".join(f"`{name}`" if "(" not in name else name for name in each.ids)
    sizes = "–"
    if each.opens == "yes":
        width, rank = (solve(method, BUDGET, dims).size for method in ("bottleneck", "lora"))
        sizes = f"width {width}, rank {rank}"
    memory = f"{4 * dims.parameters / 1e9:.2f} GB | {int8_bytes(dims) / 1e9:.2f} GB"
    return (
        f"| {names} | {each.opens} | {dims.parameters / 1e6:,.0f} M | {memory} | {sizes} "
        f"| {each.licence} |"
    )


def int8_bytes(dims: ModelDimensions) -> int:
    """What the engine's int8 weights take: matrices, the scale of each of their rows, the rest."""
    tables = max(1, round((dims.parameters - _matrices(dims)) / (dims.vocab_size * dims.d_model)))
    table = tables * dims.vocab_size * dims.d_model
    matrices = table + _matrices(dims)
    scales = tables * dims.vocab_size + _rows(dims)
    return matrices + 4 * scales + 4 * (dims.parameters - matrices)


def _matrices(dims: ModelDimensions) -> int:
    attention = 4 * dims.d_model * dims.inner * dims.attentions
    return attention + dims.feed_forward_linears * dims.d_model * dims.ffn_total


def _rows(dims: ModelDimensions) -> int:
    attention = (3 * dims.inner + dims.d_model) * dims.attentions
    forward = (dims.feed_forward_linears - 1) * dims.ffn_total + dims.d_model * dims.layers
    return attention + forward


if __name__ == "__main__":
    print("\n".join(rows()))
