"""What LibreTranslate's operations take and answer: by name of the operation."""

from __future__ import annotations

from typing import Final

from server.http.schemas import (
    FILE,
    FLAG,
    NUMBER,
    OURS,
    TEXT,
    Schema,
    either,
    listed,
    record,
    words,
)

_KEY: Final = {"api_key": TEXT}
_LANGUAGES: Final = {"source": TEXT, "target": TEXT}
_FOUND: Final = record("confidence", "language", confidence=NUMBER, language=TEXT)
_NAMED: Final = record("code", "name", code=TEXT, name=TEXT)

REQUESTS: Final[dict[str, Schema]] = {
    "Translate": record(
        "q", "source", "target", q=either(TEXT, listed(TEXT)), **_LANGUAGES,
        format=words("text", "html"), alternatives=NUMBER, **OURS, **_KEY,
    ),
    "Detect": record("q", q=TEXT, **_KEY),
    "Languages": record(**_KEY),
    "Suggest": record("q", "s", "source", "target", q=TEXT, s=TEXT, **_LANGUAGES, **_KEY),
    "TranslateFile": record(
        "file", "source", "target", file=FILE, **_LANGUAGES, **OURS, **_KEY
    ),
}  # fmt: skip
REPLIES: Final[dict[str, Schema]] = {
    "Translate": record(
        "translatedText",
        translatedText=either(TEXT, listed(TEXT)),
        detectedLanguage=either(_FOUND, listed(_FOUND)),
        alternatives=either(listed(TEXT), listed(listed(TEXT))),
    ),
    "Detect": listed(_FOUND),
    "Languages": listed(
        record("code", "name", "targets", code=TEXT, name=TEXT, targets=listed(TEXT))
    ),
    "Suggest": record("success", success=FLAG),
    "TranslateFile": record("translatedFileUrl", translatedFileUrl=TEXT),
    "DownloadFile": FILE,
    "Settings": record(
        "apiKeys", "keyRequired", "charLimit", "filesTranslation", "supportedFilesFormat",
        "frontendTimeout", "suggestions", "language",
        apiKeys=FLAG, keyRequired=FLAG, charLimit=NUMBER, filesTranslation=FLAG,
        supportedFilesFormat=listed(TEXT), frontendTimeout=NUMBER, suggestions=FLAG,
        language=record("source", "target", source=_NAMED, target=_NAMED),
    ),
}  # fmt: skip
ERROR: Final = record("error", error=TEXT)
