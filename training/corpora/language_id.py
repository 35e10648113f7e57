"""Which language a text is in, by py3langid where it is installed (adapterhub[langid])."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hub.errors import CorpusError
from hub.languages import LanguagePair

Identify = Callable[[str, str, float], bool]
"""Takes text, language and threshold; False where it is surely another language."""

_MIN_LETTERS: Final = 20


def identifier(pair: LanguagePair) -> Identify | None:
    """Return the test, or None where the library does not know both languages.

    Texts under 20 characters pass: they are too short to tell.

    Raises:
        CorpusError: The library is not installed.
    """
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise CorpusError(
            "--clean language needs a language identifier; install adapterhub[langid]",
            field="data",
        ) from None
    model: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if not {_plain(pair.source), _plain(pair.target)} <= set(model.labels):
        return None

    def passes(text: str, language: str, threshold: float) -> bool:
        if len(text) < _MIN_LETTERS:
            return True
        found, probability = model.classify(text)
        return bool(found == _plain(language) or probability < threshold)

    return passes


def _plain(language: str) -> str:
    return language.partition("-")[0]
