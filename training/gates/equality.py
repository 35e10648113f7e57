"""Is the served adapter the trained one? Two sides are taken down, and then compared.

The training side is transformers' greedy decoding with the trained model in memory: its tokens, the
logits that were closest to being chosen, and the log-probability of what was chosen. The served
side is the serving engine in float32, rows of the adapter and of the plain base in one batch. Both
are plain values, so that one can travel to another process as a file
(`training.gates.fresh_process`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from hub.errors import EqualityGateError
from hub.quiet import quiet_libraries
from training.evidence.decode import ADAPTER_SLOT, BASE_SLOT, Decoder

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import GenerationConfig

    from hub.bases.tokenizer import BaseTokenizer
    from hub.engine.requests import Hypothesis
    from hub.engine.utf8 import Utf8Rule
    from hub.languages import LanguagePair
    from training.corpora import SentencePair

GATE_NEW_TOKENS: Final = 64
TIE: Final = 1e-3
"""Two logits closer than this are equal as far as two float32 implementations can tell."""
DRIFT: Final = 1e-3
"""A row's mean log-probability may differ by this much between the two, in nats per token."""
LOGITS: Final = 64_000_000
"""Logits of the training side held at once."""
RIVALS: Final = 8
"""Logits kept at each position, the highest ones."""

Slots = Sequence[int]


@dataclass(frozen=True)
class GateLine:
    """One encoded source line and the forced start of its translation."""

    source: tuple[int, ...]
    prefix: tuple[int, ...]


@dataclass(frozen=True)
class DecodedRow:
    """One row as one side decoded it.

    Attributes:
        tokens: Without start, prefix and end.
        log_probability: Sum over the tokens chosen, the end token included.
        finished: Whether it ended by itself, not by the limit.
        rivals: Of the training side only: by position, (token, logit) of the highest logits.
    """

    tokens: tuple[int, ...]
    log_probability: float
    finished: bool
    rivals: tuple[tuple[tuple[int, float], ...], ...] = ()


@dataclass(frozen=True)
class EqualityEvidence:
    """What the equality gate saw.

    Attributes:
        rows: Rows compared, half of them the plain base's.
        tokens: Tokens found equal.
        ties: Rows that parted where the training model's two logits are within `TIE`.
        drift: Largest difference of a row's mean log-probability, nats per token.
        fresh: Whether the folder was read from disk by another process.
    """

    rows: int
    tokens: int
    ties: int
    drift: float = 0.0
    fresh: bool = False


def gate_lines(
    tokenizer: BaseTokenizer, pair: LanguagePair, segments: Sequence[SentencePair]
) -> list[GateLine]:
    """Encode the sources of held-out segments."""
    prefix = tuple(tokenizer.target_prefix(pair.target))
    encoded = (
        tokenizer.encode_source(segment.source, pair.source, pair.target) for segment in segments
    )
    return [GateLine(tuple(ids), prefix) for ids in encoded]


def check_equality(
    model: Any,
    decoder: Decoder,
    lines: Sequence[GateLine],
    slots: Slots = (ADAPTER_SLOT, BASE_SLOT),
) -> EqualityEvidence:
    """Compare the serving engine's mixed batch with the training model, in this process.

    Args:
        model: Float32, holding the adapter that is placed in the decoder's slot.
        decoder: Float32.
        lines: Held-out lines; each runs as one row for every slot.
        slots: The adapter's and the base's; without the base's for a model that is no longer one.

    Raises:
        EqualityGateError: Names the first row and position that differ.
    """
    return compare_sides(
        trained_side(model, lines, slots, decoder.byte_ids),
        served_side(decoder, lines, slots),
        end=end_of(model),
    )


def compare_sides(
    trained: Mapping[int, Sequence[DecodedRow]],
    served: Mapping[int, Sequence[DecodedRow]],
    *,
    end: int,
) -> EqualityEvidence:
    """Compare two sides token by token.

    Args:
        trained: Rows by slot.
        served: The same rows.
        end: The end token.

    Raises:
        EqualityGateError: Names the first row and position that differ.
    """
    tokens = ties = rows = 0
    drift = 0.0
    for slot, expected in trained.items():
        for number, (ours, theirs) in enumerate(zip(served[slot], expected, strict=True)):
            rows += 1
            at = _first_difference(ours.tokens, theirs.tokens)
            tokens += len(theirs.tokens) if at is None else at
            if at is not None and not _tied(ours, theirs, at, end):
                raise _unequal(slot, number, at, ours.tokens, theirs.tokens)
            ties += at is not None
            own = _drift(ours, theirs) if at is None else 0.0
            if not own <= DRIFT:
                raise _drifted(slot, number, own)
            drift = max(drift, own)
    return EqualityEvidence(rows=rows, tokens=tokens, ties=ties, drift=drift)


