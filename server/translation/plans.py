"""From the texts of a command to jobs: which language, which route, which sentences.

Blocking work (the registry, the tokenizer, the detector) for a whole command at once, done on a
thread of the pool. What one item lacks fails that item; what the command lacks fails the command.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from hub.bases.tokenizer import BaseTokenizer
from hub.engine.constraints import LEAST_BEAM
from hub.engine.shortlists import Shortlist
from hub.errors import HubError
from hub.glossaries import check_terms
from hub.languages import LanguagePair
from hub.registry import AdapterVersion
from server.access.admission import (
    HTML,
    Limits,
    blank_error,
    check_source,
    check_text,
    resolve_search,
)
from server.access.permits import Permit
from server.messages import (
    Detected,
    Job,
    Outcome,
    Priority,
    Search,
    SecondTry,
    TranslateCommand,
)
from server.quality.canary.split import request_key
from server.quality.judging import Judgement
from server.quality.signals import text_tokens
from server.translation.detection import Detector, best
from server.translation.documents import Document, Unit, plain_units
from server.translation.glossary import (
    Found,
    Glossary,
    GlossaryShelf,
    TermEncoder,
    missing,
)
from server.translation.markup import html_units
from server.translation.offsets import UnitTranslation
from server.translation.routing import Route, Router
from server.translation.segments import Segment, fit, segments_of

FORCED_BEAM: Final = 4
"""Beam of a sentence that is searched again for its terms."""


@dataclass(slots=True)
class SegmentPlan:
    """One sentence of an item.

    Attributes:
        unit: Index of the unit of the document that it belongs to.
        segment: Where it lies in the unit's text.
        text: What is translated.
        tokens: Source tokens of the text, without those of the base's own layout.
        job: What runs, or has run.
        terms: Terms of the glossary that it has.
        outcome: How it ended; None while it has not.
        judged: What is known of that outcome; None before anybody asked.
        maker: Who translated it, where that is not the item's route: a second try that was kept.
    """

    unit: int
    segment: Segment
    text: str
    tokens: tuple[int, ...]
    job: Job
    terms: tuple[Found, ...] = ()
    outcome: Outcome | None = None
    judged: Judged | None = None
    maker: Route | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome's best hypothesis as text, and what was found out about it."""

    outcome: Outcome
    translation: UnitTranslation
    judgement: Judgement


@dataclass(slots=True)
class ItemPlan:
    """One text of a command.

    Attributes:
        route: Who translates it; None where it failed before that was known.
        document: What of the text is translated; None where it failed before that was known.
        segments: Its sentences, in the order of the text.
        error: Why it cannot be translated.
        second_try: What came of translating bad sentences of it once more.
    """

    index: int
    text: str
    route: Route | None = None
    detected: Detected | None = None
    document: Document | None = None
    segments: list[SegmentPlan] = field(default_factory=list)
    error: HubError | None = None
    second_try: SecondTry | None = None


@dataclass(frozen=True, slots=True)
class _Layout:
    """What is the same for all texts of a route.

    Attributes:
        empty: Source tokens of no text at all.
        prefix: Tokens that every output is forced to begin with.
        glossary: Prescribed translations, None for none.
        shortlist: What outputs choose from, None for all tokens.
    """

    empty: tuple[int, ...]
    prefix: tuple[int, ...]
    glossary: Glossary | None
    shortlist: Shortlist | None


