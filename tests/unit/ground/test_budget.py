"""The solver against the worked table, hand arithmetic and its own promise.

Dimensions are the published ones: facebook/nllb-200-distilled-600M,
facebook/m2m100_418M and facebook/mbart-large-50, each d 1024, f 4096 and 12 + 12
layers. Their unique parameter counts are those of the released checkpoints.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from hub.budget import (
    METHODS,
    ModelDimensions,
    Solution,
    allowance,
    count,
    method_spec,
    minimum,
    parse_budget,
    solve,
)
from hub.errors import BaseNotFoundError, BudgetError


def large(vocab: int, parameters: int, *, embedding_norms: int = 0) -> ModelDimensions:
    return ModelDimensions(
        d_model=1024,
        encoder_layers=12,
        decoder_layers=12,
        encoder_ffn=4096,
        decoder_ffn=4096,
        vocab_size=vocab,
        max_positions=1024,
        parameters=parameters,
        embedding_norms=embedding_norms,
    )


NLLB = large(256206, 615_073_792)
M2M = large(128112, 483_905_536)
MBART = large(250054, 610_879_488, embedding_norms=2)
BASES = {"nllb": NLLB, "m2m": M2M, "mbart": MBART}
BUDGETS = (0.001, 0.01, 0.1)
SMALL = ModelDimensions(
    d_model=8,
    encoder_layers=2,
    decoder_layers=1,
    encoder_ffn=16,
    decoder_ffn=4,
    vocab_size=50,
    max_positions=32,
    parameters=5000,
)

# (method, variant, base) → largest size within 0.1 %, 1 %, 10 %; 0: nothing fits.
TABLE = {
    ("bottleneck", "layer", "nllb"): (11, 123, 1249),
    ("bottleneck", "layer", "m2m"): (8, 96, 982),
    ("bottleneck", "layer", "mbart"): (10, 122, 1240),
    ("bottleneck", "sublayer-no-norm", "nllb"): (4, 49, 499),
    ("bottleneck", "sublayer-no-norm", "m2m"): (3, 38, 393),
    ("bottleneck", "sublayer-no-norm", "mbart"): (4, 49, 496),
    ("lora", "qv", "nllb"): (4, 41, 417),
    ("lora", "qv", "m2m"): (3, 32, 328),
    ("lora", "qv", "mbart"): (4, 41, 414),
    ("lora", "attention", "nllb"): (2, 20, 208),
    ("lora", "attention", "m2m"): (1, 16, 164),
    ("lora", "attention", "mbart"): (2, 20, 207),
    ("lora", "all-linear", "nllb"): (1, 11, 113),
    ("lora", "all-linear", "m2m"): (0, 8, 89),
    ("lora", "all-linear", "mbart"): (1, 11, 112),
}
# The same for prefixes, before they are cut at the longest sequence.
PREFIXES = {"nllb": (25, 250, 2502), "m2m": (19, 196, 1969), "mbart": (24, 248, 2485)}
# Per cent of the base, three decimals, and for M2M-100 the whole number.
FIXED = {
    ("bitfit", "nllb"): ".054",
    ("bitfit", "m2m"): ".069",
    ("bitfit", "mbart"): ".055",
    ("norms", "nllb"): ".021",
    ("norms", "m2m"): ".026",
    ("norms", "mbart"): ".021",
    ("ia3", "nllb"): ".028",
    ("ia3", "m2m"): ".036",
    ("ia3", "mbart"): ".028",
}
VARIANTS = [(method, variant) for method, variants in METHODS.items() for variant in variants]


@pytest.mark.parametrize(("row", "sizes"), TABLE.items(), ids=lambda item: "-".join(map(str, item)))
def test_worked_table(row: tuple[str, str, str], sizes: tuple[int, ...]) -> None:
    method, variant, base = row
    for budget, size in zip(BUDGETS, sizes, strict=True):
        if size == 0:
            with pytest.raises(BudgetError, match="at least 540,672 at rank 1"):
                solve(method, budget, BASES[base], variant)
        else:
            assert solve(method, budget, BASES[base], variant).size == size


@pytest.mark.parametrize(("base", "lengths"), PREFIXES.items())
def test_worked_table_of_prefixes(base: str, lengths: tuple[int, ...]) -> None:
    dims = BASES[base]
    for budget, length in zip(BUDGETS, lengths, strict=True):
        slope = method_spec("prefix").line(dims).slope
        assert length * slope <= budget * dims.parameters < (length + 1) * slope
        assert solve("prefix", budget, dims).size == min(length, 1024)


@pytest.mark.parametrize(("row", "percent"), FIXED.items(), ids=lambda item: "-".join(item))
def test_worked_table_of_fixed_methods(row: tuple[str, str], percent: str) -> None:
    method, base = row
    variant = "both" if method == "norms" else ""
    count = minimum(method, BASES[base], variant)
    assert f"{100 * count / BASES[base].parameters:.3f}" == f"0{percent}"


def test_counts_known_from_the_study_and_from_instantiated_models() -> None:
    assert count("bottleneck", 1024, M2M) == 50_429_952
    assert count("bottleneck", 5, M2M) == 319_608
    assert count("prefix", 13, M2M) == 319_488
    assert count("bitfit", 0, M2M) == 333_824
    assert count("cross-attention", 0, M2M) == 50_405_376


def test_small_counts_by_hand() -> None:
    # 3 layers, width 5: norm 16, down 5·8 + 5, up 8·5 + 8
    assert count("bottleneck", 5, SMALL) == 3 * (16 + 45 + 48)
    # 2 + 2·1 attentions, q and v, rank 3: A 3·8, B 8·3
    assert count("lora", 3, SMALL) == 4 * 2 * (24 + 24)
    # and k and out; fc1 and fc2 of two layers 8 ↔ 16 and of one 8 ↔ 4
    assert count("lora", 3, SMALL, "all-linear") == 4 * 4 * 48 + 3 * (2 * 2 * 24 + 2 * 12)


@pytest.mark.parametrize(
    ("vocab", "family", "expected"),
    [(256206, "m2m_100", NLLB), (128112, "m2m_100", M2M), (250054, "mbart", MBART)],
)
def test_dimensions_from_config_count_the_released_models(
    vocab: int, family: str, expected: ModelDimensions
) -> None:
    config = {
        "model_type": family,
        "d_model": 1024,
        "encoder_layers": 12,
        "decoder_layers": 12,
        "encoder_ffn_dim": 4096,
        "decoder_ffn_dim": 4096,
        "vocab_size": vocab,
        "max_position_embeddings": 1024,
    }
    assert ModelDimensions.from_config(config) == expected
    with pytest.raises(BaseNotFoundError, match=r"'gpt2'.*m2m_100"):
        ModelDimensions.from_config({**config, "model_type": "gpt2"})
    with pytest.raises(BaseNotFoundError, match="d_model is 0"):
        ModelDimensions.from_config({**config, "d_model": 0})


@st.composite
def dimensions(draw: st.DrawFn) -> ModelDimensions:
    small = st.integers(1, 64)
    return ModelDimensions(
        d_model=draw(small),
        encoder_layers=draw(st.integers(1, 24)),
        decoder_layers=draw(st.integers(1, 24)),
        encoder_ffn=draw(small),
        decoder_ffn=draw(small),
        vocab_size=100,
        max_positions=draw(st.integers(1, 5000)),
        parameters=draw(st.integers(1, 10**10)),
    )


fractions = st.floats(0, 1, exclude_min=True)


@given(st.sampled_from(VARIANTS), fractions, dimensions())
@example(("lora", "qv"), 0.01, M2M)
def test_never_over_budget_and_one_more_would_be(
    kind: tuple[str, str], budget: float, dims: ModelDimensions
) -> None:
    method, variant = kind
    try:
        solution = solve(method, budget, dims, variant)
    except BudgetError:
        assert minimum(method, dims, variant) > allowance(budget, dims)
        return
    assert solution.trainable_parameters <= allowance(budget, dims)
    assert solution.realised_fraction <= budget
    assert solution.trainable_parameters == count(method, solution.size, dims, variant)
    line = method_spec(method, variant).line(dims)
    cap = method_spec(method, variant).cap(dims)
    if line.slope and solution.size != cap:
        assert solution.trainable_parameters + line.slope > allowance(budget, dims)


@given(
    st.sampled_from(VARIANTS),
    st.floats(0, 1, exclude_min=True, exclude_max=True, allow_subnormal=False),
    dimensions(),
    st.integers(10**6, 10**10),
)
def test_the_minimum_that_a_refusal_names_is_enough(
    kind: tuple[str, str], share: float, dims: ModelDimensions, parameters: int
) -> None:
    method, variant = kind
    dims = replace(dims, parameters=parameters)
    least = minimum(method, dims, variant)
    budget = share * least / parameters
    assume(budget > 0 and allowance(budget, dims) < least)
    with pytest.raises(BudgetError) as caught:
        solve(method, budget, dims, variant)
    named = float(caught.value.metadata["minimum_fraction"])
    assert budget < named < 1.02 * (least + 1) / parameters
    assert solve(method, named, dims, variant).trainable_parameters >= least


@given(st.sampled_from(VARIANTS), fractions, fractions, dimensions())
def test_a_larger_budget_never_buys_less(
    kind: tuple[str, str], one: float, other: float, dims: ModelDimensions
) -> None:
    small, big = sorted((one, other))
    try:
        less = solve(kind[0], small, dims, kind[1])
    except BudgetError:
        return
    assert solve(kind[0], big, dims, kind[1]).size >= less.size


def test_a_budget_means_its_decimal() -> None:
    assert 0.29 * 100 < 29  # what a float product would give
    hundred = ModelDimensions(1, 1, 1, 1, 1, 1, 1, parameters=100)
    assert allowance(0.29, hundred) == 29


def test_refusal_names_the_value_the_limit_and_the_remedy() -> None:
    with pytest.raises(BudgetError) as caught:
        solve("lora", 0.0001, M2M)
    assert str(caught.value) == (
        "budget 0.0001 allows 48,390 of 483,905,536 parameters, but lora needs at least "
        "147,456 at rank 1, a fraction of 0.000305; raise the budget to 0.000305 or choose "
        "another method"
    )


def test_rank_stops_where_more_would_add_nothing() -> None:
    assert solve("lora", 1.0, SMALL) == Solution(8, 1024, 1024 / 5000)
    assert solve("lora", 1.0, SMALL, "all-linear").size == 4  # the narrower feed-forward
    with pytest.raises(BudgetError, match="rank 9 must be between 1 and 8"):
        count("lora", 9, SMALL)


@pytest.mark.parametrize("size", [0, -1])
def test_size_must_be_positive(size: int) -> None:
    with pytest.raises(BudgetError, match=f"width {size} must be at least 1"):
        count("bottleneck", size, SMALL)


def test_fixed_methods_have_no_size() -> None:
    assert solve("bitfit", 0.5, SMALL).size == 0
    with pytest.raises(BudgetError, match="has no size"):
        count("bitfit", 4, SMALL)


@pytest.mark.parametrize("budget", [0, 0.0, -0.1, 1.01, 2, math.nan, math.inf, True, "0.01", None])
def test_a_budget_is_a_fraction(budget: float) -> None:
    with pytest.raises(BudgetError, match="above 0 and at most 1"):
        solve("bottleneck", budget, M2M)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("1%", 0.01),
        (" 1 % ", 0.01),
        ("1e-2", 0.01),
        ("0.1%", 0.001),
        (".5", 0.5),
        ("1", 1.0),
        ("100%", 1.0),
    ],
)
def test_parse_budget(text: str, value: float) -> None:
    assert parse_budget(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "%", "one", "0", "0%", "-1%", "101%", "1.01", "0,01", "1_0%", "1%%", "0x1p-3"),
        *("nan", "inf", "-inf", "1e999999999", "1e-999999999", "9" * 5000),
    ],
)
def test_parse_budget_refuses(text: str) -> None:
    with pytest.raises(BudgetError) as caught:
        parse_budget(text)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=20))
def test_parse_budget_returns_a_fraction_or_raises_budget_error(text: str) -> None:
    with contextlib.suppress(BudgetError):
        assert 0 < parse_budget(text) <= 1


def test_unknown_methods_and_variants_are_refused_with_the_choices() -> None:
    with pytest.raises(BudgetError, match=r"'houlsby'.*bottleneck, lora"):
        solve("houlsby", 0.01, M2M)
    with pytest.raises(BudgetError, match=r"'kq'.*qv, attention, all-linear"):
        solve("lora", 0.01, M2M, "kq")
