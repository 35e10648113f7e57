from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Warning(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_UNSPECIFIED: _ClassVar[Warning]
    WARNING_TRUNCATED: _ClassVar[Warning]
    WARNING_REPETITION: _ClassVar[Warning]
    WARNING_LENGTH_RATIO: _ClassVar[Warning]
    WARNING_UNKNOWN_CHARACTERS: _ClassVar[Warning]
    WARNING_UNKNOWN_TOKEN: _ClassVar[Warning]
WARNING_UNSPECIFIED: Warning
WARNING_TRUNCATED: Warning
WARNING_REPETITION: Warning
WARNING_LENGTH_RATIO: Warning
WARNING_UNKNOWN_CHARACTERS: Warning
WARNING_UNKNOWN_TOKEN: Warning

class TranslateTextRequest(_message.Message):
    __slots__ = ("contents", "mime_type", "source_language_code", "target_language_code", "adapter", "decoding", "num_alternatives")
    CONTENTS_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    DECODING_FIELD_NUMBER: _ClassVar[int]
    NUM_ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    source_language_code: str
    target_language_code: str
    adapter: str
    decoding: DecodingOptions
    num_alternatives: int
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., adapter: _Optional[str] = ..., decoding: _Optional[_Union[DecodingOptions, _Mapping[str, object]]] = ..., num_alternatives: _Optional[int] = ...) -> None: ...

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
    __slots__ = ("translated_text", "adapter_version", "adapter_digest", "quality", "warnings", "status", "timings", "alternatives", "unknown_characters")
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    ALTERNATIVES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    translated_text: str
    adapter_version: str
    adapter_digest: str
    quality: QualitySignals
    warnings: _containers.RepeatedScalarFieldContainer[Warning]
    status: _status_pb2.Status
    timings: ItemTimings
    alternatives: _containers.RepeatedCompositeFieldContainer[Alternative]
    unknown_characters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, translated_text: _Optional[str] = ..., adapter_version: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., quality: _Optional[_Union[QualitySignals, _Mapping[str, object]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, str]]] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping[str, object]]] = ..., timings: _Optional[_Union[ItemTimings, _Mapping[str, object]]] = ..., alternatives: _Optional[_Iterable[_Union[Alternative, _Mapping[str, object]]]] = ..., unknown_characters: _Optional[_Iterable[str]] = ...) -> None: ...

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
    __slots__ = ("mean_log_probability", "length_ratio", "repetition")
    MEAN_LOG_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LENGTH_RATIO_FIELD_NUMBER: _ClassVar[int]
    REPETITION_FIELD_NUMBER: _ClassVar[int]
    mean_log_probability: float
    length_ratio: float
    repetition: float
    def __init__(self, mean_log_probability: _Optional[float] = ..., length_ratio: _Optional[float] = ..., repetition: _Optional[float] = ...) -> None: ...

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
