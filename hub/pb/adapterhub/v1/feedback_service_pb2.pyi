from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SubmitPostEditsRequest(_message.Message):
    __slots__ = ("post_edits", "request_id")
    POST_EDITS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    post_edits: _containers.RepeatedCompositeFieldContainer[PostEdit]
    request_id: str
    def __init__(self, post_edits: _Optional[_Iterable[_Union[PostEdit, _Mapping[str, object]]]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PostEdit(_message.Message):
    __slots__ = ("source_language_code", "target_language_code", "source_text", "translated_text", "post_edited_text", "adapter_digest")
    SOURCE_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANGUAGE_CODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TEXT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_TEXT_FIELD_NUMBER: _ClassVar[int]
    POST_EDITED_TEXT_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    source_language_code: str
    target_language_code: str
    source_text: str
    translated_text: str
    post_edited_text: str
    adapter_digest: str
    def __init__(self, source_language_code: _Optional[str] = ..., target_language_code: _Optional[str] = ..., source_text: _Optional[str] = ..., translated_text: _Optional[str] = ..., post_edited_text: _Optional[str] = ..., adapter_digest: _Optional[str] = ...) -> None: ...

class SubmitPostEditsResponse(_message.Message):
    __slots__ = ("stored", "request_id", "repeated_call")
    STORED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REPEATED_CALL_FIELD_NUMBER: _ClassVar[int]
    stored: int
    request_id: str
    repeated_call: bool
    def __init__(self, stored: _Optional[int] = ..., request_id: _Optional[str] = ..., repeated_call: _Optional[bool] = ...) -> None: ...
