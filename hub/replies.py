"""What the client hands out, and how it reads it off the wire."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from hub.errors import HubError
from hub.pb.adapterhub.v1 import adapter_service_pb2, translation_service_pb2
from hub.wire_errors import from_status


@dataclass(frozen=True, slots=True)
class Decoding:
    """Options of the search; None leaves an option to the server."""

    beam_size: int | None = None
    max_output_tokens: int | None = None
    length_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Alternative:
    """A hypothesis after the best one."""

    text: str
    score: float
    mean_log_probability: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class Quality:
    """Reference-free signals; see QualitySignals in the wire contract.

    Attributes:
        log_probability_z_score: Against the adapter's dev set, None where that is not known.
        length_ratio_z_score: Likewise.
    """

    mean_log_probability: float = 0.0
    length_ratio: float = 0.0
    repetition: float = 0.0
    log_probability_z_score: float | None = None
    length_ratio_z_score: float | None = None


@dataclass(frozen=True, slots=True)
class SecondTryReply:
    """What came of translating bad sentences once more; see SecondTry in the wire contract."""

    reason: str
    adapter_version: str
    adapter_digest: str
    segments: int
    kept: int


@dataclass(frozen=True, slots=True)
class ItemTimings:
    """Where an item's time went, and the company it had."""

    queue_ms: float = 0.0
    encode_ms: float = 0.0
    decode_ms: float = 0.0
    batch_rows: int = 0
    batch_distinct_adapters: int = 0

    @property
    def total_ms(self) -> float:
        """Return queueing, encoding and decoding together."""
        return self.queue_ms + self.encode_ms + self.decode_ms


@dataclass(frozen=True, slots=True)
class ItemReply:
    """What became of one text.

    Attributes:
        adapter_version: "name:version", "" for the base model.
        adapter_digest: "sha256:…", "" for the base model.
        warnings: Their names, such as TRUNCATED; see Warning in the wire contract.
        error: Why this text alone failed, None when it did not.
        unknown_characters: The first few characters of the text that the vocabulary lacks.
        requested_adapter: The ref that was asked for, or that the server's route named.
        fallback: Why the adapter is not that one, such as NO_ADAPTER; "" where it is.
        detected: The detected source language and its confidence, None where it was given.
        details: Warnings with what they are about.
        tokens: Output tokens with their log-probabilities, where they were asked for.
        segments: Sentences that it was translated in.
        second_try: Where bad translations of some were made once more.
    """

    text: str
    adapter_version: str
    adapter_digest: str
    quality: Quality
    warnings: tuple[str, ...]
    timings: ItemTimings
    alternatives: tuple[Alternative, ...]
    error: HubError | None
    unknown_characters: tuple[str, ...] = ()
    requested_adapter: str = ""
    fallback: str = ""
    detected: tuple[str, float] | None = None
    details: tuple[tuple[str, tuple[str, ...]], ...] = ()
    tokens: tuple[tuple[str, float], ...] = ()
    segments: int = 1
    second_try: SecondTryReply | None = None


@dataclass(frozen=True, slots=True)
class TranslateReply:
    """The reply to one list of texts; `items` keep their order.

    Attributes:
        source: The source language as it was served: "pt" where a base knows no "pt-PT".
        target: The target language, likewise.
    """

    items: tuple[ItemReply, ...]
    base_name: str
    base_digest: str
    quantization: str
    input_characters: int
    input_tokens: int
    output_tokens: int
    total_ms: float
    source: str = ""
    target: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the translations.

        Raises:
            HubError: The first item that failed.
        """
        for item in self.items:
            if item.error is not None:
                raise item.error
        return tuple(item.text for item in self.items)


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """One immutable version of an adapter, as the server's registry knows it."""

    name: str
    version: int
    digest: str
    aliases: tuple[str, ...]
    source: str
    target: str
    method: str
    size: int
    realised_fraction: float
    base_name: str
    base_digest: str
    size_bytes: int
    created_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """Where requests of a pair and a domain go that name no adapter."""

    source: str
    target: str
    domain: str
    adapter: str
    adapter_version: str
    adapter_digest: str
    rungs: tuple[str, ...]
    shadowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadedAdapterInfo:
    """An adapter in the server's memory; `tier` is "DEVICE" or "HOST".

    Attributes:
        pinned: It stays in memory until it is unloaded.
    """

    digest: str
    adapter_version: str
    tier: str
    slot: int
    size_bytes: int
    running_requests: int
    pinned: bool = False


def decoding_message(decoding: Decoding) -> translation_service_pb2.DecodingOptions:
    """Write search options; what is None stays unset."""
    return translation_service_pb2.DecodingOptions(
        beam_size=decoding.beam_size,
        max_output_tokens=decoding.max_output_tokens,
        length_penalty=decoding.length_penalty,
    )


