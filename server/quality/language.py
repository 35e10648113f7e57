"""Is an output in its target language?

Its script is looked at first, which costs next to nothing and is sure. Among languages of one
script py3langid decides (Lui & Baldwin 2012), between the target, the source, English and the
languages that are written most in that script: an output in a wrong language is nearly always in
one of these. It is asked about long texts only, and not before its model is loaded, which the first
long text begins.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from hub.languages import LanguagePair
from hub.scripts import LetterTable, scripts_of

_log = logging.getLogger("adapterhub.server")

LEAST_LETTERS: Final = 12
"""Of an output: fewer may well be a name that stays as it is."""
LEAST_SHARE: Final = 0.3
"""Of its letters that are in the target's script."""
FEW: Final = 0.05
LEAST_FOR_NAMING: Final = 40
"""Characters of an output whose language is told by its words."""
CERTAIN: Final = 0.6
MAX_CHARACTERS: Final = 120
MODELS: Final = 8
"""Sets of languages that are kept ready; each takes some 6 MB."""

LEAST_NAME: Final = 3
_WORD: Final = re.compile(r"[^\W\d_]+")
_COMMON: Final = (
    "en", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "vi", "id", "sv", "cs", "hu", "ro", "fi",
    "ru", "uk", "bg", "sr", "ar", "fa", "ur", "hi", "mr", "zh", "ja",
)  # fmt: skip
_SAME: Final = {"nb": "no", "nn": "no", "wuu": "zh", "yue": "zh"}
_NEAR: Final = (
    frozenset({"no", "da"}), frozenset({"hr", "bs", "sr", "sl"}), frozenset({"id", "ms"}),
    frozenset({"es", "gl", "ca", "pt", "ast"}), frozenset({"cs", "sk"}), frozenset({"zu", "xh"}),
    frozenset({"nl", "af"}), frozenset({"hi", "mr", "ne"}), frozenset({"ru", "be", "uk"}),
    frozenset({"fa", "ur", "ps"}), frozenset({"bg", "mk"}), frozenset({"tr", "az"}),
)  # fmt: skip
"""Languages that the identifier takes for each other."""


def plain_code(language: str) -> str:
    """Return a language as py3langid names it."""
    first = language.partition("-")[0]
    return _SAME.get(first, first)


@dataclass(slots=True)
class LanguageCheck:
    """Tells whether outputs are in their target language; thread-safe."""

    _tables: dict[str, LetterTable] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def found_instead(self, source: str, text: str, pair: LanguagePair) -> str:
        """Return what an output is in instead of its target language, "" where it is in that.

        Args:
            source: What was translated; its words may be names, which stay.
            text: The output.
            pair: Of the translation.

        Returns:
            A language such as "en"; "script" where the letters are another script's.
        """
        if len(text) < LEAST_LETTERS:
            return ""
        text = text[:MAX_CHARACTERS]
        scripts = scripts_of(pair.target)
        if scripts:
            marks = text.translate(self._table(pair.target, scripts))
            if len(marks) < LEAST_LETTERS:
                return ""
            if marks.count("+") < LEAST_SHARE * len(marks) and self._is_foreign(source, text, pair):
                return "script"
        if len(text) < LEAST_FOR_NAMING:
            return ""
        return self._named_otherwise(text, pair)

    def _is_foreign(self, source: str, text: str, pair: LanguagePair) -> bool:
        """Tell whether an output is in another script, the names in it left aside.

        Words of the source are taken for names where the output has letters of its own besides.
        """
        table, kept = self._tables[pair.target], set(_WORD.findall(source))
        marks = text.translate(table)
        if marks.count("+") < FEW * len(marks):
            return True
        for word in sorted(kept, key=len, reverse=True):
            if len(word) >= LEAST_NAME:
                text = text.replace(word, " ")  # with an ending of the target's own, perhaps
        own = text.translate(table)
        return len(own) >= LEAST_LETTERS and own.count("+") < LEAST_SHARE * len(own)

    def _table(self, language: str, scripts: frozenset[str]) -> LetterTable:
        table = self._tables.get(language)
        if table is None:
            table = self._tables[language] = LetterTable(scripts)
        return table

    def _named_otherwise(self, text: str, pair: LanguagePair) -> str:
        target = plain_code(pair.target)
        model = language_model()
        if not model.done() or model.exception() is not None:  # no request waits for it, or fails
            return ""
        with self._lock:  # an identifier keeps state while it computes
            identifier = _identifier(_candidates(pair))
            if identifier is None or target not in identifier.nb_classes:
                return ""
            label, probability = identifier.classify(text)
        near = any({label, target} <= group for group in _NEAR)
        return str(label) if label != target and not near and probability >= CERTAIN else ""


@lru_cache(maxsize=1024)
def _candidates(pair: LanguagePair) -> frozenset[str]:
    """Return what an output of a pair may be in."""
    scripts = scripts_of(pair.target)
    named = {one for one in (*_COMMON, pair.source) if scripts & scripts_of(one)}
    return frozenset(map(plain_code, (*named, pair.target)))


@lru_cache(maxsize=1)
def language_model() -> Future[Any]:
    """Return py3langid's identifier of all its languages, once it is loaded; begin to load it.

    Loading takes a second or more and 77 MB, so it is loaded once in a process, by whoever needs it
    first. An identifier keeps state while it computes: take a `copy.copy`, which shares the model.
    """
    found: Future[Any] = Future()

    def load() -> None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        try:
            found.set_result(LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True))
        except BaseException as error:
            _log.warning("languages of one script are not told apart: %r", error)
            found.set_exception(error)

    threading.Thread(target=load, name="language-model", daemon=True).start()
    return found


@lru_cache(maxsize=MODELS)
def _identifier(languages: frozenset[str]) -> Any:
    """Return an identifier of some languages; None where there is nothing to tell apart."""
    part = copy.copy(language_model().result())
    wanted = sorted(languages & set(part.nb_classes))
    if len(wanted) < 2:
        return None
    part.set_languages(wanted)
    return part
