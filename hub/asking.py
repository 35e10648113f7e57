"""What a client may ask for beside texts and languages, and how it is written onto the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.replies import Decoding, decoding_message

Splitting = Literal["sentences", "lines", "off"]

_SPLITS: Final = {
    "sentences": pb.SPLIT_SENTENCES_ON,
    "lines": pb.SPLIT_SENTENCES_LINES,
    "off": pb.SPLIT_SENTENCES_OFF,
}


@dataclass(frozen=True, slots=True)
class Handling:
    """How texts are taken.

    Attributes:
        mime_type: "text/plain" or "text/html".
        split: Where texts are split: between sentences, at line breaks, or nowhere.
        refuse_long: Refuse a sentence that is longer than the model takes.
        keep: Spans of the source that stay as they are.
        glossary: A stored glossary, "name" or "name:version".
        terms: Source terms and the forms of which one must be used.
        ignore_case: Find terms in any case.
        check_terms: Report missing terms only, do not make the search use them.
        token_scores: Return output tokens with their log-probabilities.
    """

    mime_type: str = "text/plain"
    split: Splitting = "sentences"
    refuse_long: bool = False
    keep: tuple[str, ...] = ()
    glossary: str = ""
    terms: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    ignore_case: bool = False
    check_terms: bool = False
    token_scores: bool = False


@dataclass(frozen=True, slots=True)
class Routing:
    """Who translates, where no adapter is named.

    Attributes:
        domain: What texts the adapter shall be for.
        require_adapter: Refuse rather than fall back.
        batch: Let interactive requests go first.
        key: While a canary runs, requests with the same key get the same version; "" for the texts.
    """

    domain: str = ""
    require_adapter: bool = False
    batch: bool = False
    key: str = ""


def write_handling(request: pb.TranslateTextRequest, handling: Handling) -> None:
    """Write how texts are taken."""
    request.mime_type = handling.mime_type
    request.split_sentences = _SPLITS[handling.split]
    if handling.refuse_long:
        request.long_sentences = pb.LONG_SENTENCES_REFUSE
    request.do_not_translate.extend(handling.keep)
    request.token_scores = handling.token_scores
    if not handling.glossary and not handling.terms:
        return
    config = request.glossary_config
    config.glossary = handling.glossary
    config.ignore_case = handling.ignore_case
    config.mode = pb.GLOSSARY_MODE_CHECK if handling.check_terms else pb.GLOSSARY_MODE_FORCE
    for source, targets in handling.terms.items():
        config.terms.add(source=source, targets=targets)


def write_routing(request: pb.TranslateTextRequest, routing: Routing) -> None:
    """Write who translates."""
    request.domain = routing.domain
    request.require_adapter = routing.require_adapter
    request.routing_key = routing.key
    if routing.batch:
        request.priority = pb.PRIORITY_BATCH


def request_of(
    source: str,
    target: str,
    adapter: str,
    decoding: Decoding | None,
    num_alternatives: int,
    handling: Handling | None,
    routing: Routing | None,
) -> pb.TranslateTextRequest:
    """Return a request without its texts; for the rest see `HubClient.translate`."""
    request = pb.TranslateTextRequest(
        source_language_code=source,
        target_language_code=target,
        adapter=adapter,
        decoding=decoding_message(decoding or Decoding()),
        num_alternatives=num_alternatives,
    )
    write_handling(request, handling or Handling())
    write_routing(request, routing or Routing())
    return request