def served_side(
    decoder: Decoder, lines: Sequence[GateLine], slots: Slots
) -> Mapping[int, list[DecodedRow]]:
    """Decode every line once for each slot, all in one batch, with the serving engine."""
    from hub.engine.requests import DecodeRequest, DecodingOptions

    options = DecodingOptions(beam_size=1, max_new_tokens=GATE_NEW_TOKENS)
    requests = [
        DecodeRequest(len(slots) * number + rank, line.source, line.prefix, slot, options)
        for number, line in enumerate(lines)
        for rank, slot in enumerate(slots)
    ]
    found = [_as_row(best) for best in decoder.best(requests)]
    return {slot: found[rank :: len(slots)] for rank, slot in enumerate(slots)}


def _as_row(found: Hypothesis) -> DecodedRow:
    return DecodedRow(found.token_ids, found.log_probability, found.finished)


def trained_side(
    model: Any,
    lines: Sequence[GateLine],
    slots: Slots,
    byte_ids: Mapping[int, int] = MappingProxyType({}),
) -> Mapping[int, list[DecodedRow]]:
    """Decode every line once for each slot with transformers and the model in memory.

    Args:
        model: Float32, holding the adapter.
        lines: What to decode.
        slots: The adapter's and the base's.
        byte_ids: Bytes of the vocabulary's byte pieces, which form valid UTF-8 here as in serving.
    """
    from hub.engine.utf8 import Utf8Rule

    rule = Utf8Rule.of(byte_ids)
    found = {}
    for slot in slots:
        with _acting(model, slot):
            parts = _parts(model, lines)
            found[slot] = [row for part in parts for row in _generate(model, part, rule)]
    return found


