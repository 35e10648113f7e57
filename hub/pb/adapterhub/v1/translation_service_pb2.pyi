from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GlossaryMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GLOSSARY_MODE_UNSPECIFIED: _ClassVar[GlossaryMode]
    GLOSSARY_MODE_FORCE: _ClassVar[GlossaryMode]
    GLOSSARY_MODE_CHECK: _ClassVar[GlossaryMode]

class SplitSentences(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_SENTENCES_UNSPECIFIED: _ClassVar[SplitSentences]
    SPLIT_SENTENCES_ON: _ClassVar[SplitSentences]
    SPLIT_SENTENCES_LINES: _ClassVar[SplitSentences]
    SPLIT_SENTENCES_OFF: _ClassVar[SplitSentences]

class LongSentences(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LONG_SENTENCES_UNSPECIFIED: _ClassVar[LongSentences]
    LONG_SENTENCES_SPLIT: _ClassVar[LongSentences]
    LONG_SENTENCES_REFUSE: _ClassVar[LongSentences]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_INTERACTIVE: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class FallbackReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_REASON_UNSPECIFIED: _ClassVar[FallbackReason]
    FALLBACK_REASON_NO_DOMAIN: _ClassVar[FallbackReason]
    FALLBACK_REASON_RELATED_LOCALE: _ClassVar[FallbackReason]
    FALLBACK_REASON_NO_ADAPTER: _ClassVar[FallbackReason]
    FALLBACK_REASON_OVERLOAD: _ClassVar[FallbackReason]
    FALLBACK_REASON_QUALITY: _ClassVar[FallbackReason]

class Warning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_UNSPECIFIED: _ClassVar[Warning]
    WARNING_TRUNCATED: _ClassVar[Warning]
    WARNING_REPETITION: _ClassVar[Warning]
    WARNING_LENGTH_RATIO: _ClassVar[Warning]
    WARNING_UNKNOWN_CHARACTERS: _ClassVar[Warning]
    WARNING_UNKNOWN_TOKEN: _ClassVar[Warning]
    WARNING_SPLIT: _ClassVar[Warning]
    WARNING_TAG_MISMATCH: _ClassVar[Warning]
    WARNING_PLACEHOLDER_MISMATCH: _ClassVar[Warning]
    WARNING_GLOSSARY_MISS: _ClassVar[Warning]
    WARNING_UNCERTAIN_LANGUAGE: _ClassVar[Warning]
    WARNING_OFF_TARGET: _ClassVar[Warning]
    WARNING_NUMBER_MISMATCH: _ClassVar[Warning]
    WARNING_COPY: _ClassVar[Warning]
    WARNING_EMPTY: _ClassVar[Warning]
    WARNING_LOW_PROBABILITY: _ClassVar[Warning]
GLOSSARY_MODE_UNSPECIFIED: GlossaryMode
GLOSSARY_MODE_FORCE: GlossaryMode
GLOSSARY_MODE_CHECK: GlossaryMode
SPLIT_SENTENCES_UNSPECIFIED: SplitSentences
SPLIT_SENTENCES_ON: SplitSentences
SPLIT_SENTENCES_LINES: SplitSentences
SPLIT_SENTENCES_OFF: SplitSentences
LONG_SENTENCES_UNSPECIFIED: LongSentences
LONG_SENTENCES_SPLIT: LongSentences
LONG_SENTENCES_REFUSE: LongSentences
PRIORITY_UNSPECIFIED: Priority
PRIORITY_INTERACTIVE: Priority
PRIORITY_BATCH: Priority
FALLBACK_REASON_UNSPECIFIED: FallbackReason
FALLBACK_REASON_NO_DOMAIN: FallbackReason
FALLBACK_REASON_RELATED_LOCALE: FallbackReason
FALLBACK_REASON_NO_ADAPTER: FallbackReason
FALLBACK_REASON_OVERLOAD: FallbackReason
FALLBACK_REASON_QUALITY: FallbackReason
WARNING_UNSPECIFIED: Warning
WARNING_TRUNCATED: Warning
WARNING_REPETITION: Warning
WARNING_LENGTH_RATIO: Warning
WARNING_UNKNOWN_CHARACTERS: Warning
WARNING_UNKNOWN_TOKEN: Warning
WARNING_SPLIT: Warning
WARNING_TAG_MISMATCH: Warning
WARNING_PLACEHOLDER_MISMATCH: Warning
WARNING_GLOSSARY_MISS: Warning
WARNING_UNCERTAIN_LANGUAGE: Warning
WARNING_OFF_TARGET: Warning
WARNING_NUMBER_MISMATCH: Warning
WARNING_COPY: Warning
WARNING_EMPTY: Warning
WARNING_LOW_PROBABILITY: Warning

class TranslateTextRequest(_message.Message):
    __slots__ = ("contents", "mime_type", "source_language_code", "target_language_code", "adapter", "glossary_config", "labels", "decoding", "num_alternatives", "domain", "require_adapter", "split_sentences", "long_sentences", "do_not_translate", "token_scores", "priority", "routing_key")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    NUM_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_ADAPTER_FIELD_NUMBER: _ClassVar[int]
    SPLIT_SENTENCES_FIELD_NUMBER: _ClassVar[int]
    LONG_SENTENCES_FIELD_NUMBER: _ClassVar[int]
    DO_NOT_TRANSLATE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SCORES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    source_language_code: str
    target_language_code: str
    adapter: str
    glossary_config: GlossaryConfig
    labels: _containers.ScalarMap[str, str]
    decoding: DecodingOptions
    num_alternatives: int
    domain: str
    require_adapter: bool
    split_sentences: SplitSentences
    long_sentences: LongSentences
    do_not_translate: _containers.RepeatedScalarFieldContainer[str]
    token_scores: bool
    priority: Priority
    routing_key: str
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., adapter: _Optional[str] = ..., glossary_config: _Optional[_Union[GlossaryConfig, _Mapping[str, object]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., decoding: _Optional[_Union[DecodingOptions, _Mapping[str, object]]] = ..., num_alternatives: _Optional[int] = ..., domain: _Optional[str] = ..., require_adapter: _Optional[bool] = ..., split_sentences: _Optional[_Union[SplitSentences, str]] = ..., long_sentences: _Optional[_Union[LongSentences, str]] = ..., do_not_translate: _Optional[_Iterable[str]] = ..., token_scores: _Optional[bool] = ..., priority: _Optional[_Union[Priority, str]] = ..., routing_key: _Optional[str] = ...) -> None: ...

class GlossaryConfig(_message.Message):
    __slots__ = ("glossary", "ignore_case", "terms", "mode")
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    glossary: str
    ignore_case: bool
    terms: _containers.RepeatedCompositeFieldContainer[GlossaryTerm]
    mode: GlossaryMode
    def __init__(self, glossary: _Optional[str] = ..., ignore_case: _Optional[bool] = ..., terms: _Optional[_Iterable[_Union[GlossaryTerm, _Mapping[str, object]]]] = ..., mode: _Optional[_Union[GlossaryMode, str]] = ...) -> None: ...

class GlossaryTerm(_message.Message):
    __slots__ = ("source", "targets")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    source: str
    targets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source: _Optional[str] = ..., targets: _Optional[_Iterable[str]] = ...) -> None: ...

class DecodingOptions(_message.Message):
    __slots__ = ("beam_size", "max_output_tokens", "length_penalty")
    BEAM_SIZE_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    beam_size: int
    max_output_tokens: int
    length_penalty: float
    def __init__(self, beam_size: _Optional[int] = ..., max_output_tokens: _Optional[int] = ..., length_penalty: _Optional[float] = ...) -> None: ...

class TranslateTextResponse(_message.Message):
    __slots__ = ("translations", "usage", "timings", "base_model", "source_language_code", "target_language_code")
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    BASE_MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    translations: _containers.RepeatedCompositeFieldContainer[Translation]
    usage: Usage
    timings: RequestTimings
    base_model: BaseModel
    source_language_code: str
    target_language_code: str
    def __init__(self, translations: _Optional[_Iterable[_Union[Translation, _Mapping[str, object]]]] = ..., usage: _Optional[_Union[Usage, _Mapping[str, object]]] = ..., timings: _Optional[_Union[RequestTimings, _Mapping[str, object]]] = ..., base_model: _Optional[_Union[BaseModel, _Mapping[str, object]]] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("translated_text", "detected_language", "adapter_version", "adapter_digest", "quality", "warnings", "status", "timings", "alternatives", "unknown_characters", "requested_adapter", "fallback_reason", "warning_details", "tokens", "segments", "second_try")
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    DETECTED_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_ADAPTER_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_REASON_FIELD_NUMBER: _ClassVar[int]
    WARNING_DETAILS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    SECOND_TRY_FIELD_NUMBER: _ClassVar[int]
    translated_text: str
    detected_language: DetectedLanguage
    adapter_version: str
    adapter_digest: str
    quality: QualitySignals
    warnings: _containers.RepeatedScalarFieldContainer[Warning]
    status: _status_pb2.Status
    timings: ItemTimings
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    unknown_characters: _containers.RepeatedScalarFieldContainer[str]
    requested_adapter: str
    fallback_reason: FallbackReason
    warning_details: _containers.RepeatedCompositeFieldContainer[WarningDetail]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenScore]
    segments: int
    second_try: SecondTry
    def __init__(self, translated_text: _Optional[str] = ..., detected_language: _Optional[_Union[DetectedLanguage, _Mapping[str, object]]] = ..., adapter_version: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., quality: _Optional[_Union[QualitySignals, _Mapping[str, object]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, str]]] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping[str, object]]] = ..., timings: _Optional[_Union[ItemTimings, _Mapping[str, object]]] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping[str, object]]]] = ..., unknown_characters: _Optional[_Iterable[str]] = ..., requested_adapter: _Optional[str] = ..., fallback_reason: _Optional[_Union[FallbackReason, str]] = ..., warning_details: _Optional[_Iterable[_Union[WarningDetail, _Mapping[str, object]]]] = ..., tokens: _Optional[_Iterable[_Union[TokenScore, _Mapping[str, object]]]] = ..., segments: _Optional[int] = ..., second_try: _Optional[_Union[SecondTry, _Mapping[str, object]]] = ...) -> None: ...

