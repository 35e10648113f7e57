"""Beam search that makes the output hold given terms.

Dynamic beam allocation (Post & Vilar 2018, "Fast Lexically Constrained Decoding with Dynamic Beam
Allocation for Neural Machine Translation", NAACL): hypotheses are sorted into banks by how many
tokens of the terms they hold, and each bank keeps a share of the beam, so that hypotheses with few
terms do not push out those with more. Besides the likeliest continuations, each beam offers the
next tokens of the terms that it lacks, and its own likeliest token. A hypothesis may end only when
it holds a form of every term.

We deviate in one point: a term counts while it is a suffix of the tokens, found anew at each step,
where the paper keeps track of one phrase in progress. So a term that the model writes by itself
counts, and overlapping terms need no care.

Other rows of the batch are not touched: rows with terms are ranked apart from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hub.engine.requests import DecodeRequest
from hub.engine.search import UNREACHED, BeamSearch, Candidate
from hub.errors import DecodingError

LEAST_BEAM: Final = 2
"""Narrowest beam of a request with terms."""


def check_constraints(request: DecodeRequest) -> None:
    """Check that the terms of a request can be met.

    Raises:
        DecodingError: The beam is too narrow, a term has no form or an empty one, or the shortest
            forms have more tokens than the output may have.
    """
    if not request.constraints:
        return
    if request.options.beam_size < LEAST_BEAM:
        raise DecodingError(
            f"beam_size is {request.options.beam_size}; a request with terms takes at least "
            f"{LEAST_BEAM}",
            field="beam_size",
        )
    if not all(forms and all(forms) for forms in request.constraints):
        raise DecodingError("a term has no form, or an empty one", field="constraints")
    needed = sum(min(map(len, forms)) for forms in request.constraints)
    if needed >= request.options.max_new_tokens:
        raise DecodingError(
            f"the terms have {needed} tokens, the output at most "
            f"{request.options.max_new_tokens} with its end; give fewer terms or a longer output",
            field="constraints",
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """What of the terms a hypothesis holds.

    Attributes:
        met: Indices of the terms of which a form is there.
        count: Tokens of terms, those of a term in progress included: its bank.
        closed: The last token ends a term, so that the word must end as well.
    """

    met: frozenset[int] = field(default_factory=frozenset)
    count: int = 0
    closed: bool = False


class Terms:
    """The terms of one request."""

    def __init__(self, request: DecodeRequest) -> None:
        """Take the request's constraints."""
        self._terms = request.constraints
        self._joiners = request.joiners
        self._shortest = [min(len(form) for form in forms) for forms in self._terms]
        self.banks = sum(self._shortest) + 1

    def begin(self) -> _Held:
        """Return what an empty hypothesis holds."""
        return _Held()

    def complete(self, held: _Held) -> bool:
        """Tell whether a form of every term is there."""
        return len(held.met) == len(self._terms)

    def wanted(self, tokens: Sequence[int], held: _Held) -> set[int]:
        """Return the tokens that begin or continue a term that a hypothesis lacks."""
        found: set[int] = set()
        for index, forms in enumerate(self._terms):
            if index not in held.met:
                for form in forms:
                    found |= {form[0], form[_progress(tokens, form)]}
        return {token for token in found if self.fits(token, held)}

    def fits(self, token: int, held: _Held) -> bool:
        """Tell whether a token may follow: the word that ends a term is not continued."""
        return not (held.closed and token in self._joiners)

    def extend(self, tokens: Sequence[int], held: _Held) -> _Held:
        """Return what a hypothesis holds after its last token.

        Args:
            tokens: The hypothesis, the new token included.
            held: What it held before.
        """
        met, closed, partial = set(held.met), False, 0
        for index, forms in enumerate(self._terms):
            ended = [form for form in forms if _ends_with(tokens, form)]
            closed = closed or bool(ended)
            if ended:
                met.add(index)
            elif index not in met:
                longest = max(_progress(tokens, form) for form in forms)
                partial = max(partial, min(longest, self._shortest[index] - 1))
        count = sum(self._shortest[index] for index in met) + partial
        return _Held(frozenset(met), count, closed)


def _ends_with(tokens: Sequence[int], form: Sequence[int]) -> bool:
    return len(tokens) >= len(form) and tuple(tokens[-len(form) :]) == tuple(form)


