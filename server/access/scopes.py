"""Which scope each method asks for. A method that is not in the table is denied to everybody."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

OPEN: Final = ""
"""Of methods that answer anybody: probes have no credentials."""

_TRANSLATE: Final = (
    "adapterhub.v1.TranslationService/TranslateText",
    "adapterhub.v1.TranslationService/StreamTranslateText",
    "adapterhub.v1.TranslationService/DetectLanguage",
    "adapterhub.v1.TranslationService/ListLanguagePairs",
    "adapterhub.v1.TranslationService/ListRoutes",
    "adapterhub.v1.AdapterService/ListAdapters",
    "adapterhub.v1.AdapterService/GetAdapter",
    "adapterhub.v1.GlossaryService/GetGlossary",
    "adapterhub.v1.GlossaryService/ListGlossaries",
    "http.LibreTranslate/Translate",
    "http.LibreTranslate/Detect",
    "http.LibreTranslate/Languages",
    "http.Page/Page",
    "http.Page/Adapters",
    "http.Page/Translate",
    "http.Page/Alternatives",
    "http.LibreTranslate/TranslateFile",
    "http.DeepL/Translate",
    "http.DeepL/Document",
    "http.DeepL/Languages",
    "http.DeepL/Usage",
    "http.DeepL/GetGlossary",
)
_FEEDBACK: Final = (
    "adapterhub.v1.FeedbackService/SubmitPostEdits",
    "http.LibreTranslate/Suggest",
    "http.Page/Feedback",
)
_GOOGLE: Final = "google.cloud.translation.v3.TranslationService"
_GOOGLE_TRANSLATE: Final = (
    "TranslateText",
    "DetectLanguage",
    "GetSupportedLanguages",
    "TranslateDocument",
    "ListGlossaries",
    "GetGlossary",
    "ListGlossaryEntries",
    "GetGlossaryEntry",
    "ListModels",
    "GetModel",
)
_GOOGLE_ADMIN: Final = ("CreateGlossary", "DeleteGlossary")
_GOOGLE_REFUSED: Final = (  # to everybody who may translate, by the service itself
    "RomanizeText BatchTranslateText BatchTranslateDocument UpdateGlossary CreateGlossaryEntry "
    "UpdateGlossaryEntry DeleteGlossaryEntry CreateDataset GetDataset ListDatasets DeleteDataset "
    "ImportData ExportData ListExamples CreateModel DeleteModel CreateAdaptiveMtDataset "
    "DeleteAdaptiveMtDataset GetAdaptiveMtDataset ListAdaptiveMtDatasets AdaptiveMtTranslate "
    "GetAdaptiveMtFile DeleteAdaptiveMtFile ImportAdaptiveMtFile ListAdaptiveMtFiles "
    "ListAdaptiveMtSentences"
)
_ADMIN: Final = (
    "adapterhub.v1.AdapterService/ListLoadedAdapters",
    "adapterhub.v1.AdapterService/LoadAdapter",
    "adapterhub.v1.AdapterService/UnloadAdapter",
    "adapterhub.v1.AdapterService/SetAlias",
    "adapterhub.v1.AdapterService/ListCanaries",
    "adapterhub.v1.AdapterService/EndCanary",
    "adapterhub.v1.GlossaryService/PutGlossary",
    "adapterhub.v1.GlossaryService/DeleteGlossary",
    "http.Page/Live",
    "http.DeepL/PutGlossary",
    "http.DeepL/DeleteGlossary",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)
_OPEN: Final = (
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.health.v1.Health/List",
    "http.Health/Live",
    "http.Health/Ready",
    "http.Page/File",
    "http.Health/Spec",
    "http.LibreTranslate/Settings",
    "http.LibreTranslate/DownloadFile",
)

SCOPE_OF_METHOD: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(_TRANSLATE, "translate")
    | dict.fromkeys(_FEEDBACK, "feedback")
    | dict.fromkeys((f"{_GOOGLE}/{one}" for one in _GOOGLE_TRANSLATE), "translate")
    | dict.fromkeys((f"{_GOOGLE}/{one}" for one in _GOOGLE_REFUSED.split()), "translate")
    | dict.fromkeys((f"{_GOOGLE}/{one}" for one in _GOOGLE_ADMIN), "admin")
    | {"google.longrunning.Operations/GetOperation": "translate"}
    | dict.fromkeys(_ADMIN, "admin")
    | dict.fromkeys(_OPEN, OPEN)
)
"""Scopes by "package.Service/Method"."""
