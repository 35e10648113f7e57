"""The use case: corrections of translations → the store, and HTER by adapter.

Every door that takes corrections calls `FeedbackDesk.submit`.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from hub.errors import (
    FeedbackOffError,
    HubError,
    InputError,
    LanguageError,
    PairMismatchError,
    TextError,
)
from hub.feedback.location import OFF, feedback_url
from hub.feedback.records import PostEdit, Receipt
from hub.feedback.store import FeedbackStore
from hub.languages import LanguagePair
from hub.refs import is_digest
from hub.registry import AdapterVersion
from hub.settings import Settings
from server.access.admission import Limits, check_text
from server.access.identity import Identity
from server.quality.hter import HterMeter, Measured
from server.telemetry.metrics import BASE_LABEL, Metrics

_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Correction:
    """One correction as a caller sends it; see PostEdit of the wire contract."""

    source_language: str
    target_language: str
    source: str
    correction: str
    hypothesis: str = ""
    adapter_digest: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a call."""

    request_id: str
    receipt: Receipt


class FeedbackDesk:
    """Takes corrections; its store and its meter are opened by the first one."""

    def __init__(
        self,
        settings: Settings,
        base_digest: str,
        resolve: Callable[[str], AdapterVersion],
        limits: Callable[[], Limits],
        metrics: Metrics,
    ) -> None:
        """Prepare; nothing is opened.

        Args:
            settings: Say where the store is.
            base_digest: The base of this server.
            resolve: Digest → version; raises HubError.
            limits: Returns those on texts, as they are now.
            metrics: Where to count.
        """
        self._settings = settings
        self._base_digest = base_digest
        self._resolve = resolve
        self._limits = limits
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        self._store: FeedbackStore | None = None
        self.meter = HterMeter(self._note)

    def close(self) -> None:
        """Let go of the store."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.meter.close()
        if self._store is not None:
            self._store.close()

    async def submit(
        self, corrections: Sequence[Correction], request_id: str, caller: Identity
    ) -> Submitted:
        """Store corrections, all or none.

        Args:
            corrections: What was corrected.
            request_id: Names the call among the tenant's; "" for a new name.
            caller: Who sends them.

        Raises:
            FeedbackOffError: This server keeps none.
            InputError: One of them cannot be stored; `field` names it.
            AdapterNotFoundError: No adapter that the caller may use has a digest.
        """
        if self._settings.feedback_url == OFF:
            raise FeedbackOffError(
                "this server keeps no post-edits: feedback_url is 'off'", field="post_edits"
            )
        if not corrections or len(corrections) > self._limits().max_contents:
            raise InputError(
                f"{len(corrections)} post-edits in one call; send 1 to "
                f"{self._limits().max_contents}",
                field="post_edits",
            )
        if request_id and not _REQUEST_ID.fullmatch(request_id):
            raise InputError(
                "request_id is not 1 to 128 visible ASCII characters", field="request_id"
            )
        name = request_id or uuid.uuid4().hex
        receipt = await asyncio.get_running_loop().run_in_executor(
            self._pool, self._store_all, corrections, name, caller
        )
        return Submitted(name, receipt)

    def _store_all(
        self, corrections: Sequence[Correction], request_id: str, caller: Identity
    ) -> Receipt:
        edits = [
            self._checked(one, f"post_edits[{number}]", caller)
            for number, one in enumerate(corrections)
        ]
        receipt = self._opened().submit(
            caller.tenant, request_id, self._base_digest, edits, datetime.now(UTC)
        )
        if not receipt.repeated:
            for number, edit in zip(receipt.ids, edits, strict=True):
                self._count(number, edit)
        return receipt

    def _opened(self) -> FeedbackStore:
        if self._store is None:
            self._store = FeedbackStore(feedback_url(self._settings))
        return self._store

    def _checked(self, one: Correction, place: str, caller: Identity) -> PostEdit:
        """Return a correction as it is stored.

        Raises:
            HubError: It cannot be; `field` says where it is at fault.
        """
        self._check_texts(one, place)
        try:
            pair = LanguagePair.of(one.source_language, one.target_language)
        except LanguageError as error:
            raise LanguageError(error.message, field=f"{place}.target_language_code") from None
        version = self._maker(one, place, caller)
        if version is not None and not version.manifest.language_pair.serves(pair):
            raise PairMismatchError(
                f"adapter {version.ref} translates {version.manifest.pair}, not {pair}; send the "
                "digest that the translation came with",
                field=f"{place}.adapter_digest",
            )
        return PostEdit(
            pair=pair,
            source=one.source,
            hypothesis=one.hypothesis,
            correction=one.correction,
            adapter_digest="" if version is None else version.digest,
            adapter="" if version is None else version.ref,
        )

    def _check_texts(self, one: Correction, place: str) -> None:
        texts = {
            "source_text": one.source,
            "post_edited_text": one.correction,
            **({"translated_text": one.hypothesis} if one.hypothesis else {}),
        }
        for field, text in texts.items():
            error = check_text(text, self._limits())
            if error is not None:
                raise TextError(f"{field}: {error.message}", field=f"{place}.{field}")

    def _maker(self, one: Correction, place: str, caller: Identity) -> AdapterVersion | None:
        if not one.adapter_digest:
            return None
        field = f"{place}.adapter_digest"
        if not one.hypothesis:
            raise InputError(
                "adapter_digest without translated_text; send both, or neither", field=field
            )
        if not is_digest(one.adapter_digest):
            raise InputError(
                f"{one.adapter_digest[:80]!r} is no digest; send adapter_digest as the reply had "
                "it: sha256: and 64 hexadecimal digits",
                field=field,
            )
        try:
            return caller.permit.resolve(self._resolve, one.adapter_digest)
        except HubError as error:
            raise type(error)(error.message, field=field, metadata=error.metadata) from None

    def _count(self, number: int, edit: PostEdit) -> None:
        both = self._labels(edit)
        self._metrics.post_edits.labels(*both).inc()
        if not edit.hypothesis:
            return
        refused = self.meter.offer(number, edit)
        if refused:
            self._metrics.hter_unmeasured.labels(refused).inc()

    def _note(self, found: Measured) -> None:
        assert self._store is not None, "an edit is stored before it is measured"
        self._store.note_changes(found.number, found.changes, found.words)
        if found.words:
            hter = found.changes / found.words
            self._metrics.hter.labels(*self._labels(found.edit)).observe(hter)

    def _labels(self, edit: PostEdit) -> tuple[str, str]:
        name = edit.adapter.partition(":")[0] or (BASE_LABEL if edit.hypothesis else "unknown")
        return self._metrics.both.of(str(edit.pair), name)
