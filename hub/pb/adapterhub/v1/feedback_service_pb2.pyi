from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitPostEditsRequest(_message.Message):
    __slots__ = ("post_edits",)
    POST_EDITS_FIELD_NUMBER: _ClassVar[int]
    post_edits: _containers.RepeatedCompositeFieldContainer[PostEdit]
    def __init__(self, post_edits: _Optional[_Iterable[_Union[PostEdit, _Mapping[str, object]]]] = ...) -> None: ...

class PostEdit(_message.Message):
    __slots__ = ("source_text", "translated_text", "post_edited_text", "source_language_code", "target_language_code", "adapter_digest", "id", "weight")
    SOURCE_TEXT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    POST_EDITED_TEXT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    source_text: str
    translated_text: str
    post_edited_text: str
    source_language_code: str
    target_language_code: str
    adapter_digest: str
    id: str
    weight: float
    def __init__(self, source_text: _Optional[str] = ..., translated_text: _Optional[str] = ..., post_edited_text: _Optional[str] = ..., source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., adapter_digest: _Optional[str] = ..., id: _Optional[str] = ..., weight: _Optional[float] = ...) -> None: ...

class SubmitPostEditsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PostEditResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PostEditResult, _Mapping[str, object]]]] = ...) -> None: ...

class PostEditResult(_message.Message):
    __slots__ = ("status", "hter")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    HTER_FIELD_NUMBER: _ClassVar[int]
    status: _status_pb2.Status
    hter: float
    def __init__(self, status: _Optional[_Union[_status_pb2.Status, _Mapping[str, object]]] = ..., hter: _Optional[float] = ...) -> None: ...
