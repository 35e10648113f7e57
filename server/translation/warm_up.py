"""The first translation, made before anybody asks for one."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Final

from hub.errors import HubError, LanguageError
from server.messages import SearchChoice, TranslateCommand
from server.telemetry.metrics import Metrics
from server.translation.translator import Translator

TEXTS: Final = ("1", "2 3")
_SEARCH: Final = SearchChoice(max_output_tokens=2)


async def translate_something(translator: Translator) -> None:
    """Translate a few tokens for the first pair of languages that the base takes.

    A base may translate some pairs only: Marian in one direction, mBART into one language. The
    server's metrics do not count it as a request: its pair would take the place of a caller's.

    Raises:
        HubError: The base cannot translate.
    """
    once = replace(translator.second, enabled=False)
    uncounted = replace(translator, metrics=Metrics(), second=once, canaries=None)
    refusal: HubError = LanguageError("the base has fewer than two languages")
    for source, target in permutations(sorted(translator.router.languages), 2):
        try:
            return await _translate(uncounted, source, target)
        except LanguageError as error:
            refusal = error
    raise refusal


async def _translate(translator: Translator, source: str, target: str) -> None:
    result = await translator.translate(TranslateCommand(TEXTS, source, target, search=_SEARCH))
    for item in result.items:
        if item.error is not None:
            raise item.error
