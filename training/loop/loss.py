"""From a batch of examples to a loss: padding, shifting, and cross-entropy where it counts.

M2M-100 in transformers has no `prepare_decoder_input_ids_from_labels`, so the decoder's inputs are
made here: the labels shifted right behind the decoder's start token. The loss leaves out padding
and the forced language tokens, which decoding never has to predict; the vocabulary projection, the
largest product of a small model, is computed at the remaining positions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.loop.batching import Example
from training.loop.projection import frozen_weight, projected_loss

T5_FAMILIES: Final = ("mt5", "t5")


@dataclass(frozen=True)
class Layout:
    """The special ids of a base and how many target tokens are forced."""

    pad_id: int
    decoder_start_id: int
    forced: int


@dataclass(frozen=True)
class Batch:
    """Padded tensors of a few examples.

    Attributes:
        source: (rows, src_len) ids, and `source_mask`, 1 where they are not padding.
        decoder_input: (rows, tgt_len) ids.
        predicted: (rows, tgt_len) bool, the positions that the loss counts.
        labels: (predicted positions,) ids, row by row.
        tokens: Source and target tokens without padding.
    """

    source: Tensor
    source_mask: Tensor
    decoder_input: Tensor
    predicted: Tensor
    labels: Tensor
    tokens: int


def collate(examples: Sequence[Example], layout: Layout, device: str = "cpu") -> Batch:
    """Pad examples to one batch."""
    source = _pad([example.source for example in examples], layout.pad_id)
    labels = _pad([example.target for example in examples], layout.pad_id)
    lengths = torch.tensor([len(example.target) for example in examples])
    positions = torch.arange(labels.shape[1])
    predicted = (positions >= layout.forced) & (positions < lengths[:, None])
    start = torch.full((len(examples), 1), layout.decoder_start_id)
    source_lengths = torch.tensor([len(example.source) for example in examples])
    source_mask = torch.arange(source.shape[1]) < source_lengths[:, None]
    return Batch(
        source=source.to(device),
        source_mask=source_mask.long().to(device),
        decoder_input=torch.cat([start, labels[:, :-1]], dim=1).to(device),
        predicted=predicted.to(device),
        labels=labels[predicted].to(device),
        tokens=int(lengths.sum() + source_lengths.sum()),
    )


def _pad(rows: Sequence[Sequence[int]], pad_id: int) -> Tensor:
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])


def transformer(model: nn.Module) -> Any:
    """Return the transformers model inside a PEFT model, or the model itself."""
    inner = getattr(model, "get_base_model", None)
    return inner() if callable(inner) else model


def logits_at_predicted(model: nn.Module, batch: Batch) -> Tensor:
    """Return float32 logits (predicted positions, vocabulary)."""
    base = transformer(model)
    states = _decoder_states(base, batch)[batch.predicted]
    logits: Tensor = base.get_output_embeddings()(states)
    bias = getattr(base, "final_logits_bias", None)
    logits = logits.float()
    return logits if bias is None else logits + bias


def _decoder_states(base: Any, batch: Batch) -> Tensor:
    """Return what the vocabulary projection reads, (rows, tgt_len, d_model)."""
    if base.config.model_type in T5_FAMILIES:
        return _t5_states(base, batch)
    found: Tensor = base.model(
        input_ids=batch.source,
        attention_mask=batch.source_mask,
        decoder_input_ids=batch.decoder_input,
        use_cache=False,
    ).last_hidden_state
    return found


def _t5_states(base: Any, batch: Batch) -> Tensor:
    """Run T5's two stacks, which no module of their own holds; tied tables are scaled down."""
    encoded = base.encoder(input_ids=batch.source, attention_mask=batch.source_mask)
    states: Tensor = base.decoder(
        input_ids=batch.decoder_input,
        encoder_hidden_states=encoded.last_hidden_state,
        encoder_attention_mask=batch.source_mask,
        use_cache=False,
    ).last_hidden_state
    scaled = getattr(base.config, "scale_decoder_outputs", False)
    return states * base.config.d_model**-0.5 if scaled else states


def smoothed_loss(model: nn.Module, batch: Batch, smoothing: float) -> Tensor:
    """Return the mean label-smoothed cross-entropy per predicted token (Szegedy 2016, §7)."""
    from training.methods.tokens import own_rows

    base = transformer(model)
    head = base.get_output_embeddings()
    own = own_rows(head)
    weight = frozen_weight(head if own is None else own.table)
    if weight is None:
        logits = logits_at_predicted(model, batch)
        return functional.cross_entropy(logits, batch.labels, label_smoothing=smoothing)
    states = _decoder_states(base, batch)[batch.predicted]
    bias = getattr(base, "final_logits_bias", None)
    rows, index = (None, None) if own is None else (own.rows, own.ids)
    return projected_loss(states, weight, bias, batch.labels, smoothing, rows, index)
