"""Does the engine compute an imported adapter as PEFT does? Tokens and logits on a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from hub.errors import EngineError, EqualityGateError, IncompatibleAdapterError

if TYPE_CHECKING:
    from torch import Tensor

    from hub.bases.tokenizer import BaseTokenizer
    from hub.engine.engine import Engine
    from hub.engine.requests import DecodeRequest
    from hub.languages import LanguagePair

SLOT: Final = 1
MAX_TOKENS: Final = 32
DRIFT: Final = 2e-3
"""Most that two log-probabilities may differ by: far above float32's noise, far below an error."""

NOISE: Final = 1e-4
"""Most that rounding moves a logit by."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was compared.

    Attributes:
        lines: Lines translated.
        tokens: Tokens that both sides chose.
        changed: Lines that the adapter translates in another way than its base.
        drift: Largest difference of a log-probability.
    """

    lines: int
    tokens: int
    changed: int
    drift: float


def compare_with_peft(
    engine: Engine, model: Any, tokenizer: BaseTokenizer, pair: LanguagePair, lines: Sequence[str]
) -> Comparison:
    """Compare greedy decoding of the adapter in the engine's slot with PEFT's model.

    The engine decodes; then both sides score every position along what it decoded. Where each
    side's choice is the same at every position, so is its greedy translation.

    Raises:
        EqualityGateError: They part; names the line and the token.
        IncompatibleAdapterError: The adapter changes nothing.
    """
    requests = _requests(engine, tokenizer, pair, lines)
    chosen = _decoded(engine, requests)
    plain = _decoded(engine, [replace(request, slot=0) for request in requests])
    forced = [
        replace(request, prefix_ids=(*request.prefix_ids, *tokens))
        for request, tokens in zip(requests, chosen, strict=True)
    ]
    own = _scored(engine, forced)
    if chosen == plain:
        _check_effect(own, _scored(engine, [replace(request, slot=0) for request in forced]))
    drift, tokens = 0.0, 0
    for number, (request, ours) in enumerate(zip(forced, own, strict=True)):
        begin = len(requests[number].prefix_ids)
        theirs = _peft_logits(model, request)
        drift = max(drift, _agree(number, ours[begin:], theirs[begin:]))
        tokens += len(ours) - begin
    changed = sum(one != other for one, other in zip(chosen, plain, strict=True))
    return Comparison(len(requests), tokens, changed, drift)


def _requests(
    engine: Engine, tokenizer: BaseTokenizer, pair: LanguagePair, lines: Sequence[str]
) -> list[DecodeRequest]:
    from hub.engine.requests import DecodeRequest, DecodingOptions

    prefix = tuple(tokenizer.target_prefix(pair.target))
    limit = engine.architecture.max_positions
    options = DecodingOptions(max_new_tokens=min(MAX_TOKENS, limit // 4))
    sources = (tokenizer.encode_source(line, pair.source, pair.target) for line in lines)
    return [
        DecodeRequest(number, tuple(source), prefix, SLOT, options)
        for number, source in enumerate(sources)
        if len(source) <= limit
    ]


def _decoded(engine: Engine, requests: Sequence[DecodeRequest]) -> list[tuple[int, ...]]:
    found = engine.translate(list(requests))
    for each in found:
        if each.error is not None:
            raise each.error
    return [each.hypotheses[0].token_ids for each in found]


def _scored(engine: Engine, requests: Sequence[DecodeRequest]) -> list[Tensor]:
    from hub.engine.requests import DecodingOptions

    options = DecodingOptions(max_new_tokens=1)
    return engine.forced_logits([replace(request, options=options) for request in requests])


def _check_effect(adapted: Sequence[Tensor], plain: Sequence[Tensor]) -> None:
    """Check that an adapter moves logits at all, where it changes no translation."""
    moved = max(float((a - b).abs().max()) for a, b in zip(adapted, plain, strict=True))
    if moved <= NOISE:
        raise IncompatibleAdapterError(
            f"the adapter changes nothing: it moves no logit by more than {NOISE:g}. It was saved "
            "before it was trained; give a trained one",
            field="source",
        )


def _peft_logits(model: Any, request: DecodeRequest) -> Tensor:
    """Return `(len(prefix_ids) + 1, vocab)`; an adapter's own prefix gives no logits."""
    import torch

    start = model.generation_config.decoder_start_token_id
    target = [[int(start), *request.prefix_ids]]
    with torch.no_grad():
        logits: Tensor = model(
            input_ids=torch.tensor([request.source_ids]),
            attention_mask=torch.ones(1, len(request.source_ids), dtype=torch.long),
            decoder_input_ids=torch.tensor(target),
        ).logits[0]
    if len(logits) < len(target[0]):
        raise EngineError(f"PEFT's model gave {len(logits)} of {len(target[0])} positions")
    return logits[-len(target[0]) :]


def _agree(number: int, ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference of the log-probabilities that matter: those of the choices."""
    own, other = ours.float().log_softmax(-1), theirs.float().log_softmax(-1)
    best, expected = own.argmax(-1), other.argmax(-1)
    drift = 0.0
    for choices in (best, expected):
        apart = (own - other).gather(-1, choices[:, None]).abs().flatten()
        worst = int(apart.argmax())
        drift = max(drift, float(apart[worst]))
        if not float(apart[worst]) <= DRIFT:
            raise EqualityGateError(
                f"the serving engine does not compute this adapter as PEFT does: line "
                f"{number + 1}, token {worst + 1}: PEFT chooses {int(expected[worst])}, the "
                f"engine {int(best[worst])}, and a log-probability is off by "
                f"{float(apart[worst]):.2g}, over the limit of {DRIFT:g}; nothing was published"
            )
    return drift
