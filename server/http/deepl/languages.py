"""DeepL's codes of languages, and the lists of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.responses import JSONResponse, Response

from hub.errors import InputError, LanguageError
from server.core import Core
from server.http.endpoint import Call
from server.http.languages import ServedLanguages, language_name, served_tag

_VARIETIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"en": ("en-GB", "en-US"), "pt": ("pt-BR", "pt-PT")}
)
"""Targets that DeepL's clients ask for by variety; they refuse a bare EN and PT."""
_STABLE: Final = {"status": "stable"}
RESOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "translate_text": ("tag_handling", "glossary", "auto_detection"),
        "translate_document": ("glossary", "auto_detection"),
        "glossary": (),
    }
)
"""What of DeepL's is served, with the features that languages have."""
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tag_handling": ("needs_source_support", "needs_target_support"),
        "glossary": ("needs_source_support", "needs_target_support"),
        "auto_detection": ("needs_source_support",),
    }
)


def tag_of(core: Core, name: str, code: str) -> str:
    """Return the language tag of a code.

    Args:
        core: Knows the languages that are served.
        name: Of the parameter, for the message.
        code: In any case, as "EN-us".

    Raises:
        InputError: The language is unknown, or is not served.
    """
    try:
        return served_tag(core, code)
    except LanguageError as error:
        raise InputError(
            f"{name} {code[:20]!r} is not supported: {error.message}", field=name
        ) from None


def code_of(tag: str) -> str:
    """Return DeepL's code of a language tag: its capitals."""
    return tag.upper()


def sources(core: Core) -> list[str]:
    """Return the tags of the source languages, sorted."""
    return sorted(ServedLanguages.of(core).sources)


def targets(core: Core) -> list[str]:
    """Return the tags of the target languages, sorted, by variety where DeepL has them so."""
    found = ServedLanguages.of(core).targets
    return sorted({one for tag in found for one in _VARIETIES.get(tag, (tag,))})


async def languages(call: Call) -> Response:
    """List languages (/v2/languages)."""
    kind = call.fields.text("type", "source") or "source"
    if kind == "source":
        return JSONResponse([_named(tag) for tag in sources(call.core)])
    if kind != "target":
        raise InputError(f"type {kind[:20]!r} is not known; use source or target", field="type")
    return JSONResponse([_named(tag) | {"supports_formality": False} for tag in targets(call.core)])


def _named(tag: str) -> dict[str, object]:
    return {"language": code_of(tag), "name": language_name(tag)}


async def languages_of_resource(call: Call) -> Response:
    """List languages with what can be done with them (/v3/languages)."""
    resource = call.fields.text("resource")
    features = RESOURCES.get(resource)
    if features is None:
        raise InputError(
            f"resource {resource[:40]!r} is not served; there is {', '.join(RESOURCES)}",
            field="resource",
        )
    core = call.core
    from_, into = set(sources(core)), set(targets(core))
    return JSONResponse(
        [
            {
                "lang": tag,
                "name": language_name(tag),
                "usable_as_source": tag in from_,
                "usable_as_target": tag in into or (resource == "glossary" and tag in from_),
                "status": "stable",
                "features": dict.fromkeys(features, _STABLE),
            }
            for tag in sorted(from_ | into)
        ]
    )


async def resources(call: Call) -> Response:
    """List what is served (/v3/languages/resources)."""
    return JSONResponse(
        [
            {
                "name": name,
                "features": [{"name": one, **dict.fromkeys(_NEEDS[one], True)} for one in features],
            }
            for name, features in RESOURCES.items()
        ]
    )
