"""Corrected translations, on their way to the store of post-edits."""

from __future__ import annotations

from hub.feedback.location import OFF
from server.core import Core
from server.quality.feedback import Correction
from server.web.requests import AskedCorrection


def keeps_corrections(core: Core) -> bool:
    """Tell whether this server keeps corrections; the page offers none where it does not."""
    return core.settings.feedback_url != OFF


def correction_of(asked: AskedCorrection) -> Correction:
    """Return a correction as the application has it."""
    return Correction(
        source_language=asked.source,
        target_language=asked.target,
        source=asked.source_text,
        correction=asked.post_edited_text,
        hypothesis=asked.translated_text,
        adapter_digest=asked.adapter_digest,
    )


def characters_of(asked: AskedCorrection) -> int:
    """Return the characters that count towards the caller's quota, as at the gRPC door."""
    texts = (asked.source_text, asked.translated_text, asked.post_edited_text)
    return sum(map(len, texts))
