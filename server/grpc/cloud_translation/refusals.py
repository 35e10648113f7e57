"""Methods of Google's service that have no counterpart here: refused by name, with the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from hub.errors import UnimplementedError

Method = Callable[[object, object], Awaitable[object]]

_FILES: Final = "it uses Google Cloud Storage; send the texts, or use `hub translate --file`"
_TERMS: Final = "a version of a glossary never changes; store all terms with CreateGlossary"
_TRAINING: Final = "adapters are trained apart from the server; use `hub train`"
_ADAPTIVE: Final = "translations are not adapted by examples; train an adapter with `hub train`"
_CORPORA: Final = "corpora are files of the training side; see `hub corpus`"

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "RomanizeText": "there is no model that romanizes",
        "DeleteModel": "versions of adapters are immutable",
        "CreateModel": _TRAINING,
        **dict.fromkeys(("BatchTranslateText", "BatchTranslateDocument"), _FILES),
        **dict.fromkeys(
            (
                "UpdateGlossary",
                "CreateGlossaryEntry",
                "UpdateGlossaryEntry",
                "DeleteGlossaryEntry",
            ),
            _TERMS,
        ),
        **dict.fromkeys(
            (
                "CreateDataset",
                "GetDataset",
                "ListDatasets",
                "DeleteDataset",
                "ImportData",
                "ExportData",
                "ListExamples",
            ),
            _CORPORA,
        ),
        **dict.fromkeys(
            (
                "CreateAdaptiveMtDataset",
                "DeleteAdaptiveMtDataset",
                "GetAdaptiveMtDataset",
                "ListAdaptiveMtDatasets",
                "AdaptiveMtTranslate",
                "GetAdaptiveMtFile",
                "DeleteAdaptiveMtFile",
                "ImportAdaptiveMtFile",
                "ListAdaptiveMtFiles",
                "ListAdaptiveMtSentences",
            ),
            _ADAPTIVE,
        ),
    }
)
"""Why each of them is refused."""


class Refusals:
    """The methods that are refused, by name; a servicer inherits them beside its own."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Method:
        """Return a method that refuses."""
        reason = REASONS.get(name)
        if reason is None:
            raise AttributeError(name)

        async def method(request: object, context: object) -> object:
            raise UnimplementedError(
                f"TranslationService.{name} is not served here: {reason}",
                metadata={"method": name},
            )

        return method
