"""Languages: one spelling inside, each family's codes outside, ambiguity refused.

Expected codes are those of the families' published tables: M2M-100 (arXiv
2010.11125), FLORES-200 (arXiv 2207.04672) and mBART-50 (arXiv 2008.00401).
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import LanguageError
from hub.language_tables import FLORES_200, M2M_100, MBART_50
from hub.languages import (
    AMBIGUOUS,
    LanguagePair,
    broader,
    canonical,
    choose,
    flores_code,
    m2m_code,
    mbart_code,
)

EVERY_CODE = sorted({*M2M_100.split(), *FLORES_200.split(), *MBART_50.split()})


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((code, "ko") for code in ("ko", "kor", "KO", "ko_KR", "ko-KR", "kor_Hang", "ko-Kore")),
        *((code, "en") for code in ("en", "eng", "eng_Latn", "en_XX", "en_US", "en-Latn-US")),
        ("en_GB", "en-GB"),
        ("pt_BR", "pt"),
        ("pt_PT", "pt-PT"),
        ("zh", "zh"),
        ("cmn", "zh"),
        ("zho_Hans", "zh-Hans"),
        ("zh_CN", "zh-Hans"),
        ("zh_TW", "zh-Hant"),
        ("zh_HK", "zh-Hant-HK"),
        ("sr", "sr"),
        ("sr_RS", "sr-Cyrl"),
        ("sr-Latn", "sr-Latn"),
        ("sh", "sr-Latn"),
        ("no", "no"),
        ("no_NO", "no"),
        ("nob_Latn", "nb"),
        ("nno_Latn", "nn"),
        ("iw", "he"),
        ("tl", "fil"),
        ("jpn_Jpan", "ja"),
        ("arb_Arab", "ar"),
        ("ar_AR", "ar"),
        ("pes_Arab", "fa"),
        ("prs_Arab", "fa-AF"),
        ("pbt_Arab", "ps"),
        ("uzn_Latn", "uz"),
        ("uz_Cyrl", "uz-Cyrl"),
        ("ns", "nso"),
        ("twi_Latn", "tw"),
    ],
)
def test_canonical_spelling(code: str, expected: str) -> None:
    assert canonical(code) == expected


@pytest.mark.parametrize("code", EVERY_CODE)
def test_canonical_is_a_fixed_point_for_every_known_code(code: str) -> None:
    assert canonical(canonical(code)) == canonical(code)


@pytest.mark.parametrize(
    "code",
    [
        *("", " ", "-", "_XX", "xx", "zz", "e", "123", "und", "mul", "qaa", "Korean", "한국어"),
        *("en\0", "\ud800", "de-1996", "en-x-mine", "en-u-ca-buddhist", "a" * 200),
    ],
)
def test_unknown_codes_are_refused_with_the_value_and_a_remedy(code: str) -> None:
    with pytest.raises(LanguageError) as caught:
        canonical(code)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=40))
def test_canonical_returns_a_fixed_point_or_raises_language_error(code: str) -> None:
    try:
        tag = canonical(code)
    except LanguageError:
        return
    assert canonical(tag) == tag


def test_tables_have_the_published_sizes() -> None:
    # FLORES-200 has 204 in the paper; NLLB's tokenizer leaves out arb_Latn and min_Arab.
    assert (len(M2M_100.split()), len(FLORES_200.split()), len(MBART_50.split())) == (100, 202, 52)
    assert {"arb_Latn", "min_Arab"}.isdisjoint(FLORES_200.split())


@pytest.mark.parametrize("code", M2M_100.split())
def test_every_m2m_code_comes_back(code: str) -> None:
    assert m2m_code(canonical(code)) == code


@pytest.mark.parametrize("code", FLORES_200.split())
def test_every_flores_code_comes_back(code: str) -> None:
    assert flores_code(canonical(code)) == code


@pytest.mark.parametrize("code", MBART_50.split())
def test_every_mbart_code_comes_back(code: str) -> None:
    assert mbart_code(canonical(code)) == code


@pytest.mark.parametrize(
    ("language", "m2m", "flores", "mbart"),
    [
        ("en", "en", "eng_Latn", "en_XX"),
        ("ko", "ko", "kor_Hang", "ko_KR"),
        ("zh-Hans", "zh", "zho_Hans", "zh_CN"),
        ("pt-PT", "pt", "por_Latn", "pt_XX"),
        ("fil", "tl", "tgl_Latn", "tl_XX"),
        ("fa", "fa", "pes_Arab", "fa_IR"),
        ("he", "he", "heb_Hebr", "he_IL"),
    ],
)
def test_codes_of_each_family(language: str, m2m: str, flores: str, mbart: str) -> None:
    assert (m2m_code(language), flores_code(language), mbart_code(language)) == (m2m, flores, mbart)


@pytest.mark.parametrize("language", AMBIGUOUS)
def test_ambiguous_tags_are_m2m_languages_but_no_flores_ones(language: str) -> None:
    assert m2m_code(language) == language
    with pytest.raises(LanguageError, match=f"ambiguous.*{AMBIGUOUS[language][0]}"):
        flores_code(language)


def test_bokmal_is_m2ms_norwegian_and_nynorsk_is_not() -> None:
    assert m2m_code("nb") == "no"
    with pytest.raises(LanguageError, match="M2M-100 has no code for language 'nn'"):
        m2m_code("nn")


def test_a_script_that_nllb_does_not_write_is_refused() -> None:
    assert flores_code("sr-Cyrl") == "srp_Cyrl"
    for tag in ("sr-Latn", "uz-Cyrl", "az-Arab"):
        with pytest.raises(LanguageError, match=tag):
            flores_code(tag)


def test_a_region_chooses_the_script_for_nllb() -> None:
    assert flores_code("zh_TW") == "zho_Hant"
    assert flores_code("zh-HK") == "zho_Hant"
    assert flores_code("en-GB") == "eng_Latn"


# Hand-made after RFC 4647, section 3.4, on canonical tags.
def test_broader_tags_are_the_lookup_of_rfc_4647() -> None:
    assert broader("zh-Hant-HK") == ("zh-Hant-HK", "zh-Hant", "zh")
    assert broader("en") == ("en",)
    assert broader("nb") == ("nb", "no")


@pytest.mark.parametrize(
    ("language", "known", "expected"),
    [
        ("en-GB", "de en", "en"),
        ("de_AT", "de en", "de"),
        ("pt-PT", "pt", "pt"),
        ("pt-PT", "pt pt-PT", "pt-PT"),
        ("zh-CN", "zh", "zh"),
        ("zh_TW", "zh", "zh"),
        ("zh-HK", "zh-Hans zh-Hant", "zh-Hant"),
        ("zh", "en zh-Hans", "zh-Hans"),
        ("fr_CA", "fr", "fr"),
        ("es-419", "es", "es"),
        ("nb", "no", "no"),
        ("no", "nb sv", "nb"),
        ("sr-Latn", "sr", "sr"),
    ],
)
def test_a_base_serves_a_language_as_one_of_its_own(
    language: str, known: str, expected: str
) -> None:
    assert choose(language, known.split(), "the base") == expected


@pytest.mark.parametrize(
    ("language", "known", "told"),
    [
        ("zh", "zh-Hans zh-Hant", "ambiguous here; choose one of zh-Hans, zh-Hant"),
        ("no", "nb nn", "ambiguous here; choose one of nb, nn"),
        ("nn", "no", "the base has no language 'nn'; it has: no"),
        ("sr-Latn", "sr-Cyrl", "no language 'sr-Latn'"),
        ("ko", "de en", "no language 'ko'; it has: de, en"),
    ],
)
def test_a_base_refuses_what_it_would_have_to_guess(language: str, known: str, told: str) -> None:
    with pytest.raises(LanguageError, match=told):
        choose(language, known.split(), "the base")


class TestPairs:
    def test_a_pair_serves_itself_and_its_varieties(self) -> None:
        plain, british = LanguagePair.parse("en-ko"), LanguagePair.parse("en_GB-ko")
        assert plain.serves(plain)
        assert plain.serves(british)
        assert not british.serves(plain)
        assert not british.serves(LanguagePair.parse("en_AU-ko"))
        assert not plain.serves(plain.reverse)

    def test_parse_and_print(self) -> None:
        pair = LanguagePair.parse("eng_Latn-ko_KR")
        assert (pair.source, pair.target, str(pair)) == ("en", "ko", "en-ko")
        assert str(pair.reverse) == "ko-en"

    def test_scripts_and_regions_use_an_underscore(self) -> None:
        pair = LanguagePair.parse("zh_Hant-pt_PT")
        assert (pair.source, pair.target) == ("zh-Hant", "pt-PT")
        assert LanguagePair.parse(str(pair)) == pair
        assert str(pair) == "zh_Hant-pt_PT"

    @pytest.mark.parametrize("text", ["", "en", "en-", "-ko", "-", "en-ko-de", "zh-Hant-en"])
    def test_not_a_pair(self, text: str) -> None:
        with pytest.raises(LanguageError, match="not a language pair"):
            LanguagePair.parse(text)

    @pytest.mark.parametrize("text", ["en-en", "en-eng_Latn", "ko_KR-kor", "nb-nob"])
    def test_the_same_language_twice_in_any_spelling(self, text: str) -> None:
        with pytest.raises(LanguageError, match="needs two languages"):
            LanguagePair.parse(text)

    def test_unknown_language_is_named(self) -> None:
        with pytest.raises(LanguageError, match="'xx'"):
            LanguagePair.parse("en-xx")

    def test_the_constructor_takes_canonical_spelling_only(self) -> None:
        with pytest.raises(LanguageError, match="use 'ko'"):
            LanguagePair("en", "kor_Hang")

    @given(st.sampled_from(EVERY_CODE), st.sampled_from(EVERY_CODE))
    def test_str_reads_back(self, source: str, target: str) -> None:
        if canonical(source) == canonical(target):
            return
        pair = LanguagePair.of(source, target)
        assert LanguagePair.parse(str(pair)) == pair
