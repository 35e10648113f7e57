"""From outcomes back to texts: sentences joined with the blanks of the source, and judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hub.bases.tokenizer import BaseTokenizer
from hub.errors import HubError
from hub.manifest import OutputRecord
from hub.scripts import writes_no_spaces
from server.messages import (
    AlternativeText,
    Candidate,
    Fallback,
    Flag,
    FlagDetail,
    ItemResult,
    Signals,
    Timings,
    TokenScore,
)
from server.quality.judging import Judge
from server.quality.signals import unknown_characters
from server.translation.detection import UNCERTAIN
from server.translation.documents import Document, PlainDocument, Rendered
from server.translation.glossary import missing
from server.translation.offsets import Part, UnitTranslation, align, join_segments
from server.translation.plans import ItemPlan, Judged, SegmentPlan
from server.translation.routing import Route

_META_SPACE: Final = "\u2581"
"""How SentencePiece writes a blank."""


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What became of one sentence of a plain text.

    Attributes:
        before: White space in front of it, as it belongs into the translation.
        after: White space behind the item's last sentence, "" for others.
        start: Where it begins in the item's text.
        end: Where it ends.
    """

    text: str
    before: str
    after: str
    start: int
    end: int
    details: tuple[FlagDetail, ...]
    signals: Signals


