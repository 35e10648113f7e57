"""The kinds of phrase that Unicode CLDR knows in every locale.

Each kind draws a *value*, which belongs to no language (a calendar day, an amount of a currency,
a list of territories), and renders it in any locale through Babel. Rendering the same value in
two locales gives an aligned, human-made pair. A value holds no more than its phrase says, so
that two values of one kind never read the same because of something left unsaid: what is
sampled for "March 5" is a month and a day, not a year.

A renderer returns None where a locale has no text of its own for a value; such a pair is
skipped rather than filled with another language's words.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from random import Random
from typing import Any, Literal

from babel import Locale, dates, lists, numbers, units

Value = tuple[Any, ...]
"""What a phrase says: strings and integers only, so that `repr` is a stable identity."""


@dataclass(frozen=True)
class Kind:
    """One family of phrases.

    Attributes:
        name: Its name in counts and in the identity of its items.
        weight: Its share of sampled phrases, relative to the other kinds.
        sample: Draws a value.
        render: Says the value in a locale, or returns None where the locale cannot.
        styled: The value begins with a style (long or short), which is wording, not content.
        parts: The names inside a composite value, as (kind, content) of their own.
    """

    name: str
    weight: float
    sample: Callable[[Random], Value]
    render: Callable[[Value, Locale], str | None]
    styled: bool = False
    parts: Callable[[Value], Sequence[tuple[str, Value]]] = lambda value: ()

    def content(self, value: Value) -> Value:
        """Return what the value says, whatever its style: the identity of the item."""
        return value[1:] if self.styled else value


_FIRST_DAY = datetime.date(1950, 1, 1).toordinal()
_LAST_DAY = datetime.date(2049, 12, 31).toordinal()
_DATE_SKELETONS = ("yMd", "yMMMd", "yMMMEd", "yMEd", "GyMMMd")
_MONTH_SKELETONS = ("yMMM", "yMMMM", "yQQQQ")
_INTERVAL_SKELETONS = ("yMMMd", "yMMMEd", "yMd")
_CURRENCIES = """
    USD EUR GBP JPY KRW CNY INR BRL MXN CAD AUD CHF SEK NOK DKK PLN CZK HUF TRY ILS THB IDR
    VND UAH RUB ZAR NZD SGD HKD TWD PHP EGP NGN ARS CLP COP PEN MAD KES AED
"""
_SCALED_UNITS = """
    length-kilometer length-meter length-centimeter length-millimeter length-mile
    length-foot length-inch length-yard length-light-year mass-kilogram mass-gram
    mass-milligram mass-tonne mass-pound mass-ounce mass-carat volume-liter
    volume-milliliter volume-cubic-meter volume-gallon volume-cup volume-tablespoon
    volume-teaspoon area-square-kilometer area-square-meter area-hectare area-acre
    area-square-mile temperature-celsius temperature-fahrenheit speed-kilometer-per-hour
    speed-meter-per-second speed-mile-per-hour speed-knot digital-gigabyte digital-megabyte
    digital-kilobyte digital-terabyte digital-bit duration-century duration-year
    duration-month duration-week duration-day duration-hour duration-minute duration-second
    duration-millisecond energy-kilocalorie energy-joule energy-kilowatt-hour power-watt
    power-kilowatt power-horsepower frequency-hertz frequency-megahertz electric-volt
    electric-ampere electric-ohm pressure-bar pressure-hectopascal angle-degree
    graphics-pixel graphics-megapixel light-lux consumption-liter-per-100-kilometer
    volume-barrel length-nautical-mile mass-stone
"""
_NUMERATORS = """
    length-kilometer length-meter length-mile mass-gram mass-kilogram mass-milligram
    volume-liter volume-gallon digital-megabyte digital-gigabyte digital-kilobyte
    energy-kilocalorie energy-joule graphics-pixel volume-milliliter mass-tonne
"""
_DENOMINATORS = """
    duration-hour duration-second duration-minute duration-day duration-week duration-month
    duration-year volume-liter area-square-kilometer area-hectare mass-kilogram
    length-kilometer
