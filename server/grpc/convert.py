"""Protobuf ↔ the server's own messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.pb.adapterhub.v1 import adapter_service_pb2 as adapter_pb
from hub.pb.adapterhub.v1 import translation_service_pb2 as translation_pb
from hub.registry import AdapterVersion
from hub.wire_errors import to_status
from server.messages import (
    Flag,
    ItemResult,
    LoadedAdapter,
    SearchChoice,
    TranslateCommand,
    TranslateResult,
)

_WARNINGS = {
    Flag.TRUNCATED: translation_pb.WARNING_TRUNCATED,
    Flag.REPETITION: translation_pb.WARNING_REPETITION,
    Flag.LENGTH_RATIO: translation_pb.WARNING_LENGTH_RATIO,
    Flag.UNKNOWN_CHARACTERS: translation_pb.WARNING_UNKNOWN_CHARACTERS,
    Flag.UNKNOWN_TOKEN: translation_pb.WARNING_UNKNOWN_TOKEN,
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
    """Read a request; checking it is the application's business."""
    decoding = request.decoding
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
        labels=dict(request.labels),
    )


def response_of(
    result: TranslateResult, base: BaseIdentity
) -> translation_pb.TranslateTextResponse:
    """Write a reply."""
    seconds = result.stage_seconds
    return translation_pb.TranslateTextResponse(
        translations=[_translation(item, index, result) for index, item in enumerate(result.items)],
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


def _translation(
    item: ItemResult, index: int, result: TranslateResult
) -> translation_pb.Translation:
    message = translation_pb.Translation(
        adapter_version=result.adapter_version,
        adapter_digest=result.adapter_digest,
        timings=_timings(item),
    )
    if item.error is not None:
        message.status.CopyFrom(to_status(item.error, field=f"contents[{index}]"))
        return message
    message.status.SetInParent()
    message.translated_text = item.text
    message.quality.mean_log_probability = item.signals.mean_log_probability
    message.quality.length_ratio = item.signals.length_ratio
    message.quality.repetition = item.signals.repetition
    message.warnings.extend(_WARNINGS[flag] for flag in item.flags)
    message.unknown_characters.extend(item.unknown_characters)
    for other in item.alternatives:
        message.alternatives.add(
            translated_text=other.text,
            score=other.score,
            mean_log_probability=other.mean_log_probability,
            truncated=other.truncated,
        )
    return message


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