@dataclass(frozen=True, slots=True)
class Assembler:
    """Turns outcomes into results; used on several threads.

    Attributes:
        judge: Looks at each sentence.
    """

    tokenizer: BaseTokenizer
    judge: Judge

    def segment(self, item: ItemPlan, index: int) -> SegmentResult:
        """Return one sentence of a plain text that was translated."""
        assert item.route is not None
        plan, document = item.segments[index], item.document
        assert isinstance(document, PlainDocument)
        judged = self.judged(item, plan)
        start, end = plan.segment.start, plan.segment.end
        rendered = document.restored(start, end, judged.translation)
        details = (*rendered.details, *missing(plan.terms, rendered.text))
        last = 0 < index == len(item.segments) - 1
        return SegmentResult(
            text=rendered.text,
            before=_gap(item, index, rendered.text),
            after=document.masked.text[end:] if last else "",
            start=document.masked.original(start),
            end=document.masked.original(end),
            details=details,
            signals=judged.judgement.signals,
        )

    def judged(self, item: ItemPlan, plan: SegmentPlan) -> Judged:
        """Return a translated sentence as text and what is known of it; found out once."""
        assert item.route is not None
        assert plan.outcome is not None
        if plan.judged is not None and plan.judged.outcome is plan.outcome:
            return plan.judged
        best = plan.outcome.candidates[0]
        translation = self._translation(item, plan, best)
        route = plan.maker or item.route
        plan.judged = Judged(
            plan.outcome,
            translation,
            self.judge.judge(
                plan.text, plan.tokens, best, translation.text, route.pair, _expected(route)
            ),
        )
        return plan.judged

    def _restored(self, item: ItemPlan, plan: SegmentPlan, candidate: Candidate) -> Rendered:
        """Return a hypothesis of a sentence of a plain text with its placeholders."""
        assert isinstance(item.document, PlainDocument)
        translation = self._translation(item, plan, candidate)
        return item.document.restored(plan.segment.start, plan.segment.end, translation)

    def _translation(
        self, item: ItemPlan, plan: SegmentPlan, candidate: Candidate
    ) -> UnitTranslation:
        """Return a hypothesis as text, with its alignment where there is one."""
        route = plan.maker or item.route
        if not plan.job.align or route is None:
            return UnitTranslation(self.tokenizer.decode(candidate.token_ids))
        pair = route.pair
        return align(
            self.tokenizer, plan.text, pair.source, pair.target,
            candidate.token_ids, candidate.alignment,
        )  # fmt: skip

    def item(self, item: ItemPlan) -> ItemResult:
        """Return what became of a text: its translation, or the first error that struck it."""
        error = item.error or first_error(item.segments)
        if error is not None or item.document is None:
            return self._described(item, ItemResult(error=error))
        plain = isinstance(item.document, PlainDocument)
        rendered = self._plain(item) if plain else self._marked(item, item.document)
        details = self._details(item, rendered)
        flags = self._flags(item, details)
        sentences = tuple(self.judged(item, one).judgement.signals for one in item.segments)
        translated = ItemResult(
            text=rendered.text,
            signals=_whole_signals(item.segments, sentences),
            sentence_signals=sentences,
            flags=flags,
            details=details,
            alternatives=self._alternatives(item) if plain else (),
            tokens=self._token_scores(item),
            unknown_characters=self._unknown(item, flags),
        )
        return self._described(item, translated)

    def _plain(self, item: ItemPlan) -> Rendered:
        """Join the sentences of a plain text; one without any is its own translation."""
        if not item.segments:
            return Rendered(item.text)
        parts = [self.segment(item, index) for index in range(len(item.segments))]
        text = "".join(part.before + part.text + part.after for part in parts)
        return Rendered(text, _merged(detail for part in parts for detail in part.details))

    def _marked(self, item: ItemPlan, document: Document) -> Rendered:
        """Put the translated sentences of a marked-up text into their places."""
        units: list[UnitTranslation | None] = []
        lost: list[FlagDetail] = []
        for number, unit in enumerate(document.units):
            own = [(i, plan) for i, plan in enumerate(item.segments) if plan.unit == number]
            parts = [
                Part(
                    plan.segment.start,
                    plan.segment.end,
                    translation := self.judged(item, plan).translation,
                    _gap(item, index, translation.text) if position else None,
                )
                for position, (index, plan) in enumerate(own)
            ]
            units.append(join_segments(unit.text, parts) if parts else None)
            lost += (
                detail
                for (_, plan), part in zip(own, parts, strict=True)
                for detail in missing(plan.terms, part.translation.text)
            )
        rendered = document.render(units)
        return Rendered(rendered.text, _merged((*rendered.details, *lost)))

    def _details(self, item: ItemPlan, rendered: Rendered) -> tuple[FlagDetail, ...]:
        """Return what flags are about.

        Placeholders are numbers in what is translated; where they were lost, numbers say nothing.
        """
        found = [*rendered.details]
        lost = any(one.flag is Flag.PLACEHOLDER_MISMATCH for one in found)
        for plan in item.segments:
            for detail in self.judged(item, plan).judgement.details:
                if not (lost and detail.flag is Flag.NUMBER_MISMATCH):
                    found.append(detail)
        return _merged(found)

    def _flags(self, item: ItemPlan, details: Sequence[FlagDetail]) -> tuple[Flag, ...]:
        """Return what a reader should beware of, each once."""
        told = {detail.flag for detail in details}
        found: list[Flag] = []
        for plan in item.segments:
            flags = self.judged(item, plan).judgement.flags
            found += (flag for flag in flags if flag is not Flag.NUMBER_MISMATCH or flag in told)
            if plan.segment.part:
                found.append(Flag.SPLIT)
        found += (detail.flag for detail in details)
        if item.detected is not None and item.detected.confidence < UNCERTAIN:
            found.append(Flag.UNCERTAIN_LANGUAGE)
        return tuple(dict.fromkeys(found))

    def _described(self, item: ItemPlan, result: ItemResult) -> ItemResult:
        """Add what is known of a text whether or not it was translated."""
        route = item.route
        outcomes = [plan.outcome for plan in item.segments if plan.outcome is not None]
        result = replace(
            result,
            detected=item.detected,
            segments=len(item.segments),
            timings=_joined([outcome.timings for outcome in outcomes]),
            input_tokens=sum(plan.job.tokens for plan in item.segments),
            output_tokens=sum(
                outcome.candidates[0].length for outcome in outcomes if outcome.candidates
            ),
        )
        if route is None:
            return result
        made = _maker(item, route)
        return replace(
            result,
            source=route.pair.source,
            adapter_version=made.adapter_version,
            adapter_digest=made.digest,
            requested=route.requested,
            fallback=_fallback(item, route),
            second_try=item.second_try,
        )

    def _alternatives(self, item: ItemPlan) -> tuple[AlternativeText, ...]:
        """Return further translations of a text of one sentence; longer texts have none."""
        if len(item.segments) != 1:
            return ()
        plan = item.segments[0]
        return tuple(
            AlternativeText(
                text=self._restored(item, plan, other).text,
                score=other.score,
                mean_log_probability=other.mean_log_probability,
                truncated=not other.finished,
            )
            for other in candidates_of(plan)[1:]
        )

    def _token_scores(self, item: ItemPlan) -> tuple[TokenScore, ...]:
        return tuple(
            TokenScore(self._spelled(token), score)
            for plan in item.segments
            for best in candidates_of(plan)[:1]
            for token, score in zip(best.token_ids, best.token_log_probabilities, strict=False)
        )

    def _spelled(self, token: int) -> str:
        return self.tokenizer.tokens.get(token, "").replace(_META_SPACE, " ")

    def _unknown(self, item: ItemPlan, flags: Sequence[Flag]) -> tuple[str, ...]:
        if Flag.UNKNOWN_CHARACTERS not in flags or item.route is None:
            return ()
        pair = item.route.pair

        def encode(one: str) -> list[int]:
            return self.tokenizer.encode_source(one, pair.source, pair.target)

        return unknown_characters(item.text, encode, self.tokenizer.unk_id)


