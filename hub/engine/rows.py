"""The rows that decode together: which request owns which, and how they move on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hub.engine.alignment import CrossQueries, attended_tokens
from hub.engine.architecture import Architecture
from hub.engine.cache import Lane
from hub.engine.constraints import ConstrainedSearch
from hub.engine.devices import CPU, upload
from hub.engine.linear import Precision
from hub.engine.model import DecoderStep, Place
from hub.engine.output import OutputTable
from hub.engine.prefixes import NO_PREFIXES, SlotPrefixes
from hub.engine.requests import DecodeRequest, Finished, Hypothesis
from hub.engine.rules import RuledRow, Rules
from hub.engine.search import BeamSearch, Candidate, EarlyRows, GreedySearch, best_candidates
from hub.engine.shortlists import EVERY_TOKEN, Shortlist
from hub.engine.token_rows import OwnColumns, SlotTokens
from hub.engine.utf8 import START, CharacterRows, Utf8Rule
from hub.errors import DecodingError, HubError, NonFiniteRowError

TableOf = Callable[[Shortlist | None], OutputTable]


@dataclass
class Running:
    """One request on its rows.

    Attributes:
        lane: The lane of its beam width.
        index: Its place in the lane.
        tokens: The token each of its rows reads next.
        prefixes: What its adapter puts in front of its caches.
        rules: What restricts its tokens; None for nothing.
        utf8: What its byte pieces must form; None for a vocabulary without.
        position: The place in the target where they stand, 0 for the start token.
        origins: For each beam, the beam it continues, until the caches have followed.
        attended: For each beam, the source token that its next token attends to; empty where
            nobody asked.
        shortlist: The tokens that it may choose from; None for all.
        own_tokens: Rows of the token table that its adapter has; None for none.
    """

    request: DecodeRequest
    lane: Lane
    index: int
    tokens: list[int]
    search: GreedySearch | BeamSearch
    prefixes: SlotPrefixes = NO_PREFIXES
    rules: Rules | None = None
    utf8: Utf8Rule | None = None
    position: int = 0
    steps: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    error: HubError | None = None
    origins: list[int] | None = None
    attended: Sequence[int] = ()
    shortlist: Shortlist | None = None
    own_tokens: SlotTokens | None = None

    @property
    def place(self) -> Place:
        """Return the lane, the index in it, and where the source's entries begin."""
        return self.lane, self.index, self.prefixes.source_length

    @property
    def entry(self) -> int:
        """Return the place in its cache where it stands."""
        return self.prefixes.target_length + self.position

    @property
    def embedded(self) -> int:
        """Return the row of the position vector that it reads."""
        return self.prefixes.position_shift + self.position

    @property
    def forced(self) -> bool:
        """Return whether the next token is given, not chosen."""
        return self.position < len(self.request.prefix_ids)

    @property
    def verified(self) -> bool:
        """Return whether all that its rows have cached is known to be finite.

        A value that is not finite reaches the logits of the same step. Before the first free
        token nothing has looked at logits.
        """
        return self.error is None and self.search.generated > 0

    def inside(self, beam: int) -> bool:
        """Return whether a beam stands inside a character that is spelled in bytes."""
        return self.utf8 is not None and self.utf8.state(self.search.chosen(beam)) != START

    def force(self) -> None:
        """Move every row on to the next forced token."""
        self.tokens = [self.request.prefix_ids[self.position]] * len(self.tokens)
        self.position += 1

    def report(self) -> Finished:
        """Return the request's end."""
        return Finished(
            key=self.request.key,
            hypotheses=() if self.error else self._hypotheses(),
            error=self.error,
            encode_seconds=self.encode_seconds,
            decode_seconds=self.decode_seconds,
            steps=self.steps,
        )

    def _hypotheses(self) -> tuple[Hypothesis, ...]:
        """Return what was found, without characters that the length limit cut in two."""
        found = self.search.hypotheses()
        if self.utf8 is None:
            return found
        possible = [one for one in found if one.log_probability > -math.inf] or list(found[:1])
        whole = {self.utf8.whole(one.token_ids): one for one in reversed(possible)}
        return tuple(one.shortened(ids) for ids, one in reversed(whole.items()))


