"""What DeepL's operations take and answer: by the name of what is said."""

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

_PAIR: Final = {"source_lang": TEXT, "target_lang": TEXT}
_ENTRIES: Final = {"entries": TEXT, "entries_format": words("tsv", "csv")}
_GLOSSARIES: Final = {"glossary_id": TEXT, "glossary_ids": either(TEXT, listed(TEXT))}
_TAGS: Final = either(TEXT, listed(TEXT))
_DICTIONARY: Final = record(*_PAIR, "entries", **_PAIR, **_ENTRIES)
_COUNTED: Final = record(*_PAIR, "entry_count", **_PAIR, entry_count=NUMBER)
_ONE: Final = record(
    "glossary_id", "name", "ready", *_PAIR, "creation_time", "entry_count",
    glossary_id=TEXT, name=TEXT, ready=FLAG, **_PAIR, creation_time=TEXT, entry_count=NUMBER,
)  # fmt: skip
_MANY: Final = record(
    "glossary_id", "name", "dictionaries", "creation_time",
    glossary_id=TEXT, name=TEXT, dictionaries=listed(_COUNTED), creation_time=TEXT,
)  # fmt: skip

TRANSLATE: Final = record(
    "text", "target_lang", text=either(TEXT, listed(TEXT)), **_PAIR,
    split_sentences=words("0", "1", "nonewlines"), preserve_formatting=FLAG,
    formality=words("default", "prefer_more", "prefer_less"), **_GLOSSARIES,
    tag_handling=words("html", "xml"), tag_handling_version=words("v1", "v2"),
    outline_detection=FLAG, splitting_tags=_TAGS, non_splitting_tags=_TAGS, ignore_tags=_TAGS,
    model_type=words("quality_optimized", "prefer_quality_optimized", "latency_optimized"),
    show_billed_characters=FLAG, **OURS,
)  # fmt: skip
TRANSLATED: Final = record(
    "translations",
    translations=listed(
        record(
            "detected_source_language", "text",
            detected_source_language=TEXT, text=TEXT, billed_characters=NUMBER,
            model_type_used=TEXT, tag_handling_version=TEXT,
        )
    ),
)  # fmt: skip
LANGUAGES: Final = listed(
    record("language", "name", language=TEXT, name=TEXT, supports_formality=FLAG)
)
LANGUAGES_OF_RESOURCE: Final = listed(
    record(
        "lang", "name", "usable_as_source", "usable_as_target", "status", "features",
        lang=TEXT, name=TEXT, usable_as_source=FLAG, usable_as_target=FLAG, status=TEXT,
        features={"type": "object"},
    )
)  # fmt: skip
RESOURCES: Final = listed(record("name", "features", name=TEXT, features=listed(record())))
USAGE: Final = record(
    "character_count", "character_limit", character_count=NUMBER, character_limit=NUMBER
)
GLOSSARY_PAIRS: Final = record("supported_languages", supported_languages=listed(record(**_PAIR)))
PUT_ONE: Final = record("name", *_PAIR, "entries", name=TEXT, **_PAIR, **_ENTRIES)
ONE: Final = _ONE
ONES: Final = record("glossaries", glossaries=listed(_ONE))
PUT_MANY: Final = record("name", "dictionaries", name=TEXT, dictionaries=listed(_DICTIONARY))
EDIT: Final = record(name=TEXT, dictionaries=listed(_DICTIONARY))
MANY: Final = _MANY
MANIES: Final = record("glossaries", glossaries=listed(_MANY))
DICTIONARY: Final = _DICTIONARY
COUNTED: Final = _COUNTED
PAIR: Final = record(*_PAIR, **_PAIR)
DICTIONARIES: Final = record("dictionaries", dictionaries=listed(_DICTIONARY))
UPLOAD: Final = record(
    "file", "target_lang", file=FILE, filename=TEXT, **_PAIR, output_format=TEXT,
    formality=words("default", "prefer_more", "prefer_less"), **_GLOSSARIES, **OURS,
)  # fmt: skip
UPLOADED: Final = record("document_id", "document_key", document_id=TEXT, document_key=TEXT)
KEY: Final = record("document_key", document_key=TEXT)
STATUS: Final = record(
    "document_id", "status", document_id=TEXT,
    status=words("queued", "translating", "done", "error"), seconds_remaining=NUMBER,
    billed_characters=NUMBER, error_message=TEXT,
)  # fmt: skip
ERROR: Final[Schema] = record("message", message=TEXT, detail=TEXT)
