"""Languages: BCP-47 inside the hub, each model family's own codes at its edge.

`canonical` reads any common spelling (BCP-47, POSIX locale, ISO 639-2/3, FLORES,
mBART) and returns one BCP-47 tag: the shortest that says the same, so "ko",
"kor", "ko_KR", "ko-Kore" and "kor_Hang" are all "ko".

Three tags name more than one written language: "zh", "sr" and "no". They stay as
they are, because M2M-100 has one code for each, and are refused only where a
table would have to choose (FLORES: zho_Hans or zho_Hant). Going the other way,
a tag that says more than a table can (pt-PT, zh-Hant for M2M-100) maps to the
language's code: an adapter may well teach the difference. `choose` does both for
the languages of any base.

Marian models name languages per checkpoint, so they have no table here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hub.errors import LanguageError
from hub.language_tables import FLORES_200, M2M_100, MBART_50

if TYPE_CHECKING:
    # Imported on first use: reading its tables takes as long as the rest of `hub --help`.
    from langcodes import Language

_MAX_CODE: Final = 35  # RFC 5646 §4.4.1

# What each of these tags may mean when a script has to be known.
AMBIGUOUS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"zh": ("zh-Hans", "zh-Hant"), "sr": ("sr-Cyrl", "sr-Latn"), "no": ("nb", "nn")}
)

# Spellings that langcodes reads differently from the tables that use them.
_ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ar_ar": "ar",  # mBART: not Argentina
        "ns": "nso",  # M2M-100's Northern Sotho; "ns" is no ISO code
        "tw": "tw",  # CLDR folds Twi into Akan, FLORES keeps both
        "twi": "tw",
        "twi_latn": "tw",
        "pbt_arab": "ps",  # Southern Pashto stands for Pashto
        "pbt": "ps",
        "fuv_latn": "ff",  # Nigerian Fulfulde stands for Fula
        "fuv": "ff",
    }
)
_SCRIPT_PARTS: Final[Mapping[str, str]] = MappingProxyType({"Hang": "Kore", "Hira": "Jpan"})
_UNSPOKEN: Final = frozenset({"und", "mul", "zxx", "mis", "art"})


@lru_cache(maxsize=4096)  # bounded: codes come from callers
def canonical(code: str) -> str:
    """Return the shortest BCP-47 tag for a language code in any common spelling.

    A script is dropped where it is the language's usual one, a region where it is
    the usual one (so "pt_BR" is "pt" and "pt_PT" is "pt-PT"); for the languages in
    AMBIGUOUS a stated or implied script is always kept ("zh_TW" is "zh-Hant").

    Raises:
        LanguageError: The code is not a known language, or says more than
            language, script and region.
    """
    plain = code.strip().replace("-", "_").lower()
    if plain in _ALIASES:
        return _ALIASES[plain]
    tag = _parse(code)
    return _shortest(tag)


def _parse(code: str) -> Language:
    from langcodes import Language, standardize_tag

    plain = code.strip().replace("_", "-").removesuffix("-XX")
    if not plain or len(plain) > _MAX_CODE or not plain.isascii():
        raise _unknown(code)
    try:
        tag = Language.get(standardize_tag(plain, macro=True))
    except ValueError:  # langcodes' LanguageTagError is one
        raise _unknown(code) from None
    if tag.variants or tag.extensions or tag.private or tag.extlangs:
        raise LanguageError(
            f"language {code!r} says more than language, script and region; "
            "leave variants and extensions out"
        )
    if not _is_spoken(tag.language) or not tag.is_valid():
        raise _unknown(code)
    return tag


def _is_spoken(language: str | None) -> bool:
    private = language is not None and len(language) == 3 and "qaa" <= language <= "qtz"
    return bool(language) and not private and language not in _UNSPOKEN


def _unknown(code: str) -> LanguageError:
    shown = code if len(code) <= _MAX_CODE else code[:_MAX_CODE] + "…"
    return LanguageError(
        f"unknown language {shown!r}; use a BCP-47 code such as 'ko', 'zh-Hant' or 'pt-PT'"
    )


def _shortest(tag: Language) -> str:
    language = str(tag.language)
    stated = _SCRIPT_PARTS.get(tag.script, tag.script) if tag.script else None
    script = stated or _likely(language, None, tag.territory).script
    if _has_several_scripts(language):
        shown = script if stated or tag.territory else None
    else:
        shown = script if script != _likely(language).script else None
    region = tag.territory if tag.territory != _likely(language, script).territory else None
    return "-".join(part for part in (language, shown, region) if part)


def _likely(language: str, script: str | None = None, region: str | None = None) -> Language:
    """Fill in what CLDR's likely subtags say about the parts not given."""
    from langcodes import Language

    return Language.make(language, script=script, territory=region).maximize()


def _has_several_scripts(language: str) -> bool:
    return any(choice.startswith(f"{language}-") for choice in AMBIGUOUS.get(language, ()))


