import datetime

from hub.pb.google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TransliterationConfig(_message.Message):
    __slots__ = ("enable_transliteration",)
    ENABLE_TRANSLITERATION_FIELD_NUMBER: _ClassVar[int]
    enable_transliteration: bool
    def __init__(self, enable_transliteration: _Optional[bool] = ...) -> None: ...

class TranslateTextRequest(_message.Message):
    __slots__ = ("contents", "mime_type", "source_language_code", "target_language_code", "parent", "model", "glossary_config", "transliteration_config", "labels")
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
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    TRANSLITERATION_CONFIG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    contents: _containers.RepeatedScalarFieldContainer[str]
    mime_type: str
    source_language_code: str
    target_language_code: str
    parent: str
    model: str
    glossary_config: TranslateTextGlossaryConfig
    transliteration_config: TransliterationConfig
    labels: _containers.ScalarMap[str, str]
    def __init__(self, contents: _Optional[_Iterable[str]] = ..., mime_type: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., parent: _Optional[str] = ..., model: _Optional[str] = ..., glossary_config: _Optional[_Union[TranslateTextGlossaryConfig, _Mapping[str, object]]] = ..., transliteration_config: _Optional[_Union[TransliterationConfig, _Mapping[str, object]]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class TranslateTextResponse(_message.Message):
    __slots__ = ("translations", "glossary_translations")
    TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_TRANSLATIONS_FIELD_NUMBER: _ClassVar[int]
    translations: _containers.RepeatedCompositeFieldContainer[Translation]
    glossary_translations: _containers.RepeatedCompositeFieldContainer[Translation]
    def __init__(self, translations: _Optional[_Iterable[_Union[Translation, _Mapping[str, object]]]] = ..., glossary_translations: _Optional[_Iterable[_Union[Translation, _Mapping[str, object]]]] = ...) -> None: ...

class Translation(_message.Message):
    __slots__ = ("translated_text", "model", "detected_language_code", "glossary_config")
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DETECTED_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    translated_text: str
    model: str
    detected_language_code: str
    glossary_config: TranslateTextGlossaryConfig
    def __init__(self, translated_text: _Optional[str] = ..., model: _Optional[str] = ..., detected_language_code: _Optional[str] = ..., glossary_config: _Optional[_Union[TranslateTextGlossaryConfig, _Mapping[str, object]]] = ...) -> None: ...

class TranslateTextGlossaryConfig(_message.Message):
    __slots__ = ("glossary", "ignore_case", "contextual_translation_enabled")
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    CONTEXTUAL_TRANSLATION_ENABLED_FIELD_NUMBER: _ClassVar[int]
    glossary: str
    ignore_case: bool
    contextual_translation_enabled: bool
    def __init__(self, glossary: _Optional[str] = ..., ignore_case: _Optional[bool] = ..., contextual_translation_enabled: _Optional[bool] = ...) -> None: ...

class DetectLanguageRequest(_message.Message):
    __slots__ = ("parent", "model", "content", "mime_type", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARENT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    parent: str
    model: str
    content: str
    mime_type: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, parent: _Optional[str] = ..., model: _Optional[str] = ..., content: _Optional[str] = ..., mime_type: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class DetectedLanguage(_message.Message):
    __slots__ = ("language_code", "confidence")
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    language_code: str
    confidence: float
    def __init__(self, language_code: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class DetectLanguageResponse(_message.Message):
    __slots__ = ("languages",)
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedCompositeFieldContainer[DetectedLanguage]
    def __init__(self, languages: _Optional[_Iterable[_Union[DetectedLanguage, _Mapping[str, object]]]] = ...) -> None: ...

class GetSupportedLanguagesRequest(_message.Message):
    __slots__ = ("parent", "display_language_code", "model")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    display_language_code: str
    model: str
    def __init__(self, parent: _Optional[str] = ..., display_language_code: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class SupportedLanguages(_message.Message):
    __slots__ = ("languages",)
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    languages: _containers.RepeatedCompositeFieldContainer[SupportedLanguage]
    def __init__(self, languages: _Optional[_Iterable[_Union[SupportedLanguage, _Mapping[str, object]]]] = ...) -> None: ...

class SupportedLanguage(_message.Message):
    __slots__ = ("language_code", "display_name", "support_source", "support_target")
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_TARGET_FIELD_NUMBER: _ClassVar[int]
    language_code: str
    display_name: str
    support_source: bool
    support_target: bool
    def __init__(self, language_code: _Optional[str] = ..., display_name: _Optional[str] = ..., support_source: _Optional[bool] = ..., support_target: _Optional[bool] = ...) -> None: ...

class GcsSource(_message.Message):
    __slots__ = ("input_uri",)
    INPUT_URI_FIELD_NUMBER: _ClassVar[int]
    input_uri: str
    def __init__(self, input_uri: _Optional[str] = ...) -> None: ...

class GcsDestination(_message.Message):
    __slots__ = ("output_uri_prefix",)
    OUTPUT_URI_PREFIX_FIELD_NUMBER: _ClassVar[int]
    output_uri_prefix: str
    def __init__(self, output_uri_prefix: _Optional[str] = ...) -> None: ...

class DocumentInputConfig(_message.Message):
    __slots__ = ("content", "gcs_source", "mime_type")
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    GCS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    gcs_source: GcsSource
    mime_type: str
    def __init__(self, content: _Optional[bytes] = ..., gcs_source: _Optional[_Union[GcsSource, _Mapping[str, object]]] = ..., mime_type: _Optional[str] = ...) -> None: ...

class DocumentOutputConfig(_message.Message):
    __slots__ = ("gcs_destination", "mime_type")
    GCS_DESTINATION_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    gcs_destination: GcsDestination
    mime_type: str
    def __init__(self, gcs_destination: _Optional[_Union[GcsDestination, _Mapping[str, object]]] = ..., mime_type: _Optional[str] = ...) -> None: ...

class TranslateDocumentRequest(_message.Message):
    __slots__ = ("parent", "source_language_code", "target_language_code", "document_input_config", "document_output_config", "model", "glossary_config", "labels", "customized_attribution", "is_translate_native_pdf_only", "enable_shadow_removal_native_pdf", "enable_rotation_correction")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PARENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_INPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_OUTPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMIZED_ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    IS_TRANSLATE_NATIVE_PDF_ONLY_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SHADOW_REMOVAL_NATIVE_PDF_FIELD_NUMBER: _ClassVar[int]
    ENABLE_ROTATION_CORRECTION_FIELD_NUMBER: _ClassVar[int]
    parent: str
    source_language_code: str
    target_language_code: str
    document_input_config: DocumentInputConfig
    document_output_config: DocumentOutputConfig
    model: str
    glossary_config: TranslateTextGlossaryConfig
    labels: _containers.ScalarMap[str, str]
    customized_attribution: str
    is_translate_native_pdf_only: bool
    enable_shadow_removal_native_pdf: bool
    enable_rotation_correction: bool
    def __init__(self, parent: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., document_input_config: _Optional[_Union[DocumentInputConfig, _Mapping[str, object]]] = ..., document_output_config: _Optional[_Union[DocumentOutputConfig, _Mapping[str, object]]] = ..., model: _Optional[str] = ..., glossary_config: _Optional[_Union[TranslateTextGlossaryConfig, _Mapping[str, object]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., customized_attribution: _Optional[str] = ..., is_translate_native_pdf_only: _Optional[bool] = ..., enable_shadow_removal_native_pdf: _Optional[bool] = ..., enable_rotation_correction: _Optional[bool] = ...) -> None: ...

class DocumentTranslation(_message.Message):
    __slots__ = ("byte_stream_outputs", "mime_type", "detected_language_code")
    BYTE_STREAM_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    byte_stream_outputs: _containers.RepeatedScalarFieldContainer[bytes]
    mime_type: str
    detected_language_code: str
    def __init__(self, byte_stream_outputs: _Optional[_Iterable[bytes]] = ..., mime_type: _Optional[str] = ..., detected_language_code: _Optional[str] = ...) -> None: ...

class TranslateDocumentResponse(_message.Message):
    __slots__ = ("document_translation", "glossary_document_translation", "model", "glossary_config")
    DOCUMENT_TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_DOCUMENT_TRANSLATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_CONFIG_FIELD_NUMBER: _ClassVar[int]
    document_translation: DocumentTranslation
    glossary_document_translation: DocumentTranslation
    model: str
    glossary_config: TranslateTextGlossaryConfig
    def __init__(self, document_translation: _Optional[_Union[DocumentTranslation, _Mapping[str, object]]] = ..., glossary_document_translation: _Optional[_Union[DocumentTranslation, _Mapping[str, object]]] = ..., model: _Optional[str] = ..., glossary_config: _Optional[_Union[TranslateTextGlossaryConfig, _Mapping[str, object]]] = ...) -> None: ...

class GlossaryInputConfig(_message.Message):
    __slots__ = ("gcs_source",)
    GCS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    gcs_source: GcsSource
    def __init__(self, gcs_source: _Optional[_Union[GcsSource, _Mapping[str, object]]] = ...) -> None: ...

class Glossary(_message.Message):
    __slots__ = ("name", "language_pair", "language_codes_set", "input_config", "entry_count", "submit_time", "end_time", "display_name")
    class LanguageCodePair(_message.Message):
        __slots__ = ("source_language_code", "target_language_code")
        SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
        TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
        source_language_code: str
        target_language_code: str
        def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ...) -> None: ...
    class LanguageCodesSet(_message.Message):
        __slots__ = ("language_codes",)
        LANGUAGE_CODES_FIELD_NUMBER: _ClassVar[int]
        language_codes: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, language_codes: _Optional[_Iterable[str]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_PAIR_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_CODES_SET_FIELD_NUMBER: _ClassVar[int]
    INPUT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ENTRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    language_pair: Glossary.LanguageCodePair
    language_codes_set: Glossary.LanguageCodesSet
    input_config: GlossaryInputConfig
    entry_count: int
    submit_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    display_name: str
    def __init__(self, name: _Optional[str] = ..., language_pair: _Optional[_Union[Glossary.LanguageCodePair, _Mapping[str, object]]] = ..., language_codes_set: _Optional[_Union[Glossary.LanguageCodesSet, _Mapping[str, object]]] = ..., input_config: _Optional[_Union[GlossaryInputConfig, _Mapping[str, object]]] = ..., entry_count: _Optional[int] = ..., submit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., display_name: _Optional[str] = ...) -> None: ...

class CreateGlossaryRequest(_message.Message):
    __slots__ = ("parent", "glossary")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    GLOSSARY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    glossary: Glossary
    def __init__(self, parent: _Optional[str] = ..., glossary: _Optional[_Union[Glossary, _Mapping[str, object]]] = ...) -> None: ...

class GetGlossaryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteGlossaryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListGlossariesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "filter")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    filter: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListGlossariesResponse(_message.Message):
    __slots__ = ("glossaries", "next_page_token")
    GLOSSARIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    glossaries: _containers.RepeatedCompositeFieldContainer[Glossary]
    next_page_token: str
    def __init__(self, glossaries: _Optional[_Iterable[_Union[Glossary, _Mapping[str, object]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListGlossaryEntriesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGlossaryEntriesResponse(_message.Message):
    __slots__ = ("glossary_entries", "next_page_token")
    GLOSSARY_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    glossary_entries: _containers.RepeatedCompositeFieldContainer[GlossaryEntry]
    next_page_token: str
    def __init__(self, glossary_entries: _Optional[_Iterable[_Union[GlossaryEntry, _Mapping[str, object]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetGlossaryEntryRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GlossaryEntry(_message.Message):
    __slots__ = ("name", "terms_pair", "terms_set", "description")
    class GlossaryTermsPair(_message.Message):
        __slots__ = ("source_term", "target_term")
        SOURCE_TERM_FIELD_NUMBER: _ClassVar[int]
        TARGET_TERM_FIELD_NUMBER: _ClassVar[int]
        source_term: GlossaryTerm
        target_term: GlossaryTerm
        def __init__(self, source_term: _Optional[_Union[GlossaryTerm, _Mapping[str, object]]] = ..., target_term: _Optional[_Union[GlossaryTerm, _Mapping[str, object]]] = ...) -> None: ...
    class GlossaryTermsSet(_message.Message):
        __slots__ = ("terms",)
        TERMS_FIELD_NUMBER: _ClassVar[int]
        terms: _containers.RepeatedCompositeFieldContainer[GlossaryTerm]
        def __init__(self, terms: _Optional[_Iterable[_Union[GlossaryTerm, _Mapping[str, object]]]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    TERMS_PAIR_FIELD_NUMBER: _ClassVar[int]
    TERMS_SET_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    terms_pair: GlossaryEntry.GlossaryTermsPair
    terms_set: GlossaryEntry.GlossaryTermsSet
    description: str
    def __init__(self, name: _Optional[str] = ..., terms_pair: _Optional[_Union[GlossaryEntry.GlossaryTermsPair, _Mapping[str, object]]] = ..., terms_set: _Optional[_Union[GlossaryEntry.GlossaryTermsSet, _Mapping[str, object]]] = ..., description: _Optional[str] = ...) -> None: ...

class GlossaryTerm(_message.Message):
    __slots__ = ("language_code", "text")
    LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    language_code: str
    text: str
    def __init__(self, language_code: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class CreateGlossaryMetadata(_message.Message):
    __slots__ = ("name", "state", "submit_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[CreateGlossaryMetadata.State]
        RUNNING: _ClassVar[CreateGlossaryMetadata.State]
        SUCCEEDED: _ClassVar[CreateGlossaryMetadata.State]
        FAILED: _ClassVar[CreateGlossaryMetadata.State]
        CANCELLING: _ClassVar[CreateGlossaryMetadata.State]
        CANCELLED: _ClassVar[CreateGlossaryMetadata.State]
    STATE_UNSPECIFIED: CreateGlossaryMetadata.State
    RUNNING: CreateGlossaryMetadata.State
    SUCCEEDED: CreateGlossaryMetadata.State
    FAILED: CreateGlossaryMetadata.State
    CANCELLING: CreateGlossaryMetadata.State
    CANCELLED: CreateGlossaryMetadata.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: CreateGlossaryMetadata.State
    submit_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[CreateGlossaryMetadata.State, str]] = ..., submit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class DeleteGlossaryMetadata(_message.Message):
    __slots__ = ("name", "state", "submit_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[DeleteGlossaryMetadata.State]
        RUNNING: _ClassVar[DeleteGlossaryMetadata.State]
        SUCCEEDED: _ClassVar[DeleteGlossaryMetadata.State]
        FAILED: _ClassVar[DeleteGlossaryMetadata.State]
        CANCELLING: _ClassVar[DeleteGlossaryMetadata.State]
        CANCELLED: _ClassVar[DeleteGlossaryMetadata.State]
    STATE_UNSPECIFIED: DeleteGlossaryMetadata.State
    RUNNING: DeleteGlossaryMetadata.State
    SUCCEEDED: DeleteGlossaryMetadata.State
    FAILED: DeleteGlossaryMetadata.State
    CANCELLING: DeleteGlossaryMetadata.State
    CANCELLED: DeleteGlossaryMetadata.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: DeleteGlossaryMetadata.State
    submit_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[DeleteGlossaryMetadata.State, str]] = ..., submit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class DeleteGlossaryResponse(_message.Message):
    __slots__ = ("name", "submit_time", "end_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    submit_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., submit_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "display_name", "dataset", "source_language_code", "target_language_code", "train_example_count", "validate_example_count", "test_example_count", "create_time", "update_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TRAIN_EXAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_EXAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEST_EXAMPLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    display_name: str
    dataset: str
    source_language_code: str
    target_language_code: str
    train_example_count: int
    validate_example_count: int
    test_example_count: int
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., display_name: _Optional[str] = ..., dataset: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., train_example_count: _Optional[int] = ..., validate_example_count: _Optional[int] = ..., test_example_count: _Optional[int] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping[str, object]]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ("parent", "filter", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    filter: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., filter: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models", "next_page_token")
    MODELS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    next_page_token: str
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping[str, object]]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
