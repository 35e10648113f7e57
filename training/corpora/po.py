"""gettext PO, read by Babel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.errors import CorpusError
from hub.languages import LanguagePair
from training.corpora.lines import read_lines
from training.corpora.segments import Segment, Skipped, one_line
from training.corpora.sources import DataSource
from training.corpora.tags import match
from training.corpora.xliff import UNTRANSLATED

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog, Message

SIZE_LIMIT: Final = 64 << 20
_CHARSET: Final = re.compile(r'"Content-Type:[^"]*charset=([\w-]+)', re.IGNORECASE)
FUZZY: Final = "fuzzy"
OBSOLETE: Final = "obsolete"


def read_po(source: DataSource, pair: LanguagePair, skipped: Skipped) -> Iterator[Segment]:
    """Yield the translated messages of a catalogue, which is read whole (64 MiB at most).

    Fuzzy, obsolete and untranslated entries are left out and counted. A plural entry gives two
    segments, the singular with the first form and the plural with the last; one, the plural, where
    the language has a single form. The message ids are in the pair's source language, or in its
    target language where the catalogue's header says so.

    Raises:
        CorpusError: Not a catalogue, over the limit, in another charset or for another language.
    """
    path = Path(source.path)
    catalog = _read(path)
    backwards = _is_backwards(path, catalog, pair)
    skipped[OBSOLETE] += len(catalog.obsolete)
    for message in catalog:
        if not message.id:
            continue
        if message.fuzzy:
            skipped[FUZZY] += 1
            continue
        for text, translation in _forms(message):
            if not translation:
                skipped[UNTRANSLATED] += 1
                continue
            sides = (translation, text) if backwards else (text, translation)
            yield Segment(message.lineno or 1, one_line(sides[0]), one_line(sides[1]))


def _read(path: Path) -> Catalog:
    from babel.messages import pofile

    try:
        return pofile.read_po(_bounded(path), abort_invalid=True)
    except pofile.PoFileError as error:
        why = str(error).removesuffix(f" on {error.lineno}")
        raise CorpusError(
            f"{path}:{error.lineno + 1}: not a PO catalogue: {why}", field="data"
        ) from None
    except (ValueError, LookupError, IndexError, AttributeError, TypeError) as error:
        raise CorpusError(f"{path}: not a PO catalogue: {error}", field="data") from None


def _bounded(path: Path) -> Iterator[str]:
    size = 0
    for number, line in enumerate(read_lines(path), start=1):
        size += len(line)
        if size > SIZE_LIMIT:
            raise CorpusError(
                f"{path}:{number}: the catalogue has more than {SIZE_LIMIT:,} characters, the "
                "limit; split it",
                field="data",
            )
        found = _CHARSET.match(line)
        if found and found[1].lower() not in ("utf-8", "utf8", "charset"):  # a template's
            raise CorpusError(
                f"{path}:{number}: the catalogue says it is in {found[1]}, which is not UTF-8; "
                "convert it with msgconv -t UTF-8",
                field="data",
            )
        yield line + "\n"


def _is_backwards(path: Path, catalog: Catalog, pair: LanguagePair) -> bool:
    tag = str(catalog.locale_identifier or "")
    if not tag or match(tag, pair.target):
        return False
    if match(tag, pair.source):
        return True
    raise CorpusError(
        f"{path}: the catalogue is in {tag!r}, which is neither language of {pair}", field="data"
    )


def _forms(message: Message) -> list[tuple[str, str]]:
    if isinstance(message.id, str):
        return [(message.id, _single(message.string))]
    singular, plural = message.id[0], message.id[-1]
    forms = [message.string] if isinstance(message.string, str) else list(message.string or ("",))
    if len(forms) == 1:
        return [(plural, forms[0] or "")]
    return [(singular, forms[0] or ""), (plural, forms[-1] or "")]


def _single(text: object) -> str:
    return text if isinstance(text, str) else ""