"""
_RELATIVE_SECONDS = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86400,
    "week": 604800,
    "month": 2592000,
    "year": 31536000,
}


@lru_cache(maxsize=8)
def _words(table: str) -> list[str]:
    return table.split()


@lru_cache(maxsize=1)
def _english() -> Locale:
    return Locale.parse("en")


@lru_cache(maxsize=1)
def _territory_codes() -> tuple[str, ...]:
    return tuple(sorted(_english().territories))


@lru_cache(maxsize=1)
def _language_codes() -> tuple[str, ...]:
    return tuple(sorted(code for code in map(str, _english().languages) if len(code) <= 3))


@lru_cache(maxsize=1)
def _metazones() -> tuple[tuple[str, str], ...]:
    zones = _english().meta_zones
    return tuple(
        (zone, variant)
        for zone in sorted(zones)
        for variant in ("generic", "standard", "daylight")
        if variant in zones[zone].get("long", {})
    )


@lru_cache(maxsize=1)
def _city_zones() -> tuple[str, ...]:
    zones = Locale.parse("ja").time_zones
    return tuple(sorted(str(zone) for zone in zones if "city" in zones[zone] and "/" in str(zone)))


def _day(rng: Random) -> tuple[int, int, int]:
    day = datetime.date.fromordinal(rng.randint(_FIRST_DAY, _LAST_DAY))
    return day.year, day.month, day.day


def _amount(rng: Random) -> str:
    """Draw a number as people write them: mostly small, some round, some with decimals."""
    draw = rng.random()
    if draw < 0.45:
        return str(rng.randint(1, 99))
    if draw < 0.7:
        return str(rng.randint(100, 9999))
    if draw < 0.85:
        return f"{rng.randint(0, 999)}.{rng.randint(1, 9)}"
    return str(rng.randint(1, 999) * 10 ** rng.randint(2, 5))


def _sample_date(rng: Random) -> Value:
    return (rng.choice(("full", "long", "medium", *_DATE_SKELETONS)), *_day(rng))


def _render_date(value: Value, locale: Locale) -> str | None:
    style, year, month, day = value
    date = datetime.date(year, month, day)
    if style in _DATE_SKELETONS:
        if style not in locale.datetime_skeletons:
            return None
        return dates.format_skeleton(style, date, locale=locale)
    return dates.format_date(date, style, locale)


def _sample_month(rng: Random) -> Value:
    style = rng.choice(_MONTH_SKELETONS)
    year, month, _ = _day(rng)
    return style, year, (month - 1) // 3 * 3 + 1 if style == "yQQQQ" else month


def _render_month(value: Value, locale: Locale) -> str | None:
    style, year, month = value
    if style not in locale.datetime_skeletons:
        return None
    return dates.format_skeleton(style, datetime.date(year, month, 1), locale=locale)


def _sample_month_day(rng: Random) -> Value:
    _, month, day = _day(rng)
    return month, min(day, 28)


def _render_month_day(value: Value, locale: Locale) -> str | None:
    month, day = value
    if "MMMMd" not in locale.datetime_skeletons:
        return None
    return dates.format_skeleton("MMMMd", datetime.date(2001, month, day), locale=locale)


def _sample_time(rng: Random) -> Value:
    style = rng.choice(("short", "medium"))
    return style, rng.randrange(24), rng.randrange(60), 0 if style == "short" else rng.randrange(60)


def _render_time(value: Value, locale: Locale) -> str | None:
    style, hour, minute, second = value
    return dates.format_time(datetime.time(hour, minute, second), style, locale=locale)


def _sample_datetime(rng: Random) -> Value:
    style = rng.choice(("full", "long", "medium"))
    return (style, *_day(rng), rng.randrange(24), rng.randrange(60))


def _render_datetime(value: Value, locale: Locale) -> str | None:
    style, year, month, day, hour, minute = value
    moment = datetime.datetime(year, month, day, hour, minute)
    date = dates.format_date(moment, style, locale)
    time = dates.format_time(moment, "short", locale=locale)
    # CLDR joins the two by a pattern of the date's length; {0} is the time, {1} the date.
    pattern = str(locale.datetime_formats.get(style, "{1} {0}"))
    return pattern.replace("'", "").replace("{0}", time).replace("{1}", date)


def _sample_interval(rng: Random) -> Value:
    style = rng.choice(_INTERVAL_SKELETONS)
    start = rng.randint(_FIRST_DAY, _LAST_DAY - 800)
    span = rng.choice((rng.randint(1, 12), rng.randint(13, 90), rng.randint(91, 800)))
    return style, start, start + span


def _render_interval(value: Value, locale: Locale) -> str | None:
    style, start, end = value
    if style not in locale.interval_formats:
        return None
    first, last = datetime.date.fromordinal(start), datetime.date.fromordinal(end)
    return dates.format_interval(first, last, style, locale=locale)


def _sample_clock_interval(rng: Random) -> Value:
    start = rng.randrange(0, 23 * 60, 5)
    return start, rng.randrange(start + 5, 24 * 60, 5)


def _render_clock_interval(value: Value, locale: Locale) -> str | None:
    if "Hm" not in locale.interval_formats:
        return None
    first, last = (datetime.datetime(2001, 1, 1, m // 60, m % 60) for m in value)
    return dates.format_interval(first, last, "Hm", locale=locale)


def _sample_relative(rng: Random) -> Value:
    unit = rng.choice(tuple(_RELATIVE_SECONDS))
    return rng.choice(("past", "future")), unit, rng.randint(1, 99)


def _render_relative(value: Value, locale: Locale) -> str | None:
    direction, unit, count = value
    delta = datetime.timedelta(seconds=count * _RELATIVE_SECONDS[unit])
    return dates.format_timedelta(
        -delta if direction == "past" else delta,
        granularity=unit,
        threshold=10**9 if unit == "second" else _threshold(unit, count),
        add_direction=True,
        locale=locale,
    )


def _threshold(unit: str, count: int) -> float:
    """Return the threshold at which Babel says `count` in `unit` and in no larger unit.

    Babel takes the first unit, from years down, in which the span reaches the threshold.
    """
    seconds = _RELATIVE_SECONDS[unit]
    larger = [size for size in _RELATIVE_SECONDS.values() if size > seconds]
    if not larger:
        return 0.5
    # Above what the next larger unit would count, but not above what this one counts.
    return min(count, count * seconds / min(larger) + 0.01)


def _sample_number(rng: Random) -> Value:
    return (_amount(rng) if rng.random() < 0.5 else str(rng.randint(1000, 99_999_999)),)


def _render_number(value: Value, locale: Locale) -> str | None:
    return numbers.format_decimal(Decimal(value[0]), locale=locale)


def _sample_percent(rng: Random) -> Value:
    return (rng.choice((rng.randint(1, 100) * 10, rng.randint(1, 999))),)


def _render_percent(value: Value, locale: Locale) -> str | None:
    return numbers.format_percent(
        Decimal(value[0]) / 1000, locale=locale, decimal_quantization=False
    )


def _sample_compact(rng: Random) -> Value:
    return (rng.randint(10, 999) * 10 ** rng.randint(2, 9),)


def _render_compact(value: Value, locale: Locale) -> str | None:
    style: Literal["long", "short"] = (
        "long" if "long" in locale.compact_decimal_formats else "short"
    )
    return numbers.format_compact_decimal(
        value[0], format_type=style, locale=locale, fraction_digits=2
    )


def _sample_money(rng: Random) -> Value:
    return rng.choice(_words(_CURRENCIES)), _amount(rng)


def _render_money(value: Value, locale: Locale) -> str | None:
    return numbers.format_currency(Decimal(value[1]), value[0], locale=locale)


def _render_money_by_name(value: Value, locale: Locale) -> str | None:
    if value[0] not in locale.currencies:
        return None
    return numbers.format_currency(Decimal(value[1]), value[0], locale=locale, format_type="name")


def _sample_unit(rng: Random) -> Value:
    return rng.choice(("long", "long", "short")), rng.choice(_words(_SCALED_UNITS)), _amount(rng)


def _render_unit(value: Value, locale: Locale) -> str | None:
    length, unit, amount = value
    if length not in locale._data["unit_patterns"].get(unit, {}):
        return None
    return units.format_unit(Decimal(amount), unit, length=length, locale=locale)


def _sample_compound_unit(rng: Random) -> Value:
    numerator, denominator = rng.choice(_words(_NUMERATORS)), rng.choice(_words(_DENOMINATORS))
    while numerator == denominator:
        denominator = rng.choice(_words(_DENOMINATORS))
    return numerator, denominator, _amount(rng)


def _render_compound_unit(value: Value, locale: Locale) -> str | None:
    numerator, denominator, amount = value
    text = units.format_compound_unit(
        Decimal(amount), numerator, denominator_unit=denominator, locale=locale
    )
    # Where a locale has no name for a unit, Babel writes the unit's identifier.
    return None if text is None or numerator in text or denominator in text else text


def _render_territory(value: Value, locale: Locale) -> str | None:
    return locale.territories.get(value[0])


def _render_language(value: Value, locale: Locale) -> str | None:
    return locale.languages.get(value[0])


def _sample_locale_name(rng: Random) -> Value:
    return rng.choice(_language_codes()), rng.choice(_territory_codes())


def _render_locale_name(value: Value, locale: Locale) -> str | None:
    language, territory = locale.languages.get(value[0]), locale.territories.get(value[1])
    return f"{language} ({territory})" if language and territory else None


def _render_currency(value: Value, locale: Locale) -> str | None:
    return locale.currencies.get(value[0])


def _render_metazone(value: Value, locale: Locale) -> str | None:
    zone, variant = value
    name = locale.meta_zones.get(zone, {}).get("long", {}).get(variant)
    return str(name) if name else None


def _render_city(value: Value, locale: Locale) -> str | None:
    city = locale.time_zones.get(value[0], {}).get("city")
    if city is None and locale.language == "en":  # English names the zone's own city.
        return str(value[0].rsplit("/", 1)[1].replace("_", " "))
    return str(city) if city else None


_LISTED: dict[str, tuple[Callable[[Random], Value], Callable[[Value, Locale], str | None]]] = {
    "territory": (lambda rng: (rng.choice(_territory_codes()),), _render_territory),
    "language": (lambda rng: (rng.choice(_language_codes()),), _render_language),
    "city": (lambda rng: (rng.choice(_city_zones()),), _render_city),
    "unit": (_sample_unit, _render_unit),
    "money_by_name": (_sample_money, _render_money_by_name),
    "date": (_sample_date, _render_date),
    "relative": (_sample_relative, _render_relative),
}
_LIST_WEIGHTS = (5, 4, 2, 3, 2, 1, 1)


def _sample_list(rng: Random) -> Value:
    kind = rng.choices(tuple(_LISTED), _LIST_WEIGHTS)[0]
    sample, _ = _LISTED[kind]
    members = {sample(rng) for _ in range(rng.choice((2, 2, 3, 3, 4)))}
    return rng.choice(("standard", "or")), kind, tuple(sorted(members))


def _render_list(value: Value, locale: Locale) -> str | None:
    style, kind, members = value
    if len(members) < 2 or style not in locale.list_patterns:
        return None
    texts = [_LISTED[kind][1](member, locale) for member in members]
    said = [text for text in texts if text]
    return lists.format_list(said, style, locale) if len(said) == len(texts) else None


def _list_parts(value: Value) -> Sequence[tuple[str, Value]]:
    _, kind, members = value
    styled = kind in ("date", "unit")
    return [(kind, member[1:] if styled else member) for member in members]


def _locale_name_parts(value: Value) -> Sequence[tuple[str, Value]]:
    return [("language", (value[0],)), ("territory", (value[1],))]


KINDS: tuple[Kind, ...] = (
    Kind("date", 12, _sample_date, _render_date, styled=True),
    Kind("month", 3, _sample_month, _render_month, styled=True),
    Kind("month_day", 2, _sample_month_day, _render_month_day),
    Kind("time", 2, _sample_time, _render_time, styled=True),
    Kind("datetime", 7, _sample_datetime, _render_datetime, styled=True),
    Kind("interval", 6, _sample_interval, _render_interval, styled=True),
    Kind("clock_interval", 1, _sample_clock_interval, _render_clock_interval),
    Kind("relative", 8, _sample_relative, _render_relative),
    Kind("number", 2, _sample_number, _render_number),
    Kind("percent", 2, _sample_percent, _render_percent),
    Kind("compact", 4, _sample_compact, _render_compact),
    Kind("money", 3, _sample_money, _render_money),
    Kind("money_by_name", 8, _sample_money, _render_money_by_name),
    Kind("unit", 11, _sample_unit, _render_unit, styled=True),
    Kind("compound_unit", 5, _sample_compound_unit, _render_compound_unit),
    Kind("territory", 3, _LISTED["territory"][0], _render_territory),
    Kind("language", 4, _LISTED["language"][0], _render_language),
    Kind("locale_name", 4, _sample_locale_name, _render_locale_name, parts=_locale_name_parts),
    Kind("currency", 2, lambda rng: (rng.choice(sorted(_english().currencies)),), _render_currency),
    Kind("time_zone", 2, lambda rng: rng.choice(_metazones()), _render_metazone),
    Kind("city", 3, _LISTED["city"][0], _render_city),
    Kind("list", 16, _sample_list, _render_list, parts=_list_parts),
)
