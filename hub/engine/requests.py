"""What goes into the engine and what comes out: plain values, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from hub.engine.shortlists import Shortlist
from hub.errors import DecodingError, HubError

MAX_BEAM = 64
"""Widest beam the engine accepts; a server may allow less."""

MAX_NEW_TOKENS = 4096
"""Longest target the options accept; the base's own positions may allow less."""

MAX_REPETITION_PENALTY = 100.0

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True, slots=True)
class DecodingOptions:
    """How one request is decoded; the meanings are those of `transformers` generate.

    Attributes:
        beam_size: Beam width; 1 is greedy.
        max_new_tokens: Most tokens after the forced prefix, the end token included.
        min_new_tokens: Fewest tokens after the forced prefix before the end token is allowed.
        length_penalty: Exponent of the length that divides a sum of log-probabilities.
        num_hypotheses: How many of the beam's hypotheses to return, best first.
        no_repeat_ngram_size: Length of the n-grams that may come once only; 0 for no limit.
        repetition_penalty: Above 1 makes tokens that the target has already less likely.
        bad_words: Tokens that are never generated.
        forced_eos: Whether a target of full length must end with the end token.
        early_stopping: When a beam search is over that has `beam_size` hypotheses: True at once,
            False when the best open beam at its present length scores no better than the worst of
            them, "never" when not even at its greatest length.

    Those that are None are the base's own (its generation_config.json).
    """

    beam_size: int = 1
    max_new_tokens: int = 128
    min_new_tokens: int = 0
    length_penalty: float = 1.0
    num_hypotheses: int = 1
    no_repeat_ngram_size: int | None = None
    repetition_penalty: float | None = None
    bad_words: tuple[int, ...] | None = None
    forced_eos: bool | None = None
    early_stopping: EarlyStopping = False

    def validate(self) -> DecodingOptions:
        """Check every option against its range and return the options.

        Raises:
            DecodingError: Names the first option that is out of range.
        """
        _within("beam_size", self.beam_size, 1, MAX_BEAM)
        _within("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS)
        _within("min_new_tokens", self.min_new_tokens, 0, self.max_new_tokens)
        if self.early_stopping not in (True, False, "never"):
            raise DecodingError(
                f"early_stopping is {self.early_stopping!r}, give true, false or 'never'",
                field="early_stopping",
            )
        _within("num_hypotheses", self.num_hypotheses, 1, self.beam_size)
        if not math.isfinite(self.length_penalty) or abs(self.length_penalty) > 10:
            raise DecodingError(
                f"length_penalty is {self.length_penalty}, give a number from -10 to 10",
                field="length_penalty",
            )
        _within("no_repeat_ngram_size", self.no_repeat_ngram_size or 0, 0, MAX_NEW_TOKENS)
        penalty = 1.0 if self.repetition_penalty is None else self.repetition_penalty
        if not 0 < penalty <= MAX_REPETITION_PENALTY:
            raise DecodingError(
                f"repetition_penalty is {penalty}, give a number above 0 and at most "
                f"{MAX_REPETITION_PENALTY:g}",
                field="repetition_penalty",
            )
        return self


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise DecodingError(f"{name} is {value}, give {low} to {high}", field=name)


@dataclass(frozen=True, slots=True)
class DecodeRequest:
    """One source to decode.

    Attributes:
        key: The caller's name for the request, unique among those running.
        source_ids: Source tokens as the encoder wants them, language and end token included.
        prefix_ids: Target tokens forced after the start token, for example the language.
        slot: Adapter slot of every row of this request; 0 is the plain base.
        align: Whether hypotheses carry an alignment.
        token_scores: Whether hypotheses carry the log-probability of each token.
        constraints: Terms that the output must hold: for each, the token sequences of its forms,
            any of which will do. They want a beam of at least 2.
        joiners: Tokens that continue a word; none of them comes right behind a term.
        shortlist: Tokens to choose from, unless the slot's adapter has a list of its own; None
            for the whole vocabulary. A request with terms always has the whole vocabulary, and so
            has one whose beams could run out of listed tokens.
    """

    key: int
    source_ids: tuple[int, ...]
    prefix_ids: tuple[int, ...] = ()
    slot: int = 0
    options: DecodingOptions = DecodingOptions()
    align: bool = False
    token_scores: bool = False
    constraints: tuple[tuple[tuple[int, ...], ...], ...] = ()
    joiners: frozenset[int] = frozenset()
    shortlist: Shortlist | None = None


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One candidate translation.

    Attributes:
        token_ids: Target tokens without start, forced prefix and end token.
        score: `log_probability / length ** length_penalty`; higher is better. The length
            counts the forced prefix and the end token, as transformers counts them.
        log_probability: Sum over the tokens chosen, end token included; forced ones add 0. With
            beams it is that of the scores after rules such as a repetition penalty, as in
            transformers; greedy search keeps the model's own.
        finished: False where max_new_tokens cut the hypothesis off.
        alignment: For each of `token_ids` the index in `source_ids` that the step which chose it
            attends to most, in the decoder layer and manner that `hub.engine.alignment` describes.
            Empty unless asked for.
        token_log_probabilities: One for each of `token_ids`, and one for the end token where
            there is one; they add up to `log_probability`. Empty unless asked for.
    """

    token_ids: tuple[int, ...]
    score: float
    log_probability: float
    finished: bool
    alignment: tuple[int, ...] = ()
    token_log_probabilities: tuple[float, ...] = ()

    def shortened(self, token_ids: tuple[int, ...]) -> Hypothesis:
        """Return the hypothesis with only the first of its tokens, what belongs to them too."""
        return replace(
            self,
            token_ids=token_ids,
            alignment=self.alignment[: len(token_ids)],
            token_log_probabilities=self.token_log_probabilities[: len(token_ids) + self.finished],
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of one request: hypotheses, best first, or an error.

    Attributes:
        encode_seconds: Wall time of the encoder pass that the source was in, without the decoder
            steps that came between its layers.
        decode_seconds: Wall time of the decoder steps that the request was in.
        steps: Number of those decoder steps.
    """

    key: int
    hypotheses: tuple[Hypothesis, ...]
    error: HubError | None = None
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one call of `Engine.step` did.

    Attributes:
        finished: Requests that ended in this step, failed ones included.
        rows: Decoder rows that ran.
        distinct_adapters: Different adapters among them, the plain base not counted.
        tokens: Tokens chosen in this step, over all rows.
        encoded: Sources whose encoding ended before the decoder ran.
        unencoded: Sources that are still on their way through the encoder, or wait for it.
        encoder_tokens: Source tokens encoded in this step; those of a pass that went halfway
            through the encoder count half.
        encode_seconds: Wall time of the encoding, before the decoder ran.
        decode_seconds: Wall time of the decoder.
    """

    finished: list[Finished] = field(default_factory=list)
    rows: int = 0
    distinct_adapters: int = 0
    tokens: int = 0
    encoded: int = 0
    unencoded: int = 0
    encoder_tokens: float = 0.0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
