"""Every error that the hub raises on purpose, each with its status.

    HubError                        code                 exit
    ├── InputError                  INVALID_ARGUMENT     64
    │   ├── LanguageError
    │   ├── BudgetError
    │   ├── RefError
    │   ├── TextError
    │   ├── DecodingError
    │   ├── SettingsError
    │   ├── KeyFileError
    │   ├── BodyTooLargeError
    │   ├── MediaTypeError
    │   ├── DocumentError                                65
    │   └── CorpusError                                  65
    ├── UnimplementedError          UNIMPLEMENTED        69
    ├── NotFoundError               NOT_FOUND            66
    │   ├── AdapterNotFoundError
    │   ├── GlossaryNotFoundError
    │   ├── BaseNotFoundError
    │   └── CorpusNotFoundError
    ├── IncompatibleAdapterError    FAILED_PRECONDITION  65
    │   ├── AdapterBindingError
    │   ├── WrongBaseError
    │   ├── PairMismatchError
    │   ├── QualityGateError
    │   └── EqualityGateError
    ├── PinLimitError               FAILED_PRECONDITION  75
    ├── FeedbackOffError            FAILED_PRECONDITION  69
    ├── VersionExistsError          ALREADY_EXISTS       73
    ├── AliasMovedError             ABORTED              75
    ├── CorruptError                DATA_LOSS            65
    │   ├── CorruptBlobError
    │   └── CorruptBaseError
    ├── OverloadedError             RESOURCE_EXHAUSTED   75
    │   ├── QueueFullError
    │   ├── QuotaError
    │   └── SlotsBusyError
    ├── StorageFullError            RESOURCE_EXHAUSTED   74
    ├── CredentialsError            UNAUTHENTICATED      77
    ├── ScopeError                  PERMISSION_DENIED    77
    ├── RegistryAccessError         PERMISSION_DENIED    77
    ├── BaseAccessError             PERMISSION_DENIED    77
    ├── RegistryBusyError           UNAVAILABLE          75
    ├── DeadlineError               DEADLINE_EXCEEDED    75
    │   └── DeadlineUnreachableError
    ├── RequestCancelledError       CANCELLED            130
    ├── UnavailableError            UNAVAILABLE          69
    │   ├── ServerUnreachableError
    │   ├── BaseUnavailableError
    │   ├── DrainingError
    │   └── PortInUseError                               71
    ├── EngineError                 INTERNAL             70
    │   ├── NonFiniteRowError
    │   └── TrainingDivergedError
    └── InterruptedRunError         CANCELLED            130

`code` is a gRPC status name, `exit_code` a process exit in the tradition of
sysexits.h, `reason` the machine-readable cause that travels in ErrorInfo.
A subclass inherits code and exit code; its reason is always its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Final

MAX_CONTENTS: Final = "max_contents"
"""Key of the metadata with the texts that a call may have, in the error of a call with more."""

RETRY_DELAY: Final = "retry_delay_ms"
"""Key of the metadata with the milliseconds after which a later attempt may succeed."""


class HubError(Exception):
    """Carry a message for people and a status for machines.

    Attributes:
        field: Dotted path of the input at fault, "" when there is none.
        metadata: Further facts, as strings, for ErrorInfo.
    """

    code: ClassVar[str] = "UNKNOWN"
    exit_code: ClassVar[int] = 70
    reason: ClassVar[str] = "HUB_ERROR"

    def __init__(
        self, message: str, *, field: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        """Take the message: the value at fault, its limit and the remedy."""
        super().__init__(message)
        self.field = field
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))

    @property
    def message(self) -> str:
        """Return the text for people."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Survive pickling, keyword fields included."""
        return _rebuild, (type(self), self.message, self.field, dict(self.metadata))


def _rebuild(kind: type[HubError], message: str, field: str, metadata: dict[str, str]) -> HubError:
    return kind(message, field=field, metadata=metadata)


class InputError(HubError):
    """What the caller gave cannot be accepted."""

    code = "INVALID_ARGUMENT"
    exit_code = 64
    reason = "INVALID_INPUT"


