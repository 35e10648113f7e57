"""What an adapter must show before it is published.

The equality gate is the one that holds training and serving together: the serving engine, in
float32, with rows of the adapter and of the plain base in one batch, must reproduce the training
model's greedy decoding token for token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import AdapterBindingError, BudgetError, EqualityGateError, QualityGateError
from hub.manifest import AdapterManifest
from training.evaluate import ADAPTER_SLOT, BASE_SLOT, Decoder

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import GenerationConfig

WEIGHTS: Final = "*.safetensors"
GATE_NEW_TOKENS: Final = 64
TIE: Final = 1e-3
"""Two logits closer than this are equal as far as two float32 implementations can tell."""


@dataclass(frozen=True)
class GateLine:
    """One encoded source line and the forced start of its translation."""

    source: tuple[int, ...]
    prefix: tuple[int, ...]


@dataclass(frozen=True)
class EqualityEvidence:
    """What the equality gate saw.

    Attributes:
        rows: Rows compared, half of them the plain base's.
        tokens: Tokens found equal.
        ties: Rows that parted where the training model's two best logits are within `TIE`.
    """

    rows: int
    tokens: int
    ties: int


def check_finite(folder: Path) -> None:
    """Refuse an adapter with a NaN or an infinity in it.

    Raises:
        AdapterBindingError: Names the tensor.
    """
    from safetensors.torch import load_file

    tensors = (item for file in sorted(folder.glob(WEIGHTS)) for item in load_file(file).items())
    for name, tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise AdapterBindingError(
                f"tensor {name} holds values that are not finite; lower --lr and train again"
            )


def check_budget(manifest: AdapterManifest, instantiated: int) -> None:
    """Refuse an adapter that is larger than its budget or than its own arithmetic.

    Raises:
        BudgetError: Names both counts.
    """
    if instantiated != manifest.trainable_parameters:
        raise BudgetError(
            f"{manifest.method} of size {manifest.size} trains {instantiated:,} parameters, "
            f"but {manifest.trainable_parameters:,} were counted; this is a bug in the arithmetic"
        )
    if manifest.budget is not None and manifest.realised_fraction > manifest.budget:
        raise BudgetError(
            f"the adapter takes {manifest.realised_fraction:.6f} of the base, "
            f"over the budget of {manifest.budget}"
        )


def check_quality(manifest: AdapterManifest, *, force: bool) -> None:
    """Refuse an adapter that translates worse than the base, unless forced.

    Raises:
        QualityGateError: Gives both scores.
    """
    base, adapter = manifest.score("chrf++", "base"), manifest.score("chrf++", "adapter")
    if force:
        return
    if base is None or adapter is None:
        raise QualityGateError(
            "the adapter has no chrF++ scores; score it, or publish with --force"
        )
    if adapter < base:
        raise QualityGateError(
            f"the adapter reaches chrF++ {adapter:.1f} on unseen items, below the base's "
            f"{base:.1f}; train longer (--max-updates), change --lr, or publish with --force"
        )


def check_equality(
    model: Any,
    decoder: Decoder,
    lines: Sequence[GateLine],
    slots: Sequence[int] = (ADAPTER_SLOT, BASE_SLOT),
) -> EqualityEvidence:
    """Compare the serving engine's mixed batch with the training model, token by token.

    Args:
        model: Float32, holding the adapter that is placed in the decoder's slot.
        decoder: Float32.
        lines: Held-out lines; each runs as one row for every slot.
        slots: The adapter's and the base's; without the base's for a model that is no longer one.

    Raises:
        EqualityGateError: Names the first row and position that differ.
    """
    served = _serve_mixed(decoder, lines, slots)
    tokens = ties = 0
    for slot, rows in served.items():
        with _acting(model, slot):
            trained = _train_side(model, lines)
            for number, (ours, theirs) in enumerate(zip(rows, trained, strict=True)):
                at = _first_difference(ours, theirs)
                tokens += len(theirs) if at is None else at
                if at is None:
                    continue
                if not _tied(model, lines[number], theirs[:at], _pair_at(ours, theirs, at, model)):
                    raise _unequal(slot, number, at, ours, theirs)
                ties += 1
    return EqualityEvidence(rows=len(slots) * len(lines), tokens=tokens, ties=ties)


def _serve_mixed(
    decoder: Decoder, lines: Sequence[GateLine], slots: Sequence[int]
) -> Mapping[int, list[tuple[int, ...]]]:
    from hub.engine.requests import DecodeRequest, DecodingOptions

    options = DecodingOptions(beam_size=1, max_new_tokens=GATE_NEW_TOKENS)
    requests = [
        DecodeRequest(len(slots) * number + rank, line.source, line.prefix, slot, options)
        for number, line in enumerate(lines)
        for rank, slot in enumerate(slots)
    ]
    found = decoder.decode(requests)
    return {slot: found[rank :: len(slots)] for rank, slot in enumerate(slots)}


def _acting(model: PeftModel, slot: int) -> AbstractContextManager[Any]:
    return nullcontext() if slot == ADAPTER_SLOT else model.disable_adapter()


def _train_side(model: PeftModel, lines: Sequence[GateLine]) -> list[tuple[int, ...]]:
    """Decode greedily with transformers; drop start, prefix and end tokens."""
    import torch

    source, mask = _padded([line.source for line in lines], model.config.pad_token_id, model.device)
    start = [(_start(model), *line.prefix) for line in lines]
    with torch.no_grad():
        output = model.generate(  # type: ignore[no-untyped-call]
            input_ids=source,
            attention_mask=mask,
            decoder_input_ids=torch.tensor(start, device=model.device),
            generation_config=_greedy(model),
        )
    rows = output[:, len(start[0]) :].tolist()
    return [_until(row, _ends(model)) for row in rows]


def _greedy(model: PeftModel) -> GenerationConfig:
    """Return greedy search with the base's own rules, which the serving engine follows too."""
    from transformers import GenerationConfig

    own: Any = model.generation_config
    return GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=1,
        do_sample=False,
        max_new_tokens=GATE_NEW_TOKENS,
        pad_token_id=model.config.pad_token_id,
        eos_token_id=own.eos_token_id,
        decoder_start_token_id=_start(model),
        forced_eos_token_id=own.forced_eos_token_id,
        bad_words_ids=own.bad_words_ids,
        no_repeat_ngram_size=own.no_repeat_ngram_size,
        repetition_penalty=own.repetition_penalty,
    )


