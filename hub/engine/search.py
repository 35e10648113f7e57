"""Greedy and beam search, one object per request; torch only where rows are batched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.devices import upload
from hub.engine.requests import DecodeRequest, DecodingOptions, Hypothesis
from hub.engine.rules import RuledRow, apply_rules
from hub.engine.shortlists import EVERY_TOKEN, Columns
from hub.engine.utf8 import CharacterRows

_CHUNK_BYTES = 1 << 20
"""Logits that stay in the cache between the passes over them."""

_BLOCKS = 64
"""Parts that a row is cut into for `likeliest`."""

UNREACHED = -1e9
"""Score of a beam that no hypothesis holds yet (transformers' own constant)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A continuation: which beam it extends, by what, and the sum of log-probabilities."""

    beam: int
    token: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of the choice of one token: the source token attended to, its own value."""

    attended: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class EarlyRows:
    """Rows that may not end yet, and the tokens that would end them.

    Attributes:
        listed: Which columns the rows' logits have.
    """

    rows: Sequence[int]
    eos_ids: Sequence[int]
    listed: Columns = EVERY_TOKEN

    @property
    def columns(self) -> list[int]:
        """Return the columns of the tokens that would end a row."""
        return self.listed.columns(self.eos_ids)

    def block(self, values: Tensor, start: int) -> None:
        """Set those tokens to -inf, in place, in rows `start` and on of `(rows, columns)`."""
        inside = [row - start for row in self.rows if start <= row < start + len(values)]
        for eos in self.columns if inside else ():
            values[upload(torch.tensor(inside), values.device), eos] = -math.inf

    def within(self, rows: Sequence[int]) -> EarlyRows:
        """Return the same for `rows` alone, numbered in their order."""
        early = set(self.rows)
        return replace(self, rows=[new for new, row in enumerate(rows) if row in early])


NO_EARLY_ROWS = EarlyRows((), ())


def likeliest(
    logits: Tensor,
    keep: int,
    early: EarlyRows,
    ruled: Sequence[RuledRow] = (),
    characters: CharacterRows | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and columns of each row's likeliest tokens, best first.

    Greedy search restricts logits and keeps the log-probabilities of before; beam search
    restricts the log-probabilities themselves: so does transformers.

    Args:
        logits: `(rows, columns)` float32; may be overwritten. A column is a token, of the whole
            vocabulary or of the list that `early`, `ruled` and `characters` are for.
        keep: How many; 1 is greedy.
        early: Rows that may not end yet.
        ruled: Rows with rules.
        characters: Where each row stands in a character; None without byte pieces.

    Returns:
        `(rows, keep)` each, fewer where the vocabulary is smaller.
    """
    if logits.device.type != "cpu":
        return likeliest_at_once(logits, keep, early, ruled, characters)
    values, tokens = [], []
    for start, chunk in _chunks(logits):
        found, chosen = rank_tokens(chunk, start, keep, early, ruled, characters)
        values.append(found)
        tokens.append(chosen)
    return torch.cat(values), torch.cat(tokens)


def likeliest_at_once(
    logits: Tensor,
    keep: int,
    early: EarlyRows,
    ruled: Sequence[RuledRow] = (),
    characters: CharacterRows | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what `likeliest` does, reading back once: for logits that are not on the host."""
    values, tokens = rank_tokens(logits, 0, keep, early, ruled, characters)
    # Tokens are exact in float64, and so are float32 values: both travel in one copy.
    read = torch.stack([values.double(), tokens.double()]).cpu()
    return read[0].float(), read[1].long()


def rank_tokens(
    chunk: Tensor,
    start: int,
    keep: int,
    early: EarlyRows,
    ruled: Sequence[RuledRow],
    characters: CharacterRows | None = None,
) -> tuple[Tensor, Tensor]:
    """Do what `likeliest` does for rows `start` and on, where they are."""
    log_probabilities = functional.log_softmax(chunk, dim=-1)
    restricted = chunk if keep == 1 else log_probabilities
    early.block(restricted, start)
    if characters is not None:
        characters.restrict(restricted, start)
    apply_rules(restricted, start, ruled)
    if keep == 1:
        chosen = _largest(restricted).unsqueeze(1)
    else:
        chosen = restricted.topk(min(keep, chunk.shape[1]), dim=-1).indices
    values = log_probabilities.gather(1, chosen)
    for one in ruled if keep == 1 else ():
        if start <= one.row < start + len(chunk):
            row = one.row - start
            if one.forced:
                values[row] *= 0  # and NaN stays NaN
                continue
            best = restricted[row].gather(0, chosen[row])
            values[row] = torch.where(best == -math.inf, best, values[row])  # all are barred
    return values, chosen


def _largest(values: Tensor) -> Tensor:
    """Return the column of each row's largest value; six times as fast as argmax on a CPU.

    A row is cut into blocks of neighbours. The largest value of every place in the blocks is a
    reduction that runs along memory; argmax then sees that one block, and one column of it.

    Args:
        values: `(rows, vocab)`.

    Returns:
        `(rows,)`. A row that holds NaN gets any column.
    """
    rows, vocab = values.shape
    width = vocab // _BLOCKS
    if width < _BLOCKS or values.device.type != "cpu":
        return values.argmax(-1)
    blocks = values[:, : _BLOCKS * width].view(rows, _BLOCKS, width)
    rest = values[:, _BLOCKS * width :]
    place = torch.cat([blocks.amax(1), rest], dim=1).argmax(-1)
    column = place.clamp(max=width - 1)[:, None, None].expand(rows, _BLOCKS, 1)
    block = blocks.gather(2, column).squeeze(2).argmax(1)
    return torch.where(place < width, block * width + place, (_BLOCKS - 1) * width + place)


def best_candidates(
    log_probabilities: Tensor, tokens: Tensor, scores: Tensor
) -> list[list[Candidate]]:
    """Return each request's `2 * width` best continuations, best first.

    Twice the width leaves enough to go on with when every beam's best choice is the end token.

    Args:
        log_probabilities: `(requests * width, keep)` of each row's likeliest tokens.
        tokens: The same shape.
        scores: `(requests, width)` log-probability of each beam so far.
    """
    requests, width = scores.shape
    keep = tokens.shape[1]
    totals = log_probabilities.view(requests, width, keep) + scores.unsqueeze(2)
    best = totals.flatten(1).topk(min(2 * width, width * keep), dim=-1)
    chosen = tokens.view(requests, -1).gather(1, best.indices)
    beams = best.indices // keep
    return [
        [Candidate(*row) for row in zip(*columns, strict=True)]
        for columns in zip(beams.tolist(), chosen.tolist(), best.values.tolist(), strict=True)
    ]


def _chunks(logits: Tensor) -> list[tuple[int, Tensor]]:
    rows = max(1, _CHUNK_BYTES // (logits.shape[1] * logits.element_size()))
    return [(start, logits[start : start + rows]) for start in range(0, len(logits), rows)]


class Search(Protocol):
    """Where one request stands."""

    @property
    def generated(self) -> int:
        """Tokens generated so far, the forced prefix not counted."""
        ...

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """Return what was found, best first."""
        ...

    def chosen(self, beam: int) -> Sequence[int]:
        """Return the tokens that a beam has chosen so far."""
        ...


class GreedySearch:
    """The likeliest token at every step."""

    def __init__(self, request: DecodeRequest, eos_ids: Sequence[int]) -> None:
        """Start behind the forced prefix."""
        self._options = request.options
        self._eos_ids = frozenset(eos_ids)
        self._prefix = len(request.prefix_ids)
        self._keeps = request.align, request.token_scores
        self._tokens: list[int] = []
        self._notes: list[Note] = []
        self._total = 0.0
        self._ended = False
        self.generated = 0

    def advance(self, token: int, log_probability: float, attended: Sequence[int] = ()) -> bool:
        """Take a token; return whether the search is over."""
        self.generated += 1
        if any(self._keeps):
            self._notes.append(Note(attended[0] if attended else 0, log_probability))
        self._total += log_probability
        self._ended = token in self._eos_ids
        if not self._ended:
            self._tokens.append(token)
        return self._ended or self.generated >= self._options.max_new_tokens

    def chosen(self, beam: int) -> Sequence[int]:
        """Return the tokens chosen so far."""
        return self._tokens

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """Return the one hypothesis."""
        length = self._prefix + self.generated
        found = _hypothesis(self._tokens, self._total, length, self._options, self._ended)
        return (_noted(found, self._notes, *self._keeps),)


class BeamSearch:
    """Beam search with transformers' rules.

    A hypothesis ends only from among the first `width` candidates. The search is over when
    `width` hypotheses have ended and, as `early_stopping` says, the best open beam cannot improve
    on the worst of them.
    """

    def __init__(self, request: DecodeRequest, eos_ids: Sequence[int]) -> None:
        """Start behind the forced prefix, where all beams are still the same."""
        self._options = request.options
        self._eos_ids = frozenset(eos_ids)
        self._prefix = len(request.prefix_ids)
        self._ended: list[Hypothesis] = []
        width = request.options.beam_size
        self._keeps = request.align, request.token_scores
        self._open: list[tuple[int, ...]] = [()] * width
        self._notes: list[tuple[Note, ...]] = [()] * width
        self.scores = [0.0] + [UNREACHED] * (width - 1)
        self.generated = 0

    def advance(
        self, candidates: Sequence[Candidate], attended: Sequence[int] = ()
    ) -> tuple[bool, list[int], list[int]]:
        """Take candidates, best first.

        Args:
            candidates: Of all beams together.
            attended: For each beam, the source token that its next one attends to.

        Returns:
            Whether the search is over; for each beam, the beam it now continues and the token
            it reads next.
        """
        self.generated += 1
        cut = self.generated >= self._options.max_new_tokens
        width = self._options.beam_size
        for candidate in candidates[:width]:
            if cut or candidate.token in self._eos_ids:
                self._end(candidate, self._noted(candidate, attended))
        keep = [one for one in candidates if cut or one.token not in self._eos_ids][:width]
        self._open = [(*self._open[one.beam], one.token) for one in keep]
        self._notes = [self._noted(one, attended) for one in keep]
        self.scores = [one.log_probability for one in keep]
        over = cut or not self._can_improve()
        return over, [one.beam for one in keep], [one.token for one in keep]

    def chosen(self, beam: int) -> Sequence[int]:
        """Return the tokens that an open beam has chosen so far."""
        return self._open[beam]

    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """Return the best hypotheses that ended."""
        return tuple(self._ended[: self._options.num_hypotheses])

    def _noted(self, candidate: Candidate, attended: Sequence[int]) -> tuple[Note, ...]:
        """Return the notes of the beam that a candidate extends, with the candidate's own."""
        if not any(self._keeps):
            return ()
        beam = candidate.beam
        own = candidate.log_probability - self.scores[beam]
        return (*self._notes[beam], Note(attended[beam] if attended else 0, own))

    def _end(self, candidate: Candidate, notes: Sequence[Note]) -> None:
        finished = candidate.token in self._eos_ids
        tokens = self._open[candidate.beam]
        if not finished:
            tokens = (*tokens, candidate.token)
        length = self._prefix + self.generated
        total = candidate.log_probability
        found = _hypothesis(tokens, total, length, self._options, finished)
        self._ended.append(_noted(found, notes, *self._keeps))
        self._ended.sort(key=lambda one: -one.score)
        del self._ended[self._options.beam_size :]

    def _can_improve(self) -> bool:
        if len(self._ended) < self._options.beam_size:
            return True
        options = self._options
        if options.early_stopping is True:
            return False
        at_its_end = options.early_stopping == "never" and options.length_penalty > 0
        length = self._prefix + (options.max_new_tokens if at_its_end else self.generated)
        return _score(self.scores[0], length, options) > self._ended[-1].score


def _score(total: float, length: int, options: DecodingOptions) -> float:
    return total / math.pow(length, options.length_penalty)


def _hypothesis(
    tokens: Sequence[int], total: float, length: int, options: DecodingOptions, finished: bool
) -> Hypothesis:
    return Hypothesis(tuple(tokens), _score(total, length, options), total, finished)


def _noted(found: Hypothesis, notes: Sequence[Note], align: bool, token_scores: bool) -> Hypothesis:
    """Return a hypothesis with what was asked to be known of its tokens."""
    if not align and not token_scores:
        return found
    attended = [one.attended for one in notes[: len(found.token_ids)]] if align else ()
    values = [one.log_probability for one in notes] if token_scores else ()
    return replace(found, alignment=tuple(attended), token_log_probabilities=tuple(values))
