"""/v2/translate: every parameter of DeepL's is honoured, or refused by its name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError
from server.access.admission import HTML, PLAIN_TEXT
from server.core import Core
from server.http.bodies import Fields
from server.http.deepl.glossary_store import choice_of
from server.http.deepl.languages import code_of, tag_of
from server.http.deepl.tagged import translate_xml
from server.http.deepl.xml_text import TagRules
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
MODELS: Final[Mapping[str, str]] = MappingProxyType(
    {QUALITY: QUALITY, "prefer_quality_optimized": QUALITY, LATENCY: LATENCY}
)
_MIME_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"": PLAIN_TEXT, "html": HTML, "xml": HTML}
)
_MAX_GLOSSARIES: Final = 5


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


async def glossary_of(call: Call, source: str, target: str) -> GlossaryChoice:
    """Return the terms of the glossaries that are named.

    Raises:
        InputError: The source language is not given, or a glossary has no such pair.
        GlossaryNotFoundError: There is none such.
    """
    fields = call.fields
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
    return await call.off_loop(choice_of, call.core, names, source, target)


async def command_of(call: Call, markup: str) -> TranslateCommand:
    """Read how texts are to be translated.

    Args:
        call: Its fields say.
        markup: What `tag_handling` is.

    Raises:
        InputError: A parameter is missing, is refused, or has a value that is not known.
        GlossaryNotFoundError: A glossary does not exist.
    """
    fields, core = call.fields, call.core
    if not fields.texts("text"):
        raise InputError("Parameter 'text' not specified.", field="text")
    refuse(fields)
    source, target = languages_of(core, fields)
    lines = "nonewlines" if markup else "1"  # in markup a line break is a blank
    model = choose(fields, "model_type", {"": "", **MODELS}, "")
    fields.flag("preserve_formatting")  # nothing is corrected that it would preserve
    return TranslateCommand(
        contents=fields.texts("text"),
        source=source,
        target=target,
        adapter=fields.text("adapter"),
        domain=fields.text("domain"),
        mime_type=_MIME_TYPES[markup],
        split=choose(fields, "split_sentences", _SPLITS, lines),
        search=SearchChoice(beam_size=1) if model == LATENCY else SearchChoice(),
        glossary=await glossary_of(call, source, target),
    )


def tag_rules(fields: Fields, markup: str) -> TagRules:
    """Return which tags split a text of XML.

    Raises:
        InputError: Some are named where there is no XML.
    """
    names = ("splitting_tags", "non_splitting_tags", "ignore_tags")
    named = [frozenset(_listed(fields, name)) for name in names]
    for name, tags in zip(names, named, strict=True):
        if tags and markup != "xml":
            raise InputError(f"Parameter {name!r} requires tag_handling=xml.", field=name)
    return TagRules(fields.flag("outline_detection", True), *named)


def _listed(fields: Fields, name: str) -> list[str]:
    parts = [one.strip() for text in fields.texts(name) for one in text.split(",")]
    return [one for one in parts if one]


async def translate(call: Call) -> Response:
    """Translate texts."""
    fields = call.fields
    markup = choose(fields, "tag_handling", {"": "", "html": "html", "xml": "xml"}, "")
    version = choose(fields, "tag_handling_version", {"v1": "v1", "v2": "v2"}, "v2")
    rules, command = tag_rules(fields, markup), await command_of(call, markup)
    if markup == "xml":
        found = await translate_xml(call, command, rules)
    else:
        items = (await translate_all(call.core, command)).items
        found = [(item.source, item.text) for item in items]
    same: dict[str, object] = {}
    if model := fields.text("model_type"):
        same["model_type_used"] = MODELS[model]
    if markup:
        same["tag_handling_version"] = version
    billed = fields.flag("show_billed_characters")
    translations = [
        {"detected_source_language": code_of(command.source or source), "text": text}
        | ({"billed_characters": len(content)} if billed else {})
        | same
        for content, (source, text) in zip(command.contents, found, strict=True)
    ]
    return JSONResponse({"translations": translations})