class SecondTry(_message.Message):
    __slots__ = ("reason", "adapter_version", "adapter_digest", "segments", "kept")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    reason: Warning
    adapter_version: str
    adapter_digest: str
    segments: int
    kept: int
    def __init__(self, reason: _Optional[_Union[Warning, str]] = ..., adapter_version: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., segments: _Optional[int] = ..., kept: _Optional[int] = ...) -> None: ...

class DetectedLanguage(_message.Message):
    __slots__ = ("language_code", "confidence")
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    language_code: str
    confidence: float
    def __init__(self, language_code: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class WarningDetail(_message.Message):
    __slots__ = ("warning", "subjects")
    WARNING_FIELD_NUMBER: _ClassVar[int]
    SUBJECTS_FIELD_NUMBER: _ClassVar[int]
    warning: Warning
    subjects: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, warning: _Optional[_Union[Warning, str]] = ..., subjects: _Optional[_Iterable[str]] = ...) -> None: ...

class TokenScore(_message.Message):
    __slots__ = ("text", "log_probability")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    text: str
    log_probability: float
    def __init__(self, text: _Optional[str] = ..., log_probability: _Optional[float] = ...) -> None: ...

class StreamTranslateTextResponse(_message.Message):
    __slots__ = ("content_index", "segment", "translation", "summary")
    CONTENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    content_index: int
    segment: TranslatedSegment
    translation: Translation
    summary: TranslateTextResponse
    def __init__(self, content_index: _Optional[int] = ..., segment: _Optional[_Union[TranslatedSegment, _Mapping[str, object]]] = ..., translation: _Optional[_Union[Translation, _Mapping[str, object]]] = ..., summary: _Optional[_Union[TranslateTextResponse, _Mapping[str, object]]] = ...) -> None: ...

