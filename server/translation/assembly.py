"""From outcomes back to texts: sentences joined with the blanks of the source, and judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hub.bases.tokenizer import BaseTokenizer
from hub.errors import HubError
from hub.languages import LanguagePair
from hub.scripts import writes_no_spaces
from server.messages import (
    AlternativeText,
    Candidate,
    Flag,
    ItemResult,
    Signals,
    Timings,
    TokenScore,
)
from server.quality.signals import judge, judge_unknown, measure, unknown_characters
from server.translation.detection import UNCERTAIN
from server.translation.plans import ItemPlan, SegmentPlan

_META_SPACE: Final = "\u2581"
"""How SentencePiece writes a blank."""


@dataclass(frozen=True, slots=True)
class SegmentResult:
    """What became of one sentence.

    Attributes:
        before: White space in front of it, as it belongs into the translation.
        after: White space behind the item's last sentence, "" for others.
    """

    plan: SegmentPlan
    text: str
    before: str
    after: str
    signals: Signals
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class Assembler:
    """Turns outcomes into results; stateless, used on several threads."""

    tokenizer: BaseTokenizer

    def segment(self, item: ItemPlan, index: int) -> SegmentResult:
        """Return one sentence that was translated."""
        assert item.route is not None
        plan = item.segments[index]
        best = candidates_of(plan)[0]
        text = self.tokenizer.decode(best.token_ids)
        signals = measure(plan.tokens, best)
        flags = judge(plan.tokens, best, signals)
        flags += judge_unknown(plan.tokens, best, self.tokenizer.unk_id)
        if plan.segment.part:
            flags += (Flag.SPLIT,)
        last = 0 < index == len(item.segments) - 1
        return SegmentResult(
            plan=plan,
            text=text,
            before=_gap(item, index, item.route.pair, text),
            after=item.text[plan.segment.end :] if last else "",
            signals=signals,
            flags=flags,
        )

    def item(self, item: ItemPlan) -> ItemResult:
        """Return what became of a text: its translation, or the first error that struck it."""
        error = item.error or first_error(item.segments)
        if error is not None:
            return self._described(item, ItemResult(error=error))
        results = [self.segment(item, index) for index in range(len(item.segments))]
        flags = _distinct(flag for result in results for flag in result.flags)
        if item.detected is not None and item.detected.confidence < UNCERTAIN:
            flags += (Flag.UNCERTAIN_LANGUAGE,)
        translated = ItemResult(
            text="".join(result.before + result.text + result.after for result in results),
            signals=_whole_signals(item.segments, results),
            flags=flags,
            alternatives=self._alternatives(item, results),
            tokens=self._token_scores(item),
            unknown_characters=self._unknown(item, flags),
        )
        return self._described(item, translated)

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
        return replace(
            result,
            source=route.pair.source,
            adapter_version=route.adapter_version,
            adapter_digest=route.digest,
            requested=route.requested,
            fallback=route.fallback,
        )

    def _alternatives(
        self, item: ItemPlan, results: Sequence[SegmentResult]
    ) -> tuple[AlternativeText, ...]:
        """Return further translations of a text of one sentence; longer texts have none."""
        if len(item.segments) != 1:
            return ()
        only = results[0]
        return tuple(
            AlternativeText(
                text=only.before + self.tokenizer.decode(other.token_ids) + only.after,
                score=other.score,
                mean_log_probability=other.mean_log_probability,
                truncated=not other.finished,
            )
            for other in candidates_of(only.plan)[1:]
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


def _gap(item: ItemPlan, index: int, pair: LanguagePair, text: str) -> str:
    """Return what stands in front of a sentence: the source's own, or what the target needs.

    A text of one sentence comes back without the blanks around it. Languages that write no blanks
    have none between sentences either, so one is put where such a text becomes one with blanks,
    and left out the other way round.
    """
    start = item.segments[index].segment.start
    if index == 0:
        return "" if len(item.segments) == 1 else item.text[:start]
    gap = item.text[item.segments[index - 1].segment.end : start]
    blanks = bool(text) and not writes_no_spaces(text[0])
    if not gap:
        return " " if blanks else ""
    return "" if gap == " " and not blanks else gap


def _whole_signals(segments: Sequence[SegmentPlan], results: Sequence[SegmentResult]) -> Signals:
    """Return the signals of a text of several sentences, as if it were one."""
    if len(results) == 1:
        return results[0].signals
    best = [candidates_of(plan)[0] for plan in segments]
    length = sum(one.length for one in best)
    total = sum(one.log_probability for one in best)
    sources = sum(len(plan.tokens) for plan in segments)
    return Signals(
        mean_log_probability=total / length if length else 0.0,
        length_ratio=sum(len(one.token_ids) for one in best) / max(1, sources),
        repetition=max(result.signals.repetition for result in results),
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


def _distinct(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    return tuple(dict.fromkeys(flags))
