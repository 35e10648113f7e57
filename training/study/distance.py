"""How far apart two languages are: URIEL+'s featural distance.

Source: URIEL+ (Khan et al., COLING 2025; arXiv 2409.18472), the package `urielplus`, whose data is
in the wheel; it extends URIEL (Littell et al., EACL 2017). The featural distance is the angular
distance between the languages' vectors of syntactic, phonological and inventory features, over the
features that are known of both: 0 the same, 1 nothing in common. It knows nothing of vocabulary or
script, nor of how much of a language a base has read; see docs/studies/README.md.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from hub.errors import SettingsError
from hub.languages import LanguagePair

MEASURE: Final = "URIEL+ featural distance"
# URIEL knows single languages; these codes of CLDR and M2M-100 mean a group of them.
_MEMBER: Final = {
    "ara": "arb", "zho": "cmn", "fas": "pes", "msa": "zsm", "est": "ekk", "lav": "lvs",
    "nor": "nob", "swa": "swh", "aze": "azj", "mon": "khk", "nep": "npi", "ori": "ory",
    "pus": "pbt", "sqi": "als", "uzb": "uzn", "yid": "ydd", "kur": "kmr", "grn": "gug",
}  # fmt: skip


def distances(pairs: Iterable[str]) -> dict[str, float]:
    """Return the distance of each pair; those with a language that URIEL+ lacks are left out.

    Raises:
        SettingsError: urielplus is not installed, or its data cannot be unpacked.
    """
    found = {}
    for name in dict.fromkeys(pairs):
        pair = LanguagePair.parse(name)
        value = _distance(*sorted((_iso(pair.source), _iso(pair.target))))
        if value is not None:
            found[name] = value
    return found


def _iso(language: str) -> str:
    """Return a language's ISO 639-3 code, of one language."""
    import langcodes

    code = langcodes.Language.get(language.replace("_", "-")).to_alpha3()
    return _MEMBER.get(code, code)


@lru_cache(maxsize=4096)
def _distance(one: str, other: str) -> float | None:
    if one == other:
        return 0.0
    database = _database()
    try:
        found = database.new_distance("featural", [one, other])
    except (KeyError, ValueError, IndexError, SystemExit):
        return None
    value = float(found)
    return value if 0 < value <= 1 else None  # 0: no feature is known of both


@lru_cache(maxsize=1)
def _database() -> Any:
    root = logging.getLogger()
    level, handlers, silent = root.level, list(root.handlers), root.manager.disable
    logging.disable(logging.WARNING)  # it tells at length of unpacking its data
    try:
        from urielplus.urielplus import URIELPlus

        database = URIELPlus()
    except ImportError:
        raise SettingsError(
            f"{MEASURE} needs its package: pip install 'adapterhub[study]'"
        ) from None
    except OSError as error:
        raise SettingsError(
            f"urielplus unpacks its data into its own folder on first use, which fails: {error}; "
            "run it once as a user who can write there"
        ) from None
    finally:
        # It configures the root logger of the whole process.
        root.setLevel(level)
        root.handlers[:] = handlers
        logging.disable(silent)
    return database