class Rows:
    """All running requests, in lanes by beam width."""

    def __init__(
        self,
        architecture: Architecture,
        precision: Precision,
        device: torch.device = CPU,
        utf8: Utf8Rule | None = None,
    ) -> None:
        """Start without rows."""
        self._architecture = architecture
        self._precision = precision
        self._device = device
        self._utf8 = utf8
        self._lanes: dict[int, tuple[Lane, list[Running]]] = {}
        self.version = 0

    @property
    def running(self) -> list[Running]:
        """Return every request in the order of its rows."""
        return [one for _, members in self._lanes.values() for one in members]

    @property
    def count(self) -> int:
        """Return the number of rows."""
        return sum(lane.width * lane.count for lane, _ in self._lanes.values())

    @property
    def slots(self) -> frozenset[int]:
        """Return the adapter slots in use."""
        return frozenset(one.request.slot for one in self.running) - {0}

    @property
    def distinct_slots(self) -> int:
        """Return the number of different adapters, the plain base not counted."""
        return len(self.slots)

    def slot_of_row(self) -> list[int]:
        """Return the adapter slot of each row."""
        return [one.request.slot for one in self.running for _ in one.tokens]

    def add(
        self,
        request: DecodeRequest,
        prefixes: SlotPrefixes = NO_PREFIXES,
        shortlist: Shortlist | None = None,
        own_tokens: SlotTokens | None = None,
    ) -> Running:
        """Give a request its rows, and put its adapter's prefixes into its caches.

        Args:
            request: What is to be decoded.
            prefixes: Its adapter's.
            shortlist: What it chooses from, if its search can.
            own_tokens: Its adapter's rows of the token table.
        """
        width = request.options.beam_size
        if width not in self._lanes:
            lane = Lane(self._architecture, width, self._precision.cache_dtype, self._device)
            self._lanes[width] = (lane, [])
        lane, members = self._lanes[width]
        target = 1 + len(request.prefix_ids) + request.options.max_new_tokens
        kind = _kind_of(request)
        running = Running(
            request=request,
            lane=lane,
            index=lane.add(
                prefixes.source_length + len(request.source_ids), prefixes.target_length + target
            ),
            tokens=[self._architecture.decoder_start_id] * width,
            search=kind(request, self._architecture.eos_ids),
            prefixes=prefixes,
            rules=Rules.of(request.options, self._architecture),
            utf8=self._utf8,
            shortlist=shortlist if self._suffices(shortlist, request) else None,
            own_tokens=own_tokens,
        )
        if prefixes.decoder_self:
            first = running.index * width
            prefixes.decoder_self.write(lane.self_kv, first, first + width)
        if prefixes.cross:
            prefixes.cross.write(lane.cross_kv, running.index, running.index + 1)
        members.append(running)
        self.version += 1
        return running

    def _suffices(self, shortlist: Shortlist | None, request: DecodeRequest) -> bool:
        """Tell whether a request may choose from a list.

        Terms may be spelled in any tokens. Beams need twice their number of candidates, of which
        end tokens and bytes may be barred.
        """
        if shortlist is None or request.constraints:
            return False
        barred = [] if self._utf8 is None else self._utf8.barred_at_start
        spare = len(shortlist.columns([*barred, *self._architecture.eos_ids]))
        return len(shortlist) - spare >= 2 * request.options.beam_size

    def remove(self, running: Running) -> None:
        """Take a request's rows away; the lane's last request moves into their place."""
        lane, members = self._lanes[running.lane.width]
        last = members.pop()
        lane.remove(running.index, wipe=not (running.verified and last.verified))
        if last is not running:
            members[running.index] = last
            last.index = running.index
        if not members and lane.width > 1 and self._device.type == "cpu":
            del self._lanes[lane.width]
        self.version += 1

    def step(self) -> DecoderStep:
        """Return the decoder's next step."""
        parts = []
        for lane, members in self._lanes.values():
            if members:
                tokens = [token for one in members for token in one.tokens]
                places = [one.embedded for one in members for _ in one.tokens]
                entries = [one.entry for one in members for _ in one.tokens]
                parts.append((lane, tokens, places, entries))
        return DecoderStep.build(parts, self._precision, self._device)

    @property
    def aligned(self) -> bool:
        """Tell whether a row of the next step wants to know what it attends to."""
        return any(one.request.align and not one.forced for one in self.running)

    def align(self, queries: CrossQueries) -> None:
        """Note what each row that wants to know attends to; before `advance`."""
        places, start = [], 0
        for one in self.running:
            if one.request.align and not one.forced:
                rows = slice(start, start + len(one.tokens))
                places.append((one, rows))
            start += len(one.tokens)
        found = attended_tokens(
            queries, [(one.place, rows, len(one.request.source_ids)) for one, rows in places]
        )
        for (one, _), indices in zip(places, found, strict=True):
            one.attended = indices

    def advance(self, hidden: Tensor, table_of: TableOf) -> tuple[int, list[Running]]:
        """Choose tokens from the decoder's output `(rows, d_model)`.

        Args:
            hidden: Every row's.
            table_of: Returns the output table of a shortlist, or the whole one.

        Returns:
            How many tokens were chosen, and the requests that ended.
        """
        start, chosen, ended = 0, 0, []
        for lane, members in list(self._lanes.values()):
            own = hidden[start : start + lane.count * lane.width]
            start += lane.count * lane.width
            free = [one for one in members if not one.forced]
            for one in members:
                one.steps += 1
            for one in members:
                if one.forced:
                    one.force()
            for group in _by_choice(free):
                rows = _rows_of(own, group, len(members))
                table = table_of(group[0].shortlist).adapted(own_columns(group))
                found = self._likeliest(rows, group, table)
                chosen += len(rows)
                if group[0].request.constraints:
                    ended += _choose_constrained(found, group, table.project(rows))
                elif lane.width == 1:
                    ended += _choose_greedy(found, group)
                else:
                    ended += _choose_beams(found, group)
            if free and lane.width > 1:
                _reorder(lane, members)
        return chosen, ended

    def _likeliest(
        self, hidden: Tensor, group: Sequence[Running], table: OutputTable
    ) -> tuple[Tensor, Tensor]:
        """Rank the tokens of requests that choose from the same ones."""
        width = len(group[0].tokens)
        keep = 1 if width == 1 else 2 * width
        early = _early(group, self._architecture.eos_ids)
        return table.likeliest(hidden, keep, early, self._ruled(group), self._characters(group))

    def _ruled(self, free: Sequence[Running]) -> list[RuledRow]:
        """Return the rows with rules among those that choose a token."""
        start = (self._architecture.decoder_start_id,)
        rows = (
            RuledRow(
                row=index * len(one.tokens) + beam,
                rules=one.rules,
                history=(*start, *one.request.prefix_ids, *one.search.chosen(beam)),
                last=one.search.generated + 1 >= one.request.options.max_new_tokens,
                inside=one.inside(beam),
                listed=one.shortlist or EVERY_TOKEN,
            )
            for index, one in enumerate(free)
            if one.rules is not None
            for beam in range(len(one.tokens))
        )
        return [row for row in rows if row.acts]

    def _characters(self, free: Sequence[Running]) -> CharacterRows | None:
        """Return where the rows that choose a token stand in a character."""
        rule = self._utf8
        if rule is None:
            return None
        states = [
            rule.state(one.search.chosen(beam)) for one in free for beam in range(len(one.tokens))
        ]
        return CharacterRows(rule, states, free[0].shortlist or EVERY_TOKEN)

    def finish(self, ended: Sequence[Running], seconds: float) -> list[Finished]:
        """Charge a step's time to every request, and take away those that ended."""
        for one in self.running:
            one.decode_seconds += seconds
        for one in ended:
            self.remove(one)
        return [one.report() for one in ended]

    def force(
        self,
        decode: Callable[[DecoderStep], Tensor],
        project: Callable[[Tensor, tuple[OwnColumns, ...]], Tensor],
    ) -> dict[int, Tensor]:
        """Run every request along its forced prefix; return its logits, by key."""
        found: dict[int, list[Tensor]] = {one.request.key: [] for one in self.running}
        while True:
            logits = project(decode(self.step()), own_columns(self.running))
            start = 0
            for one in self.running:
                if len(found[one.request.key]) <= len(one.request.prefix_ids):
                    found[one.request.key].append(logits[start])
                start += len(one.tokens)
            if not any(one.forced for one in self.running):
                return {key: torch.stack(rows) for key, rows in found.items()}
            for one in self.running:
                if one.forced:
                    one.force()