@dataclass(frozen=True, slots=True, order=True)
class LanguagePair:
    """A direction of translation, both ends in canonical spelling.

    Build one with `parse` or `of`, which accept any spelling.
    """

    source: str
    target: str

    def __post_init__(self) -> None:
        """Refuse languages that are not canonical, or equal."""
        for code in (self.source, self.target):
            if canonical(code) != code:
                raise LanguageError(
                    f"language {code!r} is not in canonical spelling; use {canonical(code)!r}"
                )
        if self.source == self.target:
            raise LanguageError(
                f"source and target are both {self.source!r}; a pair needs two languages"
            )

    @classmethod
    def of(cls, source: str, target: str) -> LanguagePair:
        """Build a pair from two codes in any spelling.

        Raises:
            LanguageError: A code is unknown, or both mean the same language.
        """
        return cls(canonical(source), canonical(target))

    @classmethod
    def parse(cls, text: str) -> LanguagePair:
        """Read "en-ko"; inside a language use "_", as in "zh_Hant-en".

        Raises:
            LanguageError: There are not two languages, one is unknown, or both
                mean the same.
        """
        parts = text.strip().split("-")
        if len(parts) != 2 or not all(parts):
            raise LanguageError(
                f"{text[:80]!r} is not a language pair; write 'en-ko', and '_' inside a "
                "language as in 'zh_Hant-en'"
            )
        return cls.of(*parts)

    def serves(self, asked: LanguagePair) -> bool:
        """Return whether what was made for this pair may answer a request for another.

        It may where the languages asked for are its own or varieties of them: en-ko serves
        en-GB into Korean, but en-pt_PT serves European Portuguese alone, not any Portuguese.
        """
        return self.source in broader(asked.source) and self.target in broader(asked.target)

    @property
    def reverse(self) -> LanguagePair:
        """Return the opposite direction."""
        return LanguagePair(self.target, self.source)

    def __str__(self) -> str:
        """Return the spelling that parse reads back."""
        return "-".join(code.replace("-", "_") for code in (self.source, self.target))


def broader(tag: str) -> tuple[str, ...]:
    """Return a canonical tag and those that say less, such as zh-Hant-HK, zh-Hant and zh.

    This is the lookup of RFC 4647, section 3.4. Bokmål, which most tables call Norwegian, is
    followed by "no".
    """
    parts = tag.split("-")
    found = ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return (*found, "no") if parts[0] == "nb" else tuple(found)


def choose(language: str, known: Collection[str], owner: str) -> str:
    """Return the one of a base's languages that a language is served as.

    A tag that says more than the base can (pt-PT, en-GB) is served as the language; one that
    says less is served where the base has one language that it may mean.

    Args:
        language: In any spelling.
        known: The base's languages as canonical tags.
        owner: What has them, for the message.

    Raises:
        LanguageError: The language is unknown, the base has none such, or has several.
    """
    tag = canonical(language)
    for candidate in broader(tag):
        if candidate in known:
            return candidate
    meant = {one for one in known if tag in broader(one)[1:]} | {*AMBIGUOUS.get(tag, ())}
    choices = sorted(meant.intersection(known))
    if len(choices) == 1:
        return choices[0]
    if choices:
        raise LanguageError(
            f"language {tag!r} is ambiguous here; choose one of {', '.join(choices)}",
            field="language",
        )
    supported = ", ".join(sorted(known))
    raise LanguageError(
        f"{owner} has no language {tag!r}; it has: {supported}",
        field="language",
        metadata={"language": tag, "supported": supported},
    )


def m2m_code(language: str) -> str:
    """Return M2M-100's code for a language, such as "zh" for "zh-Hant".

    Raises:
        LanguageError: M2M-100 does not have the language.
    """
    return _by_language(language, _m2m_table(), "M2M-100")


def mbart_code(language: str) -> str:
    """Return mBART-50's code for a language, such as "ko_KR".

    Raises:
        LanguageError: mBART-50 does not have the language.
    """
    return _by_language(language, _mbart_table(), "mBART-50")


def flores_code(language: str) -> str:
    """Return the FLORES-200 (NLLB) code for a language, such as "kor_Hang".

    Raises:
        LanguageError: NLLB does not have the language, or has several that the
            tag could mean; the message lists them.
    """
    tag = canonical(language)
    if tag in AMBIGUOUS:
        raise LanguageError(
            f"language {tag!r} is ambiguous here; choose one of {', '.join(AMBIGUOUS[tag])}"
        )
    table = _flores_table()
    code = table.get(tag) or _only_script(tag, table) or table.get(_with_script(tag))
    if code is None:
        raise _unsupported(tag, "NLLB-200")
    return code


def _only_script(tag: str, table: Mapping[str, str]) -> str | None:
    if "-" in tag:
        return None
    found = [code for known, code in table.items() if known.partition("-")[0] == tag]
    return found[0] if len(found) == 1 else None


def _with_script(tag: str) -> str:
    """Return the tag without its region, in the script that the region implies."""
    language, *rest = tag.split("-")
    script = next((part for part in rest if len(part) == 4), None)
    region = next((part for part in rest if len(part) < 4), None)
    return canonical(f"{language}-{_likely(language, script, region).script}")


def _by_language(language: str, table: Mapping[str, str], family: str) -> str:
    tag = canonical(language)
    code = table.get(tag) or table.get(tag.partition("-")[0])
    if code is None:
        raise _unsupported(tag, family)
    return code


def _unsupported(tag: str, family: str) -> LanguageError:
    return LanguageError(
        f"{family} has no code for language {tag!r}; choose a base model that covers it"
    )


@cache
def _m2m_table() -> Mapping[str, str]:
    table = {canonical(code): code for code in M2M_100.split()}
    return MappingProxyType(table | {"nb": "no"})


@cache
def _mbart_table() -> Mapping[str, str]:
    return MappingProxyType({canonical(code).partition("-")[0]: code for code in MBART_50.split()})


@cache
def _flores_table() -> Mapping[str, str]:
    return MappingProxyType({canonical(code): code for code in FLORES_200.split()})