class TranslatedSegment(_message.Message):
    __slots__ = ("index", "translated_text", "source_start", "source_end")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_START_FIELD_NUMBER: _ClassVar[int]
    SOURCE_END_FIELD_NUMBER: _ClassVar[int]
    index: int
    translated_text: str
    source_start: int
    source_end: int
    def __init__(self, index: _Optional[int] = ..., translated_text: _Optional[str] = ..., source_start: _Optional[int] = ..., source_end: _Optional[int] = ...) -> None: ...

class Alternative(_message.Message):
    __slots__ = ("translated_text", "score", "mean_log_probability", "truncated")
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MEAN_LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    translated_text: str
    score: float
    mean_log_probability: float
    truncated: bool
    def __init__(self, translated_text: _Optional[str] = ..., score: _Optional[float] = ..., mean_log_probability: _Optional[float] = ..., truncated: _Optional[bool] = ...) -> None: ...

class QualitySignals(_message.Message):
    __slots__ = ("mean_log_probability", "length_ratio", "repetition", "log_probability_z_score", "length_ratio_z_score")
    MEAN_LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LENGTH_RATIO_FIELD_NUMBER: _ClassVar[int]
    REPETITION_FIELD_NUMBER: _ClassVar[int]
    LOG_PROBABILITY_Z_SCORE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_RATIO_Z_SCORE_FIELD_NUMBER: _ClassVar[int]
    mean_log_probability: float
    length_ratio: float
    repetition: float
    log_probability_z_score: float
    length_ratio_z_score: float
    def __init__(self, mean_log_probability: _Optional[float] = ..., length_ratio: _Optional[float] = ..., repetition: _Optional[float] = ..., log_probability_z_score: _Optional[float] = ..., length_ratio_z_score: _Optional[float] = ...) -> None: ...