def candidates_of(plan: SegmentPlan) -> tuple[Candidate, ...]:
    """Return the hypotheses of a sentence, best first; none while it is not translated."""
    return plan.outcome.candidates if plan.outcome is not None else ()


def first_error(segments: Iterable[SegmentPlan]) -> HubError | None:
    """Return why a text cannot be whole, None when all of it was translated."""
    found = (plan.outcome.error for plan in segments if plan.outcome is not None)
    return next((error for error in found if error is not None), None)


def _gap(item: ItemPlan, index: int, text: str) -> str:
    """Return what stands in front of a sentence: the source's own, or what the target needs.

    A plain text of one sentence comes back without the blanks around it. Languages that write no
    blanks have none between sentences either, so one is put where such a text becomes one with
    blanks, and left out the other way round.
    """
    assert item.document is not None
    plan = item.segments[index]
    source = item.document.units[plan.unit].text
    if index == 0 or item.segments[index - 1].unit != plan.unit:
        return "" if len(item.segments) == 1 else source[: plan.segment.start]
    gap = source[item.segments[index - 1].segment.end : plan.segment.start]
    blanks = bool(text) and not writes_no_spaces(text[0])
    if not gap:
        return " " if blanks else ""
    return "" if gap == " " and not blanks else gap


def _merged(details: Iterable[FlagDetail]) -> tuple[FlagDetail, ...]:
    """Return details with one entry for each flag."""
    found: dict[Flag, list[str]] = {}
    for detail in details:
        found.setdefault(detail.flag, []).extend(detail.subjects)
    return tuple(FlagDetail(flag, tuple(dict.fromkeys(told))) for flag, told in found.items())


def _expected(route: Route) -> OutputRecord | None:
    """Return what a route's outputs look like, None where nobody knows."""
    return None if route.version is None else route.version.manifest.output


def _maker(item: ItemPlan, route: Route) -> Route:
    """Return who made a translation: the route, or the second try that made all of it."""
    makers = [plan.maker for plan in item.segments]
    first = makers[0] if makers else None
    return first if first is not None and all(makers) else route


def _fallback(item: ItemPlan, route: Route) -> Fallback | None:
    kept = item.second_try is not None and item.second_try.kept > 0
    return Fallback.QUALITY if kept else route.fallback


def _whole_signals(segments: Sequence[SegmentPlan], sentences: Sequence[Signals]) -> Signals:
    """Return the signals of a text of several sentences, as if it were one."""
    if len(sentences) == 1:
        return sentences[0]
    found = [(plan, candidates_of(plan)[0]) for plan in segments]
    length = sum(best.length for _, best in found)
    total = sum(best.log_probability for _, best in found)
    sources = sum(len(plan.tokens) for plan, _ in found)
    scores = [one.log_probability_z for one in sentences if one.log_probability_z is not None]
    lengths = [one.length_ratio_z for one in sentences if one.length_ratio_z is not None]
    return Signals(
        mean_log_probability=total / length if length else 0.0,
        length_ratio=sum(len(best.token_ids) for _, best in found) / max(1, sources),
        repetition=max((one.repetition for one in sentences), default=0.0),
        log_probability_z=min(scores, default=None),
        length_ratio_z=max(lengths, key=abs, default=None),
    )


def _joined(timings: Sequence[Timings]) -> Timings:
    """Return the longest of every stage: sentences run side by side."""
    if not timings:
        return Timings()
    return Timings(
        queue_seconds=max(one.queue_seconds for one in timings),
        encode_seconds=max(one.encode_seconds for one in timings),
        decode_seconds=max(one.decode_seconds for one in timings),
        batch_rows=max(one.batch_rows for one in timings),
        batch_distinct_adapters=max(one.batch_distinct_adapters for one in timings),
        load_seconds=max(one.load_seconds for one in timings),
        accepted_at=min(one.accepted_at for one in timings),
        ended_at=max(one.ended_at for one in timings),
    )
