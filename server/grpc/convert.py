"""Protobuf ↔ the server's own messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from hub.errors import InputError
from hub.glossaries import Term
from hub.pb.adapterhub.v1 import adapter_service_pb2 as adapter_pb
from hub.pb.adapterhub.v1 import translation_service_pb2 as translation_pb
from hub.registry import AdapterVersion
from hub.wire_errors import to_status
from server.access.identity import current_identity
from server.messages import (
    Detected,
    Fallback,
    FinishedItem,
    FinishedSegment,
    Flag,
    GlossaryChoice,
    ItemResult,
    LoadedAdapter,
    Priority,
    SearchChoice,
    SecondTry,
    Signals,
    Split,
    TranslateCommand,
    TranslateResult,
)
from server.translation.routes import RouteEntry, ServedPair

_WARNINGS = {
    Flag.TRUNCATED: translation_pb.WARNING_TRUNCATED,
    Flag.REPETITION: translation_pb.WARNING_REPETITION,
    Flag.LENGTH_RATIO: translation_pb.WARNING_LENGTH_RATIO,
    Flag.UNKNOWN_CHARACTERS: translation_pb.WARNING_UNKNOWN_CHARACTERS,
    Flag.UNKNOWN_TOKEN: translation_pb.WARNING_UNKNOWN_TOKEN,
    Flag.SPLIT: translation_pb.WARNING_SPLIT,
    Flag.TAG_MISMATCH: translation_pb.WARNING_TAG_MISMATCH,
    Flag.PLACEHOLDER_MISMATCH: translation_pb.WARNING_PLACEHOLDER_MISMATCH,
    Flag.GLOSSARY_MISS: translation_pb.WARNING_GLOSSARY_MISS,
    Flag.UNCERTAIN_LANGUAGE: translation_pb.WARNING_UNCERTAIN_LANGUAGE,
    Flag.OFF_TARGET: translation_pb.WARNING_OFF_TARGET,
    Flag.NUMBER_MISMATCH: translation_pb.WARNING_NUMBER_MISMATCH,
    Flag.COPY: translation_pb.WARNING_COPY,
    Flag.EMPTY: translation_pb.WARNING_EMPTY,
    Flag.LOW_PROBABILITY: translation_pb.WARNING_LOW_PROBABILITY,
}
_FALLBACKS = {
    Fallback.NO_DOMAIN: translation_pb.FALLBACK_REASON_NO_DOMAIN,
    Fallback.RELATED_LOCALE: translation_pb.FALLBACK_REASON_RELATED_LOCALE,
    Fallback.NO_ADAPTER: translation_pb.FALLBACK_REASON_NO_ADAPTER,
    Fallback.OVERLOAD: translation_pb.FALLBACK_REASON_OVERLOAD,
    Fallback.QUALITY: translation_pb.FALLBACK_REASON_QUALITY,
}
_SPLITS = {
    translation_pb.SPLIT_SENTENCES_UNSPECIFIED: Split.SENTENCES,
    translation_pb.SPLIT_SENTENCES_ON: Split.SENTENCES,
    translation_pb.SPLIT_SENTENCES_LINES: Split.LINES,
    translation_pb.SPLIT_SENTENCES_OFF: Split.OFF,
}
_CHOICES = {
    "split_sentences": frozenset(_SPLITS),
    "long_sentences": frozenset(translation_pb.LongSentences.values()),
    "priority": frozenset(translation_pb.Priority.values()),
    "glossary_config.mode": frozenset(translation_pb.GlossaryMode.values()),
}


@dataclass(frozen=True, slots=True)
class BaseIdentity:
    """The base model of this server, as replies name it."""

    name: str
    digest: str
    quantization: str


def command_of(
    request: translation_pb.TranslateTextRequest, deadline: float | None
) -> TranslateCommand:
    """Read a request of the current caller; checking it is the application's business.

    Raises:
        InputError: A choice has a number that this server does not know.
    """
    glossary = request.glossary_config
    _check_choice("split_sentences", request.split_sentences)
    _check_choice("long_sentences", request.long_sentences)
    _check_choice("priority", request.priority)
    _check_choice("glossary_config.mode", glossary.mode)
    decoding, identity = request.decoding, current_identity()
    search = SearchChoice(
        beam_size=decoding.beam_size if decoding.HasField("beam_size") else None,
        max_output_tokens=(
            decoding.max_output_tokens if decoding.HasField("max_output_tokens") else None
        ),
        length_penalty=decoding.length_penalty if decoding.HasField("length_penalty") else None,
        num_alternatives=request.num_alternatives,
    )
    return TranslateCommand(
        contents=tuple(request.contents),
        source=request.source_language_code,
        target=request.target_language_code,
        adapter=request.adapter,
        search=search,
        mime_type=request.mime_type,
        deadline=deadline,
        domain=request.domain,
        require_adapter=request.require_adapter,
        split=_SPLITS[request.split_sentences],
        refuse_long=request.long_sentences == translation_pb.LONG_SENTENCES_REFUSE,
        keep=tuple(request.do_not_translate),
        glossary=_glossary(glossary),
        token_scores=request.token_scores,
        priority=(
            Priority.BATCH
            if request.priority == translation_pb.PRIORITY_BATCH
            else Priority.INTERACTIVE
        ),
        tenant=identity.tenant,
        permitted=identity.permit.patterns,
        labels=MappingProxyType(dict(request.labels)),
        routing_key=request.routing_key,
    )


def _check_choice(field: str, value: int) -> None:
    """Refuse a number of an enum that is not one of its values: proto3 lets it through."""
    if value not in _CHOICES[field]:
        raise InputError(f"{field} {value} is not one of its values", field=field)


def _glossary(config: translation_pb.GlossaryConfig) -> GlossaryChoice:
    return GlossaryChoice(
        stored=config.glossary,
        terms=tuple(Term(term.source, tuple(term.targets)) for term in config.terms),
        ignore_case=config.ignore_case,
        forced=config.mode != translation_pb.GLOSSARY_MODE_CHECK,
    )


def response_of(
    result: TranslateResult, base: BaseIdentity
) -> translation_pb.TranslateTextResponse:
    """Write a reply."""
    response = summary_of(result, base)
    response.translations.extend(
        _translation(item, index) for index, item in enumerate(result.items)
    )
    return response


def part_of(
    part: FinishedSegment | FinishedItem | TranslateResult, base: BaseIdentity
) -> translation_pb.StreamTranslateTextResponse:
    """Write one message of a stream."""
    match part:
        case FinishedSegment():
            segment = translation_pb.TranslatedSegment(
                index=part.index,
                translated_text=part.text,
                source_start=part.start,
                source_end=part.end,
            )
            return translation_pb.StreamTranslateTextResponse(
                content_index=part.item, segment=segment
            )
        case FinishedItem():
            return translation_pb.StreamTranslateTextResponse(
                content_index=part.item, translation=_translation(part.result, part.item)
            )
        case TranslateResult():
            return translation_pb.StreamTranslateTextResponse(summary=summary_of(part, base))


def summary_of(result: TranslateResult, base: BaseIdentity) -> translation_pb.TranslateTextResponse:
    """Write a reply without its translations."""
    seconds = result.stage_seconds
    return translation_pb.TranslateTextResponse(
        usage=translation_pb.Usage(
            input_characters=result.input_characters,
            input_tokens=sum(item.input_tokens for item in result.items),
            output_tokens=sum(item.output_tokens for item in result.items),
        ),
        timings=translation_pb.RequestTimings(
            total_ms=1000 * seconds["total"],
            route_ms=1000 * seconds["route"],
            tokenize_ms=1000 * seconds["tokenize"],
        ),
        base_model=translation_pb.BaseModel(
            name=base.name, digest=base.digest, quantization=base.quantization
        ),
        source_language_code=result.source,
        target_language_code=result.target,
    )


def _translation(item: ItemResult, index: int) -> translation_pb.Translation:
    message = translation_pb.Translation(
        adapter_version=item.adapter_version,
        adapter_digest=item.adapter_digest,
        requested_adapter=item.requested,
        timings=_timings(item),
        segments=item.segments,
    )
    if item.detected is not None:
        message.detected_language.CopyFrom(detected_of(item.detected))
    if item.fallback is not None:
        message.fallback_reason = _FALLBACKS[item.fallback]
    if item.error is not None:
        message.status.CopyFrom(to_status(item.error, field=f"contents[{index}]"))
        return message
    message.status.SetInParent()
    message.translated_text = item.text
    message.quality.CopyFrom(_signals(item.signals))
    if item.second_try is not None:
        message.second_try.CopyFrom(_second_try(item.second_try))
    message.warnings.extend(_WARNINGS[flag] for flag in item.flags)
    for detail in item.details:
        message.warning_details.add(warning=_WARNINGS[detail.flag], subjects=detail.subjects)
    for token in item.tokens:
        message.tokens.add(text=token.text, log_probability=token.log_probability)
    message.unknown_characters.extend(item.unknown_characters)
    for other in item.alternatives:
        message.alternatives.add(
            translated_text=other.text,
            score=other.score,
            mean_log_probability=other.mean_log_probability,
            truncated=other.truncated,
        )
    return message


def _signals(signals: Signals) -> translation_pb.QualitySignals:
    return translation_pb.QualitySignals(
        mean_log_probability=signals.mean_log_probability,
        length_ratio=signals.length_ratio,
        repetition=signals.repetition,
        log_probability_z_score=signals.log_probability_z,
        length_ratio_z_score=signals.length_ratio_z,
    )


def _second_try(made: SecondTry) -> translation_pb.SecondTry:
    return translation_pb.SecondTry(
        reason=_WARNINGS[made.reason],
        adapter_version=made.adapter_version,
        adapter_digest=made.adapter_digest,
        segments=made.segments,
        kept=made.kept,
    )


def detected_of(detected: Detected) -> translation_pb.DetectedLanguage:
    """Write a detected language."""
    return translation_pb.DetectedLanguage(
        language_code=detected.language, confidence=detected.confidence
    )


def pair_of(pair: ServedPair) -> translation_pb.LanguagePairInfo:
    """Write one pair of languages."""
    return translation_pb.LanguagePairInfo(
        source_language_code=pair.pair.source,
        target_language_code=pair.pair.target,
        adapter_version=pair.adapter_version,
        base=pair.base,
    )


def route_of(entry: RouteEntry) -> translation_pb.Route:
    """Write one route."""
    return translation_pb.Route(
        source_language_code=entry.pair.source,
        target_language_code=entry.pair.target,
        domain=entry.domain,
        adapter=entry.ref,
        adapter_version=entry.version.ref,
        adapter_digest=entry.version.digest,
        rungs=entry.rungs,
        shadowed=entry.shadowed,
    )


def _timings(item: ItemResult) -> translation_pb.ItemTimings:
    timings = item.timings
    return translation_pb.ItemTimings(
        queue_ms=1000 * timings.queue_seconds,
        encode_ms=1000 * timings.encode_seconds,
        decode_ms=1000 * timings.decode_seconds,
        batch_rows=timings.batch_rows,
        batch_distinct_adapters=timings.batch_distinct_adapters,
    )


def adapter_of(version: AdapterVersion) -> adapter_pb.Adapter:
    """Write one version of an adapter."""
    manifest = version.manifest
    message = adapter_pb.Adapter(
        name=version.name,
        version=version.version,
        digest=version.digest,
        aliases=version.aliases,
        source_language_code=manifest.language_pair.source,
        target_language_code=manifest.language_pair.target,
        method=manifest.method,
        size=manifest.size,
        budget=manifest.budget or 0.0,
        trainable_parameters=manifest.trainable_parameters,
        realised_fraction=manifest.realised_fraction,
        base_name=manifest.base.name,
        base_digest=manifest.base.digest,
        size_bytes=version.bytes,
        domain=manifest.domain,
    )
    message.create_time.FromDatetime(version.created_at)
    for score in manifest.scores:
        message.scores.add(
            metric=score.metric,
            system=score.system,
            value=score.value,
            signature=score.signature,
            items=score.items,
        )
    return message


def loaded_of(
    loaded: Sequence[LoadedAdapter], names: dict[str, str]
) -> list[adapter_pb.LoadedAdapter]:
    """Write what is in memory.

    Args:
        loaded: The adapters.
        names: Digest → "name:version"; a digest that is missing has no name any more.
    """
    return [
        adapter_pb.LoadedAdapter(
            digest=adapter.digest,
            adapter_version=names.get(adapter.digest, ""),
            tier=adapter_pb.TIER_DEVICE if adapter.slot else adapter_pb.TIER_HOST,
            slot=adapter.slot,
            size_bytes=adapter.size_bytes,
            running_requests=adapter.running,
            pinned=adapter.pinned,
        )
        for adapter in loaded
    ]
