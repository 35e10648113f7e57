"""Corrections of translations as training data: `--data [WEIGHT@]feedback:[URL][#OPTIONS]`.

Without a URL or the path of a SQLite file it is the store of the settings. Of several corrections
of one source text by one tenant the last counts; they are all made by people, so a translation that
was found right counts as well as one that was changed. What may not be mixed is told apart by the
options: `tenant` (never train one customer's adapter on another's texts) and `adapter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from training.corpora.segments import Segment, Skipped
from training.corpora.sources import FEEDBACK, DataSource, parse_source

if TYPE_CHECKING:
    from hub.feedback.store import FeedbackStore, Wanted
    from hub.languages import LanguagePair
    from hub.settings import Settings
    from training.corpora.plan import CorpusRequest

SUPERSEDED: Final = "corrected again later"


def read_feedback(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the corrections of a store for a pair, in the order in which they came in.

    Raises:
        SettingsError: The store cannot be opened, or post-edits are switched off.
    """
    wanted = _wanted(source, pair)
    with closing(open_store(source)) as store:
        kept = 0
        for one in store.iterate(wanted, latest=True):
            kept += 1
            yield Segment(one.id, one.edit.source, one.edit.correction)
        superseded = store.count(wanted) - kept
    if superseded > 0:
        skipped[SUPERSEDED] += superseded


def open_store(source: DataSource) -> FeedbackStore:
    """Open the store that a source names; one that is not there yet has no edits.

    Raises:
        SettingsError: It cannot be opened.
    """
    from hub.feedback.location import feedback_url
    from hub.feedback.store import FeedbackStore
    from hub.settings import load_settings

    return FeedbackStore(source.path or feedback_url(load_settings()), create=False)


def with_store(texts: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Return `--data` texts in which "feedback:" alone names the store of these settings.

    Raises:
        CorpusError: A text is not a source.
    """
    from hub.feedback.location import feedback_url

    return tuple(_named(text, feedback_url(settings)) if _is_bare(text) else text for text in texts)


def located(request: CorpusRequest, settings: Settings) -> CorpusRequest:
    """Return a request whose sources name their stores.

    Raises:
        CorpusError: One is not a source.
    """
    dev, test = with_store([request.dev, request.test], settings)
    return replace(request, data=with_store(request.data, settings), dev=dev, test=test)


def _is_bare(text: str) -> bool:
    if FEEDBACK not in text:
        return False
    source = parse_source(text)
    return source.format == FEEDBACK and not source.path


def _named(text: str, url: str) -> str:
    front, _, back = text.partition(f"{FEEDBACK}:")
    return f"{front}{FEEDBACK}:{url}{back}"


def _wanted(source: DataSource, pair: LanguagePair) -> Wanted:
    from hub.feedback.store import Wanted

    options = source.options
    return Wanted(pair=pair, tenant=options.get("tenant"), adapter=options.get("adapter"))