class ItemTimings(_message.Message):
    __slots__ = ("queue_ms", "encode_ms", "decode_ms", "batch_rows", "batch_distinct_adapters")
    QUEUE_MS_FIELD_NUMBER: _ClassVar[int]
    ENCODE_MS_FIELD_NUMBER: _ClassVar[int]
    DECODE_MS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    BATCH_DISTINCT_ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    queue_ms: float
    encode_ms: float
    decode_ms: float
    batch_rows: int
    batch_distinct_adapters: int
    def __init__(self, queue_ms: _Optional[float] = ..., encode_ms: _Optional[float] = ..., decode_ms: _Optional[float] = ..., batch_rows: _Optional[int] = ..., batch_distinct_adapters: _Optional[int] = ...) -> None: ...

class RequestTimings(_message.Message):
    __slots__ = ("total_ms", "route_ms", "tokenize_ms")
    TOTAL_MS_FIELD_NUMBER: _ClassVar[int]
    ROUTE_MS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_MS_FIELD_NUMBER: _ClassVar[int]
    total_ms: float
    route_ms: float
    tokenize_ms: float
    def __init__(self, total_ms: _Optional[float] = ..., route_ms: _Optional[float] = ..., tokenize_ms: _Optional[float] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_characters", "input_tokens", "output_tokens")
    INPUT_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    input_characters: int
    input_tokens: int
    output_tokens: int
    def __init__(self, input_characters: _Optional[int] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ...) -> None: ...

class BaseModel(_message.Message):
    __slots__ = ("name", "digest", "quantization")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    quantization: str
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., quantization: _Optional[str] = ...) -> None: ...

class DetectLanguageRequest(_message.Message):
    __slots__ = ("contents", "mime_type")
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ...) -> None: ...

class DetectLanguageResponse(_message.Message):
    __slots__ = ("detections",)
    DETECTIONS_FIELD_NUMBER: _ClassVar[int]
    detections: _containers.RepeatedCompositeFieldContainer[DetectedLanguages]
    def __init__(self, detections: _Optional[_Iterable[_Union[DetectedLanguages, _Mapping[str, object]]]] = ...) -> None: ...

class DetectedLanguages(_message.Message):
    __slots__ = ("languages",)
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedCompositeFieldContainer[DetectedLanguage]
    def __init__(self, languages: _Optional[_Iterable[_Union[DetectedLanguage, _Mapping[str, object]]]] = ...) -> None: ...

class ListLanguagePairsRequest(_message.Message):
    __slots__ = ("source_language_code", "target_language_code")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ...) -> None: ...

class ListLanguagePairsResponse(_message.Message):
    __slots__ = ("pairs", "language_codes")
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODES_FIELD_NUMBER: _ClassVar[int]
    pairs: _containers.RepeatedCompositeFieldContainer[LanguagePairInfo]
    language_codes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, pairs: _Optional[_Iterable[_Union[LanguagePairInfo, _Mapping[str, object]]]] = ..., language_codes: _Optional[_Iterable[str]] = ...) -> None: ...

class LanguagePairInfo(_message.Message):
    __slots__ = ("source_language_code", "target_language_code", "adapter_version", "base")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    adapter_version: str
    base: bool
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., adapter_version: _Optional[str] = ..., base: _Optional[bool] = ...) -> None: ...

class ListRoutesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRoutesResponse(_message.Message):
    __slots__ = ("routes",)
    ROUTES_FIELD_NUMBER: _ClassVar[int]
    routes: _containers.RepeatedCompositeFieldContainer[Route]
    def __init__(self, routes: _Optional[_Iterable[_Union[Route, _Mapping[str, object]]]] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("source_language_code", "target_language_code", "domain", "adapter", "adapter_version", "adapter_digest", "rungs", "shadowed")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    RUNGS_FIELD_NUMBER: _ClassVar[int]
    SHADOWED_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    domain: str
    adapter: str
    adapter_version: str
    adapter_digest: str
    rungs: _containers.RepeatedScalarFieldContainer[str]
    shadowed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., domain: _Optional[str] = ..., adapter: _Optional[str] = ..., adapter_version: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., rungs: _Optional[_Iterable[str]] = ..., shadowed: _Optional[_Iterable[str]] = ...) -> None: ...