def own_columns(requests: Iterable[Running]) -> tuple[OwnColumns, ...]:
    """Return which rows of the requests have logits of their own, in the order of their rows."""
    return OwnColumns.of(one.own_tokens for one in requests for _ in one.tokens)


def _kind_of(request: DecodeRequest) -> type[GreedySearch | BeamSearch]:
    if request.constraints:
        return ConstrainedSearch
    return GreedySearch if request.options.beam_size == 1 else BeamSearch


def _rows_of(own: Tensor, free: Sequence[Running], members: int) -> Tensor:
    """Return the hidden rows of the requests that choose a token."""
    if len(free) == members:
        return own
    width = len(free[0].tokens)
    rows = torch.tensor([one.index * width + beam for one in free for beam in range(width)])
    return own[upload(rows, own.device)]


def _by_choice(free: Sequence[Running]) -> Iterable[Sequence[Running]]:
    """Return requests by the tokens that they choose from; those with terms are ranked apart."""
    groups: dict[tuple[bool, Shortlist | None], list[Running]] = {}
    for one in free:
        groups.setdefault((bool(one.request.constraints), one.shortlist), []).append(one)
    return groups.values()


def _early(free: Sequence[Running], eos_ids: Sequence[int]) -> EarlyRows:
    """Return the rows whose request has not reached its least number of tokens."""
    width = len(free[0].tokens)
    rows = [
        index * width + beam
        for index, one in enumerate(free)
        if one.search.generated < one.request.options.min_new_tokens
        for beam in range(width)
    ]
    return EarlyRows(rows, eos_ids, free[0].shortlist or EVERY_TOKEN)


