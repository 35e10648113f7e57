"""Google's messages ↔ the server's own."""

from __future__ import annotations

from types import MappingProxyType

from hub.errors import InputError
from hub.glossaries import StoredGlossary, Term
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as pb
from hub.registry import AdapterVersion
from server.access.identity import current_identity
from server.grpc.cloud_translation.names import adapter_ref, check_parent, child, model_name
from server.messages import GlossaryChoice, TranslateCommand, TranslateResult

DEFAULT_MIME_TYPE = "text/html"
MAX_CONTENTS = 1024
"""Texts of one call, as there."""


def command_of(request: pb.TranslateTextRequest, deadline: float | None) -> TranslateCommand:
    """Read a request for texts, without its glossary.

    Raises:
        InputError: It asks for what is not served.
    """
    check_parent(request.parent)
    if len(request.contents) > MAX_CONTENTS:
        raise InputError(
            f"{len(request.contents)} texts in one request; at most {MAX_CONTENTS} are allowed",
            field="contents",
        )
    if request.transliteration_config.enable_transliteration:
        raise InputError(
            "transliteration is not served; leave transliteration_config out",
            field="transliteration_config",
        )
    identity = current_identity()
    return TranslateCommand(
        contents=tuple(request.contents),
        source=request.source_language_code,
        target=_target(request.target_language_code),
        adapter=adapter_ref(request.model),
        mime_type=request.mime_type or DEFAULT_MIME_TYPE,
        deadline=deadline,
        tenant=identity.tenant,
        permitted=identity.permit.patterns,
        labels=MappingProxyType(dict(request.labels)),
    )


def file_command_of(
    request: pb.TranslateDocumentRequest, deadline: float | None
) -> TranslateCommand:
    """Read a request for a file, without the file.

    Raises:
        InputError: It asks for what is not served.
    """
    check_parent(request.parent)
    if request.document_output_config.gcs_destination.output_uri_prefix:
        raise InputError(
            "the translation is sent back; leave document_output_config.gcs_destination out",
            field="document_output_config.gcs_destination",
        )
    identity = current_identity()
    return TranslateCommand(
        contents=(),
        source=request.source_language_code,
        target=_target(request.target_language_code),
        adapter=adapter_ref(request.model),
        deadline=deadline,
        glossary=glossary_of(request.glossary_config),
        tenant=identity.tenant,
        permitted=identity.permit.patterns,
        labels=MappingProxyType(dict(request.labels)),
    )


def _target(code: str) -> str:
    if not code:
        raise InputError(
            "target_language_code is empty; give the language to translate into",
            field="target_language_code",
        )
    return code


def glossary_of(config: pb.TranslateTextGlossaryConfig) -> GlossaryChoice:
    """Read which glossary is asked for.

    Raises:
        InputError: Its name is none, or it asks for what is not served.
    """
    if config.contextual_translation_enabled:
        raise InputError(
            "contextual translation is not served; terms are forced as they are stored",
            field="glossary_config.contextual_translation_enabled",
        )
    if not config.glossary:
        return GlossaryChoice()
    _, name = child(config.glossary, "glossaries", "glossary_config.glossary")
    return GlossaryChoice(stored=name, ignore_case=config.ignore_case)


def translations_of(
    result: TranslateResult,
    request: pb.TranslateTextRequest,
    glossary: pb.TranslateTextGlossaryConfig | None = None,
) -> list[pb.Translation]:
    """Write translations."""
    return [
        pb.Translation(
            translated_text=item.text,
            model=model_name(request.parent, item.adapter_version),
            detected_language_code="" if item.detected is None else item.detected.language,
            glossary_config=glossary,
        )
        for item in result.items
    ]


def model_of(parent: str, version: AdapterVersion) -> pb.Model:
    """Write an adapter as a model."""
    manifest = version.manifest
    message = pb.Model(
        name=model_name(parent, version.ref),
        display_name=version.name,
        source_language_code=manifest.language_pair.source,
        target_language_code=manifest.language_pair.target,
    )
    if manifest.corpus is not None:
        message.dataset = manifest.corpus.name
        message.train_example_count = manifest.corpus.train
        message.validate_example_count = manifest.corpus.dev
        message.test_example_count = manifest.corpus.test
    message.create_time.FromDatetime(version.created_at)
    message.update_time.FromDatetime(version.created_at)
    return message


def stored_of(parent: str, glossary: StoredGlossary) -> pb.Glossary:
    """Write a stored glossary."""
    message = pb.Glossary(
        name=f"{parent}/glossaries/{glossary.name}",
        display_name=glossary.ref,
        entry_count=len(glossary.terms),
    )
    message.language_pair.source_language_code = glossary.pair.source
    message.language_pair.target_language_code = glossary.pair.target
    message.submit_time.FromDatetime(glossary.created_at)
    message.end_time.FromDatetime(glossary.created_at)
    return message


def entry_of(name: str, number: int, glossary: StoredGlossary, term: Term) -> pb.GlossaryEntry:
    """Write a term, with the first of its forms."""
    message = pb.GlossaryEntry(name=f"{name}/glossaryEntries/{number}")
    pair = message.terms_pair
    pair.source_term.language_code = glossary.pair.source
    pair.source_term.text = term.source
    pair.target_term.language_code = glossary.pair.target
    pair.target_term.text = term.targets[0]
    return message