class LanguageError(InputError):
    """A language is unknown, ambiguous, unsupported or equal to its partner."""

    reason = "INVALID_LANGUAGE"


class BudgetError(InputError):
    """A budget is not a fraction, or too small for the method."""

    reason = "INVALID_BUDGET"


class RefError(InputError):
    """A ref does not name an adapter in any known form."""

    reason = "INVALID_REF"


class TextError(InputError):
    """A text is empty, too long or not valid Unicode."""

    reason = "INVALID_TEXT"


class DecodingError(InputError):
    """A decoding option is out of range."""

    reason = "INVALID_DECODING"


class SettingsError(InputError):
    """A setting is unknown or has a bad value."""

    reason = "INVALID_SETTING"


class KeyFileError(InputError):
    """The file of bearer keys or of token keys cannot be read, or is not valid."""

    reason = "INVALID_KEY_FILE"


class BodyTooLargeError(InputError):
    """A body or an upload has more bytes than the server takes."""

    reason = "BODY_TOO_LARGE"


class MediaTypeError(InputError):
    """A body or a document is of a type that is not read."""

    reason = "UNSUPPORTED_MEDIA_TYPE"


class CorpusError(InputError):
    """A corpus cannot be read, or holds too little."""

    exit_code = 65
    reason = "INVALID_CORPUS"


class UnimplementedError(HubError):
    """An API has it, and this server does not, or not with these settings."""

    code = "UNIMPLEMENTED"
    exit_code = 69
    reason = "UNIMPLEMENTED"


class DocumentError(InputError):
    """A file that is to be translated cannot be read, or is too large."""

    exit_code = 65
    reason = "INVALID_DOCUMENT"


class NotFoundError(HubError):
    """What the caller named does not exist."""

    code = "NOT_FOUND"
    exit_code = 66
    reason = "NOT_FOUND"


class AdapterNotFoundError(NotFoundError):
    """No adapter, alias, version or digest answers to the ref."""

    reason = "ADAPTER_NOT_FOUND"


class GlossaryNotFoundError(NotFoundError):
    """No stored glossary has the name, or the version."""

    reason = "GLOSSARY_NOT_FOUND"


class BaseNotFoundError(NotFoundError):
    """No base model answers to the name or path."""

    reason = "BASE_NOT_FOUND"


class CorpusNotFoundError(NotFoundError):
    """No file answers to the name or path of a corpus."""

    reason = "CORPUS_NOT_FOUND"


class IncompatibleAdapterError(HubError):
    """An adapter is well-formed but must not be used here."""

    code = "FAILED_PRECONDITION"
    exit_code = 65
    reason = "ADAPTER_INCOMPATIBLE"


class AdapterBindingError(IncompatibleAdapterError):
    """A tensor of the adapter does not bind to a site of the base."""

    reason = "ADAPTER_DOES_NOT_BIND"


class WrongBaseError(IncompatibleAdapterError):
    """The adapter was made for another base."""

    reason = "WRONG_BASE"


class PairMismatchError(IncompatibleAdapterError):
    """The adapter was made for another language pair."""

    reason = "PAIR_MISMATCH"


class QualityGateError(IncompatibleAdapterError):
    """The adapter does not improve on the base enough to be published."""

    reason = "QUALITY_GATE"


class EqualityGateError(IncompatibleAdapterError):
    """The serving engine does not reproduce the trained model."""

    reason = "EQUALITY_GATE"


class PinLimitError(HubError):
    """Pinned adapters would take more memory than they may; one has to be unloaded first."""

    code = "FAILED_PRECONDITION"
    exit_code = 75
    reason = "PIN_LIMIT"


class FeedbackOffError(HubError):
    """The server keeps no post-edits."""

    code = "FAILED_PRECONDITION"
    exit_code = 69
    reason = "FEEDBACK_OFF"


class VersionExistsError(HubError):
    """A version is immutable and exists with other content."""

    code = "ALREADY_EXISTS"
    exit_code = 73
    reason = "VERSION_EXISTS"


class AliasMovedError(HubError):
    """An alias no longer points where the caller last saw it."""

    code = "ABORTED"
    exit_code = 75
    reason = "ALIAS_MOVED"