def _choose_greedy(found: tuple[Tensor, Tensor], free: Sequence[Running]) -> list[Running]:
    ended = []
    values, tokens = (column.squeeze(1).tolist() for column in found)
    for one, token, value in zip(free, tokens, values, strict=True):
        one.position += 1
        one.tokens = [token]
        assert isinstance(one.search, GreedySearch)
        if not math.isfinite(value):
            one.error = _nothing_left(one) if value == -math.inf else _not_finite(one)
            ended.append(one)
        elif one.search.advance(token, value, one.attended):
            ended.append(one)
    return ended


def _choose_beams(found: tuple[Tensor, Tensor], free: Sequence[Running]) -> list[Running]:
    ended = []
    searches = [one.search for one in free if isinstance(one.search, BeamSearch)]
    scores = torch.tensor([search.scores for search in searches])
    continuations = best_candidates(*found, scores)
    for one, search, candidates in zip(free, searches, continuations, strict=True):
        one.position += 1
        one.error = _fault(one, candidates)
        if one.error is not None:
            ended.append(one)
            continue
        over, one.origins, one.tokens = search.advance(candidates, one.attended)
        if over:
            ended.append(one)
    return ended


def _choose_constrained(
    found: tuple[Tensor, Tensor], free: Sequence[Running], logits: Tensor
) -> list[Running]:
    """Choose for requests with terms.

    Args:
        found: Their likeliest tokens, as for any beam search.
        free: The requests.
        logits: `(rows, vocab)` of their rows, for the tokens of their terms.
    """
    ended = []
    searches = [one.search for one in free if isinstance(one.search, ConstrainedSearch)]
    scores = torch.tensor([score for search in searches for score in search.scores])
    values, tokens = (column.cpu() for column in found)
    totals = (values + scores[:, None]).tolist()
    log_probabilities = functional.log_softmax(logits.float(), dim=-1)
    width = len(free[0].tokens)
    for row, one, search in zip(range(0, len(scores), width), free, searches, strict=True):
        one.position += 1
        candidates = [
            Candidate(beam, token, total)
            for beam in range(width)
            for token, total in zip(tokens[row + beam].tolist(), totals[row + beam], strict=True)
        ]
        one.error = _fault(one, sorted(candidates, key=lambda each: -each.log_probability))
        if one.error is not None:
            ended.append(one)
            continue
        candidates = [each for each in candidates if each.log_probability > -math.inf]
        candidates += _offered(one, search, log_probabilities[row:])
        over, one.origins, one.tokens = search.advance(candidates, one.attended)
        if over:
            ended.append(one)
    return ended