def _parts(model: Any, lines: Sequence[GateLine]) -> list[Sequence[GateLine]]:
    """Return as many lines at once as `LOGITS` allow."""
    rows = max(1, LOGITS // (GATE_NEW_TOKENS * int(model.config.vocab_size)))
    return [lines[at : at + rows] for at in range(0, len(lines), rows)]


def _acting(model: PeftModel, slot: int) -> AbstractContextManager[Any]:
    return nullcontext() if slot == ADAPTER_SLOT else model.disable_adapter()


def _generate(
    model: PeftModel, lines: Sequence[GateLine], rule: Utf8Rule | None
) -> list[DecodedRow]:
    import torch
    from transformers import LogitsProcessorList

    source, mask = _padded([line.source for line in lines], model.config.pad_token_id, model.device)
    start = [(_start(model), *line.prefix) for line in lines]
    with torch.no_grad(), quiet_libraries():
        output = model.generate(  # type: ignore[no-untyped-call]
            input_ids=source,
            attention_mask=mask,
            decoder_input_ids=torch.tensor(start, device=model.device),
            generation_config=_greedy(model),
            logits_processor=LogitsProcessorList(_whole_characters(rule, len(start[0]))),
        )
    chosen, ends = output.sequences[:, len(start[0]) :].cpu(), _ends(model)
    return [
        _row(row, torch.stack([step[at] for step in output.logits]).float().cpu(), ends, rule)
        for at, row in enumerate(chosen)
    ]


def _whole_characters(rule: Utf8Rule | None, given: int) -> list[Any]:
    """Return what makes `generate` spell whole characters, as the serving engine does.

    Args:
        rule: Of the vocabulary.
        given: Tokens of the target that are not chosen: start and prefix.
    """
    if rule is None:
        return []

    def restrict(ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        rule.restrict(scores, [rule.state(row) for row in ids[:, given:].tolist()])
        return scores

    return [restrict]


def _row(chosen: Tensor, logits: Tensor, ends: Sequence[int], rule: Utf8Rule | None) -> DecodedRow:
    """Cut one generated row at its end token, and keep what its logits say.

    Args:
        chosen: (positions,) token ids, padded after the end.
        logits: (positions, vocabulary) of the model itself, before any rule.
        ends: End tokens.
        rule: Of the vocabulary: a character that the limit cut in two is left out.
    """
    ids = [int(token) for token in chosen]
    stop = next((at for at, token in enumerate(ids) if token in ends), None)
    length = len(ids) if stop is None else stop + 1
    own = logits[:length].log_softmax(-1).gather(1, chosen[:length, None])
    values, tokens = logits[:length].topk(min(RIVALS, logits.shape[1]))
    rivals = zip(tokens.tolist(), values.tolist(), strict=True)
    return DecodedRow(
        tokens=tuple(ids[:stop]) if rule is None else rule.whole(tuple(ids[:stop])),
        log_probability=float(own.sum()),
        finished=stop is not None,
        rivals=tuple(tuple(zip(*each, strict=True)) for each in rivals),
    )


def _greedy(model: PeftModel) -> GenerationConfig:
    """Return greedy search with the base's own rules, which the serving engine follows too."""
    from transformers import GenerationConfig

    own: Any = model.generation_config
    return GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=1,
        do_sample=False,
        max_new_tokens=GATE_NEW_TOKENS,
        pad_token_id=model.config.pad_token_id,
        eos_token_id=list(_ends(model)),
        decoder_start_token_id=_start(model),
        forced_eos_token_id=own.forced_eos_token_id,
        bad_words_ids=own.bad_words_ids,
        no_repeat_ngram_size=own.no_repeat_ngram_size,
        repetition_penalty=own.repetition_penalty,
        return_dict_in_generate=True,
        output_logits=True,
    )


def _start(model: PeftModel) -> int:
    return int(_stated(model, "decoder_start_token_id"))


def _ends(model: PeftModel) -> tuple[int, ...]:
    ends = _stated(model, "eos_token_id")
    return tuple(ends) if isinstance(ends, list | tuple) else (ends,)


def _stated(model: Any, key: str) -> Any:
    """Return what the generation config says; the config's where a short one leaves it out."""
    found = getattr(model.generation_config, key, None)
    return getattr(model.config, key) if found is None else found


def end_of(model: Any) -> int:
    """Return the model's end token, the first where there are several."""
    return _ends(model)[0]


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


def _tied(ours: DecodedRow, theirs: DecodedRow, at: int, end: int) -> bool:
    """Say whether the training model gives both tokens the same logit there, within `TIE`."""
    if at >= len(theirs.rivals):
        return False
    logits = dict(theirs.rivals[at])
    pair = [row.tokens[at] if at < len(row.tokens) else end for row in (ours, theirs)]
    if not all(token in logits for token in pair):
        return False
    return abs(logits[pair[0]] - logits[pair[1]]) <= TIE


def _drift(ours: DecodedRow, theirs: DecodedRow) -> float:
    """Return how far two equal rows' mean log-probabilities lie apart.

    0 for rows that came to the limit: there the two count their last, forced token differently.
    """
    ended = ours.finished and theirs.finished and len(theirs.tokens) < GATE_NEW_TOKENS - 1
    if not ended or len(ours.tokens) != len(theirs.tokens):
        return 0.0
    return abs(ours.log_probability - theirs.log_probability) / (len(theirs.tokens) + 1)


def _unequal(
    slot: int, number: int, at: int, ours: Sequence[int], theirs: Sequence[int]
) -> EqualityGateError:
    return EqualityGateError(
        f"the serving engine does not reproduce the training model: {_side(slot)} row "
        f"{number + 1}, token {at + 1}: served {list(ours[at : at + 3])}, trained "
        f"{list(theirs[at : at + 3])}; the adapter was not published"
    )


def _drifted(slot: int, number: int, drift: float) -> EqualityGateError:
    return EqualityGateError(
        f"the serving engine does not reproduce the training model: {_side(slot)} row "
        f"{number + 1} has the same tokens, but its log-probability is off by {drift:.2g} a token, "
        f"over the limit of {DRIFT:g}; the adapter was not published"
    )


def _side(slot: int) -> str:
    return "adapter" if slot == ADAPTER_SLOT else "base"
