"""What is kept of a post-edit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.languages import LanguagePair


@dataclass(frozen=True, slots=True)
class PostEdit:
    """A translation that somebody corrected, or found right.

    Attributes:
        source: What was translated.
        hypothesis: The translation as it was; "" where it is not known.
        correction: The translation as it should be.
        adapter_digest: The adapter that made the hypothesis; "" for the base model, and where
            there is no hypothesis.
        adapter: Its "name:version" when the edit came in; "" likewise.
    """

    pair: LanguagePair
    source: str
    hypothesis: str
    correction: str
    adapter_digest: str = ""
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a submission.

    Attributes:
        ids: Numbers of its edits in the store, in order.
        repeated: Whether it had been stored before; nothing was stored then.
    """

    ids: tuple[int, ...]
    repeated: bool


@dataclass(frozen=True, slots=True)
class StoredEdit:
    """A post-edit as the store has it.

    Attributes:
        tenant: Who sent it, "" where nobody is asked.
        base_digest: The base model of the server that took it.
        changes: Edits from the hypothesis to the correction as TER counts them, and `words` what
            it divides them by; None where they are not measured.
    """

    id: int
    edit: PostEdit
    tenant: str
    request_id: str
    received_at: datetime
    base_digest: str
    changes: float | None
    words: float | None

    @property
    def hter(self) -> float | None:
        """Return edits per word of the correction (Snover et al. 2006), None if not measured."""
        if self.changes is None or not self.words:
            return None
        return self.changes / self.words


@dataclass(frozen=True, slots=True)
class AdapterFeedback:
    """All post-edits of one adapter and pair.

    Attributes:
        adapter: "name:version", "base" for the base model, "" where it is not known.
        edits: How many there are, and `measured` how many have an HTER.
        hter: Edits over words, of all of them together; None where none is measured.
    """

    pair: str
    adapter: str
    adapter_digest: str
    edits: int
    measured: int
    hter: float | None


def submission_digest(edits: Sequence[PostEdit]) -> str:
    """Return what tells two submissions under one id apart: the texts, pairs and digests."""
    plain = [
        [str(one.pair), one.source, one.hypothesis, one.correction, one.adapter_digest]
        for one in edits
    ]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def text_digest(text: str) -> str:
    """Return what finds a text again in an index."""
    return hashlib.sha256(text.encode()).hexdigest()