def translate_reply(reply: translation_service_pb2.TranslateTextResponse) -> TranslateReply:
    """Read a reply."""
    return TranslateReply(
        items=tuple(item_reply(item) for item in reply.translations),
        base_name=reply.base_model.name,
        base_digest=reply.base_model.digest,
        quantization=reply.base_model.quantization,
        input_characters=reply.usage.input_characters,
        input_tokens=reply.usage.input_tokens,
        output_tokens=reply.usage.output_tokens,
        total_ms=reply.timings.total_ms,
        source=reply.source_language_code,
        target=reply.target_language_code,
    )


def item_reply(item: translation_service_pb2.Translation) -> ItemReply:
    """Read what became of one text."""
    timings, detected = item.timings, item.detected_language
    fallback = translation_service_pb2.FallbackReason.Name(item.fallback_reason)
    return ItemReply(
        text=item.translated_text,
        adapter_version=item.adapter_version,
        adapter_digest=item.adapter_digest,
        quality=_quality(item.quality),
        warnings=tuple(_warning(number) for number in item.warnings),
        timings=ItemTimings(
            timings.queue_ms,
            timings.encode_ms,
            timings.decode_ms,
            timings.batch_rows,
            timings.batch_distinct_adapters,
        ),
        alternatives=tuple(
            Alternative(a.translated_text, a.score, a.mean_log_probability, a.truncated)
            for a in item.alternatives
        ),
        error=from_status(item.status),
        unknown_characters=tuple(item.unknown_characters),
        requested_adapter=item.requested_adapter,
        fallback=fallback.removeprefix("FALLBACK_REASON_") if item.fallback_reason else "",
        detected=(
            (detected.language_code, detected.confidence)
            if item.HasField("detected_language")
            else None
        ),
        details=tuple((_warning(d.warning), tuple(d.subjects)) for d in item.warning_details),
        tokens=tuple((token.text, token.log_probability) for token in item.tokens),
        segments=item.segments,
        second_try=_second_try(item),
    )


def _quality(quality: translation_service_pb2.QualitySignals) -> Quality:
    z, length_z = "log_probability_z_score", "length_ratio_z_score"
    return Quality(
        quality.mean_log_probability,
        quality.length_ratio,
        quality.repetition,
        quality.log_probability_z_score if quality.HasField(z) else None,
        quality.length_ratio_z_score if quality.HasField(length_z) else None,
    )


def _second_try(item: translation_service_pb2.Translation) -> SecondTryReply | None:
    if not item.HasField("second_try"):
        return None
    made = item.second_try
    return SecondTryReply(
        _warning(made.reason), made.adapter_version, made.adapter_digest, made.segments, made.kept
    )


def _warning(number: int) -> str:
    """Return the name of a warning; a newer server may have some without a name here."""
    kinds = translation_service_pb2.Warning
    return kinds.Name(number).removeprefix("WARNING_") if number in kinds.values() else str(number)


def adapter_info(adapter: adapter_service_pb2.Adapter) -> AdapterInfo:
    """Read one version of an adapter."""
    return AdapterInfo(
        name=adapter.name,
        version=adapter.version,
        digest=adapter.digest,
        aliases=tuple(adapter.aliases),
        source=adapter.source_language_code,
        target=adapter.target_language_code,
        method=adapter.method,
        size=adapter.size,
        realised_fraction=adapter.realised_fraction,
        base_name=adapter.base_name,
        base_digest=adapter.base_digest,
        size_bytes=adapter.size_bytes,
        created_at=adapter.create_time.ToDatetime(datetime.UTC),
    )


def loaded_adapter_info(adapter: adapter_service_pb2.LoadedAdapter) -> LoadedAdapterInfo:
    """Read one adapter in memory."""
    return LoadedAdapterInfo(
        digest=adapter.digest,
        adapter_version=adapter.adapter_version,
        tier=adapter_service_pb2.Tier.Name(adapter.tier).removeprefix("TIER_"),
        slot=adapter.slot,
        size_bytes=adapter.size_bytes,
        running_requests=adapter.running_requests,
        pinned=adapter.pinned,
    )


def route_info(route: translation_service_pb2.Route) -> RouteInfo:
    """Read one route."""
    return RouteInfo(
        source=route.source_language_code,
        target=route.target_language_code,
        domain=route.domain,
        adapter=route.adapter,
        adapter_version=route.adapter_version,
        adapter_digest=route.adapter_digest,
        rungs=tuple(route.rungs),
        shadowed=tuple(route.shadowed),
    )