def _progress(tokens: Sequence[int], form: Sequence[int]) -> int:
    """Return the length of the longest proper prefix of a form that the tokens end with."""
    for length in range(min(len(form) - 1, len(tokens)), 0, -1):
        if tuple(tokens[-length:]) == tuple(form[:length]):
            return length
    return 0


class ConstrainedSearch(BeamSearch):
    """Beam search whose hypotheses end only with all their terms."""

    def __init__(self, request: DecodeRequest, eos_ids: Sequence[int]) -> None:
        """Start behind the forced prefix."""
        super().__init__(request, eos_ids)
        self._terms = Terms(request)
        self._held = [self._terms.begin()] * request.options.beam_size

    def offers(self, beam: int) -> set[int]:
        """Return the tokens of terms that a beam is to be offered."""
        return self._terms.wanted(self._open[beam], self._held[beam])

    def advance(
        self, candidates: Sequence[Candidate], attended: Sequence[int] = ()
    ) -> tuple[bool, list[int], list[int]]:
        """Take candidates in any order; as `BeamSearch.advance`."""
        self.generated += 1
        cut = self.generated >= self._options.max_new_tokens
        found = [(one, self._after(one)) for one in self._possible(candidates)]
        for one in self._endings(found, cut=cut):
            self._end(one, self._noted(one, attended))
        going = [pair for pair in found if cut or pair[0].token not in self._eos_ids]
        keep = self._allocate(going)
        self._notes = [self._noted(one, attended) for one, _ in keep]
        self._held = [held for _, held in keep]
        self._open = [(*self._open[one.beam], one.token) for one, _ in keep]
        self.scores = [one.log_probability for one, _ in keep]
        over = cut or not self._can_improve()
        return over, [one.beam for one, _ in keep], [one.token for one, _ in keep]

    def _possible(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Return candidates that may follow their beams, each once, best first."""
        found = {
            (one.beam, one.token): one
            for one in candidates
            if self._terms.fits(one.token, self._held[one.beam])
        }
        return sorted(found.values(), key=lambda one: -one.log_probability)

    def _after(self, one: Candidate) -> _Held:
        held = self._held[one.beam]
        if one.token in self._eos_ids:
            return held
        return self._terms.extend((*self._open[one.beam], one.token), held)

    def _endings(self, found: Sequence[tuple[Candidate, _Held]], *, cut: bool) -> list[Candidate]:
        """Return what ends now: the end token among the best of what holds all terms.

        At the length limit, and with nothing ended, the hypotheses with the most terms are cut.
        """
        width = self._options.beam_size
        complete = [one for one, held in found if self._terms.complete(held)][:width]
        ended = [one for one in complete if one.token in self._eos_ids]
        if ended or self._ended or not cut:
            return ended
        ranked = sorted(found, key=lambda pair: (-len(pair[1].met), -pair[0].log_probability))
        most = len(ranked[0][1].met)
        return [one for one, held in ranked[:width] if len(held.met) == most]

    def _allocate(self, found: Sequence[tuple[Candidate, _Held]]) -> list[tuple[Candidate, _Held]]:
        """Return the hypotheses to go on with: of every bank its share, then the best left.

        What the beam does not divide goes to the fullest banks first.
        """
        width = self._options.beam_size
        reached = [pair for pair in found if pair[0].log_probability > UNREACHED / 2]
        found = reached if len(reached) >= width else found
        banks: dict[int, list[tuple[Candidate, _Held]]] = {}
        for pair in found:
            banks.setdefault(pair[1].count, []).append(pair)
        fullest = sorted(banks, reverse=True)
        share, rest = divmod(width, self._terms.banks)
        shares = dict.fromkeys(fullest, share)
        if fullest and not share:
            shares = {bank: int(place < width) for place, bank in enumerate(fullest)}
        elif fullest:
            shares[fullest[0]] += rest
        keep = [pair for bank in fullest for pair in banks[bank][: shares[bank]]]
        kept = {id(pair) for pair in keep}
        spare = [pair for pair in found if id(pair) not in kept]
        keep += spare[: width - len(keep)]
        return sorted(keep[:width], key=lambda pair: -pair[0].log_probability)