@dataclass(slots=True)
class Planner:
    """Makes plans; one per server, used on several threads.

    Attributes:
        glossaries: Stored glossaries, ready to be used.
        shortlist: Returns the tokens that outputs in a language choose from; None for all.
    """

    router: Router
    tokenizer: BaseTokenizer
    detector: Detector
    limits: Limits
    glossaries: GlossaryShelf
    shortlist: Callable[[str], Shortlist | None] = lambda _: None
    _encoder: TermEncoder = field(init=False)
    _keys: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        """Prepare what depends on the tokenizer alone."""
        self._encoder = TermEncoder(self.tokenizer)

    def routes(self, command: TranslateCommand) -> list[ItemPlan]:
        """Find out who translates each item.

        Raises:
            HubError: The command's own languages, adapter or domain are at fault; with a source
                language to be detected, such an error is the item's.
        """
        check_terms(command.glossary.terms, "glossary_config.terms")
        items = [ItemPlan(index, text) for index, text in enumerate(command.contents)]
        if command.source.strip():
            route = self._route(command, command.source)
            for item in items:
                item.route = route
            return items
        self.router.check_target(command.target)
        known: dict[str, Route | HubError] = {}
        for item in items:
            self._detect(item, command, known)
        return items

    def _detect(
        self, item: ItemPlan, command: TranslateCommand, known: dict[str, Route | HubError]
    ) -> None:
        item.error = check_text(item.text, self.limits)
        if item.error is not None:
            return
        item.document = document_of(item.text, command.mime_type, command.keep)
        text = "\n".join(unit.text for unit in item.document.units)
        try:
            item.detected = best(self.detector.detect(text))
        except HubError as error:
            item.error = error
            return
        language = item.detected.language
        if language not in known:
            known[language] = self._route_or_error(command, language)
        found = known[language]
        if isinstance(found, HubError):
            item.error = found
        else:
            item.route = found

    def _route_or_error(self, command: TranslateCommand, source: str) -> Route | HubError:
        try:
            return self._route(command, source)
        except HubError as error:
            return error

    def _route(self, command: TranslateCommand, source: str) -> Route:
        return self.router.route(
            source,
            command.target,
            command.adapter,
            command.domain,
            require_adapter=command.require_adapter,
            permit=Permit(command.permitted),
            key=lambda: request_key(
                command.tenant, command.routing_key, command.target, command.contents
            ),
        )

    def split(self, items: Sequence[ItemPlan], command: TranslateCommand) -> None:
        """Split every item that has a route into sentences with jobs."""
        layouts: dict[LanguagePair, _Layout] = {}
        for item in items:
            if item.route is None or item.error is not None:
                continue
            pair = item.route.pair
            if pair not in layouts:
                layouts[pair] = self._layout(pair, command)
            self._split_item(item, command, layouts[pair])

    def _layout(self, pair: LanguagePair, command: TranslateCommand) -> _Layout:
        return _Layout(
            empty=self.encode("", pair),
            prefix=tuple(self.tokenizer.target_prefix(pair.target)),
            glossary=self.glossaries.of(
                command.glossary, pair, command.tenant, Permit(command.permitted)
            ),
            shortlist=self.shortlist(pair.target),
        )

    def _split_item(self, item: ItemPlan, command: TranslateCommand, layout: _Layout) -> None:
        item.error = check_text(item.text, self.limits)
        if item.error is not None:
            return
        if item.document is None:
            item.document = document_of(item.text, command.mime_type, command.keep)
        for index, unit in enumerate(item.document.units):
            item.error = self._split_unit(item, index, unit, command, layout)
            if item.error is not None:
                item.segments.clear()
                return
        if item.document.units and not item.segments and command.mime_type != HTML:
            item.error = blank_error(item.text)

    def _split_unit(
        self, item: ItemPlan, index: int, unit: Unit, command: TranslateCommand, layout: _Layout
    ) -> HubError | None:
        """Add the sentences of a unit to its item; return why that cannot be done."""
        assert item.route is not None
        pair = item.route.pair
        segments = segments_of(unit.text, pair.source, command.split)
        for part, source in self._encoded(unit.text, segments, pair, command):
            if source == layout.empty:  # the base's own normalizer takes it for blanks
                continue
            error = check_source(len(source), self.limits)
            if error is not None:
                return error
            text = unit.text[part.start : part.end]
            tokens = text_tokens(source, layout.empty)
            job = self._job(source, layout, command, item.route, align=unit.needs_alignment)
            terms = tuple(layout.glossary.find(text)) if layout.glossary else ()
            item.segments.append(SegmentPlan(index, part, text, tokens, job, terms))
        return None

    def _encoded(
        self, text: str, segments: Sequence[Segment], pair: LanguagePair, command: TranslateCommand
    ) -> Iterator[tuple[Segment, tuple[int, ...]]]:
        """Yield sentences with their tokens; one that is too long in parts, if it may be split."""
        limit = self.limits.max_source_tokens
        for segment in segments:
            source = self.encode(text[segment.start : segment.end], pair)
            if len(source) <= limit or command.refuse_long:
                yield segment, source
                continue
            for part in fit(text, segment, lambda piece: len(self.encode(piece, pair)), limit):
                yield part, self.encode(text[part.start : part.end], pair)

    def _job(
        self,
        source: tuple[int, ...],
        layout: _Layout,
        command: TranslateCommand,
        route: Route,
        *,
        align: bool,
    ) -> Job:
        return Job(
            key=next(self._keys),
            digest=route.digest,
            source_ids=source,
            prefix_ids=layout.prefix,
            search=resolve_search(command.search, len(source), self.limits),
            adapter_bytes=route.adapter_bytes,
            deadline=command.deadline,
            priority=command.priority,
            tenant=command.tenant,
            align=align,
            token_scores=command.token_scores,
            shortlist=layout.shortlist,
        )

    def whole_jobs(
        self, texts: Sequence[str], version: AdapterVersion, search: Search, priority: Priority
    ) -> list[Job]:
        """Return a job for each text as it is, neither split nor masked.

        Raises:
            HubError: A text is longer than the model takes.
        """
        pair = version.manifest.language_pair
        prefix = tuple(self.tokenizer.target_prefix(pair.target))
        jobs = []
        for text in texts:
            source = self.encode(text, pair)
            error = check_source(len(source), self.limits)
            if error is not None:
                raise error
            key = next(self._keys)
            job = Job(key, version.digest, source, prefix, search, adapter_bytes=version.bytes)
            jobs.append(replace(job, priority=priority))
        return jobs

    def with_terms(self, item: ItemPlan, plan: SegmentPlan) -> Job | None:
        """Return a job that puts the terms into a translation that lacks them; None if none does.

        Only such sentences are searched again, with a beam: most translations have their terms by
        themselves, and are better for being left alone.
        """
        outcome, route = plan.outcome, plan.maker or item.route
        if not plan.terms or route is None or outcome is None or not outcome.candidates:
            return None
        translation = self.tokenizer.decode(outcome.candidates[0].token_ids)
        constraints = self._encoder.constraints(plan.terms, route.pair.target)
        needed = sum(min(map(len, forms)) for forms in constraints)
        search = plan.job.search
        beam = min(max(FORCED_BEAM, search.beam_size), self.limits.max_beam)
        possible = beam >= LEAST_BEAM and 0 < needed < search.max_new_tokens
        if not possible or not missing(plan.terms, translation):
            return None
        return replace(
            plan.job,
            key=next(self._keys),
            search=replace(search, beam_size=beam),
            constraints=constraints,
            joiners=self._encoder.joiners(plan.terms),
        )

    def for_another(self, plan: SegmentPlan, route: Route, deadline: float | None) -> Job:
        """Return a job that has a sentence translated by somebody else.

        Args:
            plan: The sentence.
            route: Who.
            deadline: As in Job.
        """
        return replace(
            plan.job,
            key=next(self._keys),
            digest=route.digest,
            adapter_bytes=route.adapter_bytes,
            source_ids=self.encode(plan.text, route.pair),
            prefix_ids=tuple(self.tokenizer.target_prefix(route.pair.target)),
            deadline=deadline,
            shortlist=self.shortlist(route.pair.target),
        )

    def encode(self, text: str, pair: LanguagePair) -> tuple[int, ...]:
        """Return the encoder's tokens of a text, with those of the base's layout."""
        return tuple(self.tokenizer.encode_source(text, pair.source, pair.target))


def document_of(text: str, mime_type: str, keep: Sequence[str] = ()) -> Document:
    """Return a text as what of it is translated."""
    make = html_units if mime_type == HTML else plain_units
    return make(text, keep)


def jobs_of(items: Sequence[ItemPlan]) -> Iterator[Job]:
    """Yield the jobs of all items, in the order of their texts."""
    for item in items:
        yield from (segment.job for segment in item.segments)