def _offered(one: Running, search: ConstrainedSearch, log_probabilities: Tensor) -> list[Candidate]:
    """Return the tokens of terms that a request's beams lack, with what they would score."""
    found = [
        (beam, token)
        for beam in range(len(one.tokens))
        for token in sorted(search.offers(beam))
        if one.utf8 is None or one.utf8.fits(search.chosen(beam), token)
    ]
    if not found:
        return []
    beams, tokens = (list(column) for column in zip(*found, strict=True))
    values = log_probabilities[beams, tokens].tolist()
    return [
        Candidate(beam, token, search.scores[beam] + value)
        for beam, token, value in zip(beams, tokens, values, strict=True)
        if math.isfinite(value)
    ]


def _fault(one: Running, candidates: Sequence[Candidate]) -> HubError | None:
    """Return what is wrong with the continuations of a request's beams, None if nothing.

    Tokens that a rule bars have minus infinity, and few others may be left to choose from.
    """
    if all(math.isfinite(candidate.log_probability) for candidate in candidates):
        return None
    if candidates[0].log_probability == -math.inf:
        return _nothing_left(one)
    for candidate in candidates:
        barred = one.rules is not None or one.inside(candidate.beam)
        sound = barred and candidate.log_probability == -math.inf
        if not (sound or math.isfinite(candidate.log_probability)):
            return _not_finite(one)
    return None


def _nothing_left(one: Running) -> HubError:
    """Return the error of a request whose rules bar every token."""
    if one.rules is None and one.utf8 is None:
        return _not_finite(one)
    return DecodingError(
        f"request {one.request.key}: its rules (bad words, repetition) leave no token at target "
        f"position {one.position}; loosen them",
        field="decoding",
    )


def _reorder(lane: Lane, members: Sequence[Running]) -> None:
    """Let rows continue from the beams they now extend; never across requests."""
    sources, length = [], 0
    for one in members:
        origins = one.origins if one.origins is not None else range(lane.width)
        sources += [one.index * lane.width + origin for origin in origins]
        length = max(length, one.entry)
        one.origins = None
    lane.reorder(sources, length)


def _not_finite(one: Running) -> NonFiniteRowError:
    return NonFiniteRowError(
        f"request {one.request.key} on slot {one.request.slot} produced values that are not "
        f"finite at target position {one.position}; its adapter or base is not sound"
    )
