"""/v2/translate: every parameter of DeepL's is honoured, or refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError
from server.access.admission import HTML, PLAIN_TEXT
from server.core import Core
from server.http.bodies import Fields
from server.http.deepl.glossary_store import choice_of
from server.http.deepl.languages import code_of, tag_of
from server.http.endpoint import Call
from server.http.translating import translate_all
from server.messages import GlossaryChoice, SearchChoice, Split, TranslateCommand

_REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "context": "texts are translated by themselves; leave it out",
        "style_id": "there are no style rules; train an adapter for the style and name it "
        "(`adapter`, or `domain`)",
        "translation_memory_id": "there are no translation memories; train an adapter on yours",
        "translation_memory_threshold": "there are no translation memories",
        "custom_instructions": "the models take no instructions; train an adapter for the style",
    }
)
_FORMALITIES: Final = ("default", "prefer_more", "prefer_less")
"""Those that leave it to the server; there are no two ways of address to choose from."""
_SPLITS: Final[Mapping[str, Split]] = MappingProxyType(
    {"0": Split.OFF, "1": Split.SENTENCES_AND_LINES, "nonewlines": Split.SENTENCES}
)
QUALITY: Final = "quality_optimized"
LATENCY: Final = "latency_optimized"
_MODELS: Final[Mapping[str, str]] = MappingProxyType(
    {QUALITY: QUALITY, "prefer_quality_optimized": QUALITY, LATENCY: LATENCY}
)
_MAX_GLOSSARIES: Final = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for.

    Attributes:
        model: DeepL's name of the search that is used, "" where none was asked for.
        tags: The version of the handling of tags, "" where there are none.
        billed: Whether characters are told.
    """

    command: TranslateCommand
    model: str = ""
    tags: str = ""
    billed: bool = False


def refuse(fields: Fields) -> None:
    """Refuse what no translation here can honour.

    Raises:
        InputError: Names the parameter and the reason.
    """
    for name, reason in _REFUSED.items():
        if fields.values.get(name):
            raise InputError(f"Parameter {name!r} is not supported: {reason}.", field=name)
    formality = fields.text("formality").lower()
    if formality in ("more", "less"):
        raise InputError(
            "Target language does not support formality: the models have one form of address; "
            "leave formality out, use default or prefer_…, or train an adapter for the form",
            field="formality",
        )
    if formality and formality not in _FORMALITIES:
        raise InputError(
            f"Value for 'formality' is not known: {formality[:20]!r}.", field="formality"
        )


def choose(fields: Fields, name: str, known: Mapping[str, Any], default: str) -> Any:
    """Return what a value of a parameter means.

    Raises:
        InputError: It is none of the known ones.
    """
    value = fields.text(name, default) or default
    if value not in known:
        listed = ", ".join(known)
        raise InputError(
            f"Value {value[:20]!r} for {name!r} is not known; use {listed}", field=name
        )
    return known[value]


def languages_of(core: Core, fields: Fields) -> tuple[str, str]:
    """Return the tags of the languages that are asked for, "" for a source to be detected.

    Raises:
        InputError: One is missing, unknown or not served.
    """
    if not fields.text("target_lang"):
        raise InputError("Parameter 'target_lang' not specified.", field="target_lang")
    source = fields.text("source_lang")
    return (
        tag_of(core, "source_lang", source) if source else "",
        tag_of(core, "target_lang", fields.text("target_lang")),
    )


def glossary_of(core: Core, fields: Fields, source: str, target: str) -> GlossaryChoice:
    """Return the terms of the glossaries that are named. Blocks.

    Raises:
        InputError: The source language is not given, or a glossary has no such pair.
        GlossaryNotFoundError: There is none such.
    """
    names = [one for text in fields.texts("glossary_ids") for one in text.split(",") if one]
    if single := fields.text("glossary_id"):
        if names:
            raise InputError("Give 'glossary_id' or 'glossary_ids', not both.", field="glossary_id")
        names = [single]
    if not names:
        return GlossaryChoice()
    if not source:
        raise InputError("Use of a glossary requires 'source_lang'.", field="source_lang")
    if len(names) > _MAX_GLOSSARIES:
        raise InputError(
            f"{len(names)} glossaries; at most {_MAX_GLOSSARIES}", field="glossary_ids"
        )
    return choice_of(core, names, source, target)


async def _asked(call: Call) -> Asked:
    fields, core = call.fields, call.core
    if not fields.texts("text"):
        raise InputError("Parameter 'text' not specified.", field="text")
    refuse(fields)
    source, target = languages_of(core, fields)
    markup = choose(fields, "tag_handling", {"": PLAIN_TEXT, "html": HTML}, "")
    _check_tags(fields)
    version = choose(fields, "tag_handling_version", {"v1": "v1", "v2": "v2"}, "v2")
    split = choose(
        fields, "split_sentences", _SPLITS, "1" if markup == PLAIN_TEXT else "nonewlines"
    )
    model = choose(fields, "model_type", {"": "", **_MODELS}, "")
    fields.flag("preserve_formatting")  # nothing is corrected that it would preserve
    command = TranslateCommand(
        contents=fields.texts("text"),
        source=source,
        target=target,
        adapter=fields.text("adapter"),
        domain=fields.text("domain"),
        mime_type=markup,
        split=split,
        search=SearchChoice(beam_size=1) if model == LATENCY else SearchChoice(),
        glossary=await call.off_loop(glossary_of, core, fields, source, target),
    )
    tags = version if markup != PLAIN_TEXT else ""
    return Asked(command, model, tags, fields.flag("show_billed_characters"))


def _check_tags(fields: Fields) -> None:
    """Refuse what is about XML alone."""
    for name in ("non_splitting_tags", "splitting_tags", "ignore_tags"):
        if any(one.strip() for one in fields.texts(name)):
            raise InputError(f"Parameter {name!r} requires tag_handling=xml.", field=name)


async def translate(call: Call) -> Response:
    """Translate texts."""
    asked = await _asked(call)
    result = await translate_all(call, asked.command)
    translations = []
    for text, item in zip(asked.command.contents, result.items, strict=True):
        one: dict[str, object] = {
            "detected_source_language": code_of(asked.command.source or item.source),
            "text": item.text,
        }
        if asked.billed:
            one["billed_characters"] = len(text)
        if asked.model:
            one["model_type_used"] = asked.model
        if asked.tags:
            one["tag_handling_version"] = asked.tags
        translations.append(one)
    return JSONResponse({"translations": translations})
