"""Corrected translations, on their way to the store of post-edits."""

from __future__ import annotations

from typing import Final

from hub.feedback.location import OFF
from server.access.identity import Identity
from server.core import Core
from server.quality.feedback import Correction
from server.web.requests import AskedCorrection

SCOPE: Final = "feedback"


def may_correct(core: Core, identity: Identity) -> bool:
    """Tell whether corrections of a caller are kept; the page offers none where they are not."""
    return core.settings.feedback_url != OFF and SCOPE in identity.scopes


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