def _start(model: PeftModel) -> int:
    own: Any = model.generation_config
    return int(own.decoder_start_token_id)


def _ends(model: PeftModel) -> tuple[int, ...]:
    own: Any = model.generation_config
    ends = own.eos_token_id
    return tuple(ends) if isinstance(ends, list | tuple) else (ends,)


def _until(row: Sequence[int], ends: Sequence[int]) -> tuple[int, ...]:
    stop = next((at for at, token in enumerate(row) if token in ends), len(row))
    return tuple(row[:stop])


def _padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    import torch

    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, (torch.arange(longest, device=device) < lengths[:, None]).long()


def _first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """Return the first position where two rows part; a row cut by the limit may be one shorter."""
    for position, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return position
    shorter = min(len(ours), len(theirs))
    return None if len(ours) == len(theirs) or shorter >= GATE_NEW_TOKENS - 1 else shorter


def _pair_at(
    ours: Sequence[int], theirs: Sequence[int], at: int, model: PeftModel
) -> tuple[int, int]:
    end = _ends(model)[0]
    return (ours[at] if at < len(ours) else end, theirs[at] if at < len(theirs) else end)


def _tied(model: PeftModel, line: GateLine, agreed: Sequence[int], pair: tuple[int, int]) -> bool:
    """Say whether the training model gives both tokens the same logit, within `TIE`."""
    import torch

    start = (_start(model), *line.prefix, *agreed)
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([line.source], device=model.device),
            decoder_input_ids=torch.tensor([start], device=model.device),
        ).logits[0, -1]
    return abs(float(logits[pair[0]] - logits[pair[1]])) <= TIE


def _unequal(
    slot: int, number: int, at: int, ours: Sequence[int], theirs: Sequence[int]
) -> EqualityGateError:
    row = "adapter" if slot == ADAPTER_SLOT else "base"
    return EqualityGateError(
        f"the serving engine does not reproduce the training model: {row} row {number + 1}, "
        f"token {at + 1}: served {list(ours[at : at + 3])}, trained {list(theirs[at : at + 3])}; "
        "the adapter was not published"
    )