class CorruptError(HubError):
    """Stored bytes are not what their digest promises."""

    code = "DATA_LOSS"
    exit_code = 65
    reason = "CORRUPT"


class CorruptBlobError(CorruptError):
    """A blob of the registry is damaged."""

    reason = "CORRUPT_BLOB"


class CorruptBaseError(CorruptError):
    """A file of a base model is damaged."""

    reason = "CORRUPT_BASE"


class OverloadedError(HubError):
    """The server has no room now; a later attempt may succeed."""

    code = "RESOURCE_EXHAUSTED"
    exit_code = 75
    reason = "OVERLOADED"


class QueueFullError(OverloadedError):
    """The request queue is at its limit."""

    reason = "QUEUE_FULL"


class QuotaError(OverloadedError):
    """A tenant has used up what it may ask for in this time."""

    reason = "QUOTA_EXCEEDED"


class SlotsBusyError(OverloadedError):
    """Every adapter slot is pinned by running requests."""

    reason = "SLOTS_BUSY"


class StorageFullError(HubError):
    """The disk is full; nothing was published."""

    code = "RESOURCE_EXHAUSTED"
    exit_code = 74
    reason = "STORAGE_FULL"


class CredentialsError(HubError):
    """A call carries no credentials, or none that are valid."""

    code = "UNAUTHENTICATED"
    exit_code = 77
    reason = "INVALID_CREDENTIALS"


class ScopeError(HubError):
    """The credentials are valid and do not allow the call."""

    code = "PERMISSION_DENIED"
    exit_code = 77
    reason = "SCOPE_MISSING"


class RegistryAccessError(HubError):
    """The registry folder cannot be read or written."""

    code = "PERMISSION_DENIED"
    exit_code = 77
    reason = "REGISTRY_ACCESS"


class BaseAccessError(HubError):
    """A base model may not be fetched before its licence is accepted."""

    code = "PERMISSION_DENIED"
    exit_code = 77
    reason = "BASE_ACCESS"


class RegistryBusyError(HubError):
    """Another process holds the registry's catalog."""

    code = "UNAVAILABLE"
    exit_code = 75
    reason = "REGISTRY_BUSY"


class DeadlineError(HubError):
    """The request's time ran out."""

    code = "DEADLINE_EXCEEDED"
    exit_code = 75
    reason = "DEADLINE_EXCEEDED"


class DeadlineUnreachableError(DeadlineError):
    """The request could not be finished before its deadline, and was not begun."""

    reason = "DEADLINE_UNREACHABLE"


class RequestCancelledError(HubError):
    """The caller withdrew the request."""

    code = "CANCELLED"
    exit_code = 130
    reason = "REQUEST_CANCELLED"


class UnavailableError(HubError):
    """A service cannot be reached or does not accept work."""

    code = "UNAVAILABLE"
    exit_code = 69
    reason = "UNAVAILABLE"


class ServerUnreachableError(UnavailableError):
    """No server answers at the address."""

    reason = "SERVER_UNREACHABLE"


class BaseUnavailableError(UnavailableError):
    """A base model cannot be fetched now, and is not in the cache."""

    reason = "BASE_UNAVAILABLE"


class DrainingError(UnavailableError):
    """The server is shutting down."""

    reason = "DRAINING"


class PortInUseError(UnavailableError):
    """Another process listens on the port."""

    exit_code = 71
    reason = "PORT_IN_USE"


class EngineError(HubError):
    """The engine failed; the fault is ours, not the caller's."""

    code = "INTERNAL"
    exit_code = 70
    reason = "ENGINE_FAILED"


class NonFiniteRowError(EngineError):
    """A row of a batch became NaN or infinite."""

    reason = "NON_FINITE_ROW"


class TrainingDivergedError(EngineError):
    """The training loss became NaN or infinite."""

    reason = "TRAINING_DIVERGED"


class InterruptedRunError(HubError):
    """A run was stopped by the user; what was trained is kept."""

    code = "CANCELLED"
    exit_code = 130
    reason = "RUN_INTERRUPTED"
