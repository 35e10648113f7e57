"""Translates the page's messages by the hub itself: `python -m server.web.translate_messages`.

    hub serve --base embedded &
    python -m server.web.translate_messages --server 127.0.0.1:50051

The embedded base has read Unicode CLDR and nothing else, so it says dates, units, places and names
of languages, and invents what it does not know: "Settings" becomes "Settttisch". So a translation
is kept only where CLDR says the same; where CLDR has the phrase and the hub says something else,
CLDR's is taken; every other message stays English. Each catalogue says which is which.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

from babel import Locale
from babel.dates import format_date, format_timedelta
from babel.lists import format_list
from babel.units import format_unit

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.client import HubClient

FOLDER: Final = Path(__file__).parent / "static" / "messages"
ENGLISH: Final = "en"
_DATE: Final = date(2027, 5, 5)
_PLACES: Final = ("KR", "JP")


def _places(locale: Locale) -> str:
    return format_list([str(locale.territories[one]) for one in _PLACES], locale=locale)


IN_CLDR: Final[Mapping[str, Callable[[Locale], str]]] = MappingProxyType(
    {
        "unknownLanguage": lambda locale: str(locale.languages["und"]),
        "sample_date": lambda locale: format_date(_DATE, "full", locale=locale),
        "sample_weeks": lambda locale: format_timedelta(
            timedelta(weeks=3), granularity="week", threshold=9, add_direction=True, locale=locale
        ),
        "sample_speed": lambda locale: str(
            format_unit(12, "speed-kilometer-per-hour", "long", locale=locale)
        ),
        "sample_places": _places,
    }
)
"""What CLDR says for those messages that it has a phrase for."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The messages of one language.

    Attributes:
        by_hub: Those that the hub said as CLDR says them.
        by_cldr: Those of CLDR that the hub said otherwise.
    """

    language: str
    by_hub: Mapping[str, str]
    by_cldr: Mapping[str, str]

    def to_json(self, base: str) -> str:
        """Return the file's text."""
        plain = {
            "language": self.language,
            "translated_by": f"machine translation: {base}",
            "hub": sorted(self.by_hub),
            "cldr": sorted(self.by_cldr),
            "messages": {**self.by_hub, **self.by_cldr},
        }
        return json.dumps(plain, ensure_ascii=False, sort_keys=True, indent=1) + "\n"


def translate(client: HubClient, english: Mapping[str, str], language: str) -> Catalogue:
    """Translate those messages that can be checked, and keep what CLDR agrees with."""
    locale = Locale.parse(language)
    names = list(IN_CLDR)
    reply = client.translate([english[name] for name in names], ENGLISH, language, adapter="base")
    wanted = {name: IN_CLDR[name](locale) for name in names}
    said = {name: item.text for name, item in zip(names, reply.items, strict=True)}
    agreed = {name: said[name] for name in names if said[name] == wanted[name]}
    return Catalogue(
        language, agreed, {name: text for name, text in wanted.items() if name not in agreed}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the catalogues of the embedded base's languages."""
    parser = argparse.ArgumentParser(description="Translate the page's messages by the hub itself.")
    parser.add_argument("--server", default="127.0.0.1:50051")
    server = parser.parse_args(arguments).server
    english = json.loads((FOLDER / f"{ENGLISH}.json").read_text(encoding="utf-8"))["messages"]
    with HubClient(server, timeout=120) as client:
        base = client.translate(["5"], ENGLISH, "de", adapter="base")
        for language in sorted(load_tokenizer(open_base()).languages - {ENGLISH}):
            made = translate(client, english, language)
            path = FOLDER / f"{language}.json"
            path.write_text(made.to_json(base.base_name), encoding="utf-8")
            print(f"{language}: hub {sorted(made.by_hub)}, CLDR {sorted(made.by_cldr)}")


if __name__ == "__main__":
    main()
