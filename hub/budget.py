"""Parameter arithmetic: what a method trains at a size, and what size a budget buys.

A budget is a fraction of the *unique parameters of the unquantized base*, tied
weights counted once. Every method's count is a straight line in its size,

    count(size) = intercept + slope * size,

so the solver is `floor((B - intercept) / slope)`, capped where a larger size
would add nothing. Only dimensions go in; whether a method can be trained or
served is not decided here.

Letters: d = d_model, i = attention width (heads × head width, d in most families),
f = feed-forward width, E and D = encoder and decoder layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from hub.dimensions import ModelDimensions
from hub.errors import BudgetError

__all__ = [
    "METHODS",
    "Line",
    "MethodSpec",
    "ModelDimensions",
    "Solution",
    "allowance",
    "check_budget",
    "count",
    "method_spec",
    "minimum",
    "parse_budget",
    "solve",
]


class Line(NamedTuple):
    """A parameter count as a function of size; slope 0 where there is no size."""

    slope: int
    intercept: int


@dataclass(frozen=True, slots=True)
class MethodSpec:
    """How one method, in one variant, spends parameters.

    Attributes:
        size_name: What the size is called: "width", "rank", "length", "rows" or "" if fixed.
        line: The count as a line in the size.
        cap: Largest size that adds anything, None where there is no such limit.
    """

    size_name: str
    line: Callable[[ModelDimensions], Line]
    cap: Callable[[ModelDimensions], int | None] = lambda dims: None


def _bottlenecks(sites: int, d: int, *, norm: bool) -> Line:
    """Count down (r,d)+r, up (d,r)+d and a layer norm's 2d, at each site."""
    return Line(sites * (2 * d + 1), sites * (d + (2 * d if norm else 0)))


def _queries_and_values(dims: ModelDimensions) -> Line:
    """Count A (r,d) and B (i,r) on q and v; a DoRA magnitude is as long as the output."""
    width = dims.d_model + dims.inner
    return Line(2 * width * dims.attentions, 2 * dims.inner * dims.attentions)


def _attention_linears(dims: ModelDimensions) -> Line:
    """Count q, k, v (d→i) and the output (i→d) of every attention."""
    width = dims.d_model + dims.inner
    outputs = 3 * dims.inner + dims.d_model
    return Line(4 * width * dims.attentions, outputs * dims.attentions)


def _all_linears(dims: ModelDimensions) -> Line:
    """Count attention, the projections into the feed-forward (d→f) and out of it (f→d)."""
    attention = _attention_linears(dims)
    linears = dims.feed_forward_linears
    slope = linears * (dims.d_model * dims.layers + dims.ffn_total)
    outputs = (linears - 1) * dims.ffn_total + dims.d_model * dims.layers
    return Line(attention.slope + slope, attention.intercept + outputs)


def _biases(dims: ModelDimensions) -> int:
    """Count every bias: attention 3i + d, fc1 f, fc2 d, layer norms d each."""
    if not dims.biases:
        return 0
    d = dims.d_model
    attention = (3 * dims.inner + d) * dims.attentions
    feed_forward = (dims.feed_forward_linears - 1) * dims.ffn_total + d * dims.layers
    return attention + feed_forward + d * dims.norms


def _norm_weights(dims: ModelDimensions) -> int:
    """Count the weight of every layer norm."""
    return dims.d_model * dims.norms


def _norms(dims: ModelDimensions) -> int:
    """Count weight and bias of every layer norm, the weight alone of RMS norms."""
    return _norm_weights(dims) * dims.norm_parameters


def _cross_attention(dims: ModelDimensions) -> int:
    """Count four projections with their biases and the norm of every cross-attention."""
    d, inner = dims.d_model, dims.inner
    biases = 3 * inner + d if dims.biases else 0
    return dims.decoder_layers * (4 * d * inner + biases + dims.norm_parameters * d)


def _ia3(dims: ModelDimensions) -> int:
    """Count one vector on keys, on values and on fc2's input (arXiv 2205.05638, §3.3)."""
    return 2 * dims.inner * dims.attentions + dims.ffn_total


def _token_rows(dims: ModelDimensions) -> Line:
    """Count rows of the token table; nothing where the output is a table of its own."""
    return Line(dims.d_model if dims.tied else 0, 0)


def _narrower(dims: ModelDimensions) -> int:
    return min(_width(dims), dims.encoder_ffn, dims.decoder_ffn)


def _fixed(count: Callable[[ModelDimensions], int]) -> MethodSpec:
    return MethodSpec("", lambda m: Line(0, count(m)))


def _lora(line: Callable[[ModelDimensions], Line], *, ffn: bool = False) -> MethodSpec:
    return MethodSpec("rank", lambda m: Line(line(m).slope, 0), _narrower if ffn else _width)


def _dora(line: Callable[[ModelDimensions], Line], *, ffn: bool = False) -> MethodSpec:
    return MethodSpec("rank", line, _narrower if ffn else _width)


def _prefix(attentions: Callable[[ModelDimensions], int]) -> MethodSpec:
    def line(dims: ModelDimensions) -> Line:
        return Line(2 * dims.inner * attentions(dims), 0)

    return MethodSpec("length", line, _positions)


def _width(dims: ModelDimensions) -> int:
    return min(dims.d_model, dims.inner)


def _positions(dims: ModelDimensions) -> int:
    """Leave a prefix one position to stand in front of."""
    return max(1, dims.max_positions - 1)


# Method → variant → arithmetic; a method's first variant is its default.
METHODS: Final[Mapping[str, Mapping[str, MethodSpec]]] = MappingProxyType(
    {
        # Bapna & Firat 2019 (arXiv 1909.08478); Houlsby et al. 2019 put one a sub-layer.
        "bottleneck": MappingProxyType(
            {
                "layer": MethodSpec(
                    "width", lambda m: _bottlenecks(m.layers, m.d_model, norm=True)
                ),
                "layer-no-norm": MethodSpec(
                    "width", lambda m: _bottlenecks(m.layers, m.d_model, norm=False)
                ),
                "sublayer": MethodSpec(
                    "width", lambda m: _bottlenecks(m.sublayers, m.d_model, norm=True)
                ),
                "sublayer-no-norm": MethodSpec(
                    "width", lambda m: _bottlenecks(m.sublayers, m.d_model, norm=False)
                ),
            }
        ),
        # Hu et al. 2021 (arXiv 2106.09685); with magnitudes Liu et al. 2024 (arXiv 2402.09353).
        "lora": MappingProxyType(
            {
                "qv": _lora(_queries_and_values),
                "attention": _lora(_attention_linears),
                "all-linear": _lora(_all_linears, ffn=True),
                "qv-dora": _dora(_queries_and_values),
                "attention-dora": _dora(_attention_linears),
                "all-linear-dora": _dora(_all_linears, ffn=True),
            }
        ),
        # Keys and values in front of attention (Li & Liang 2021, arXiv 2101.00190);
        # PEFT's reaches the decoder's self-attention alone.
        "prefix": MappingProxyType(
            {
                "decoder": _prefix(lambda m: m.decoder_layers),
                "all": _prefix(lambda m: m.attentions),
            }
        ),
        "bitfit": MappingProxyType({"all": _fixed(_biases)}),
        "norms": MappingProxyType({"weight": _fixed(_norm_weights), "both": _fixed(_norms)}),
        "cross-attention": MappingProxyType({"all": _fixed(_cross_attention)}),
        "ia3": MappingProxyType({"kv-fc2": _fixed(_ia3)}),
        # PEFT's trainable tokens: whole rows of the table that is both input and output.
        "tokens": MappingProxyType(
            {"tied": MethodSpec("rows", _token_rows, lambda m: m.vocab_size)}
        ),
        "full": MappingProxyType({"all": _fixed(lambda m: m.parameters)}),
    }
)


@dataclass(frozen=True, slots=True)
class Solution:
    """The largest adapter that a budget buys.

    Attributes:
        size: Width, rank or length; 0 for a method without one.
        trainable_parameters: Exact count at that size.
        realised_fraction: That count over the base's unique parameters.
    """

    size: int
    trainable_parameters: int
    realised_fraction: float


def method_spec(method: str, variant: str = "") -> MethodSpec:
    """Return a method's arithmetic; the default variant when none is named.

    Raises:
        BudgetError: The method or the variant is unknown.
    """
    variants = METHODS.get(method)
    if variants is None:
        raise BudgetError(
            f"unknown method {method!r}; choose one of {', '.join(METHODS)}", field="method"
        )
    spec = variants.get(variant or next(iter(variants)))
    if spec is None:
        raise BudgetError(
            f"method {method} has no variant {variant!r}; choose one of {', '.join(variants)}",
            field="method",
        )
    return spec


def count(method: str, size: int, dims: ModelDimensions, variant: str = "") -> int:
    """Return the trainable parameters of a method at a size.

    Raises:
        BudgetError: The method is unknown, the base has nothing for it to train, or the size
            is below 1 or above its cap (for a method without a size: not 0).
    """
    spec = method_spec(method, variant)
    line = _trained_line(method, spec, dims)
    _check_size(method, spec, size, spec.cap(dims))
    return line.intercept + line.slope * size


def minimum(method: str, dims: ModelDimensions, variant: str = "") -> int:
    """Return the fewest parameters that the method can train."""
    line = method_spec(method, variant).line(dims)
    return line.intercept + line.slope


def solve(
    method: str, budget: float, dims: ModelDimensions, variant: str = "", *, taken: int = 0
) -> Solution:
    """Find the largest size within a budget.

    Args:
        method: A key of METHODS.
        budget: Fraction of `dims.parameters`, read as the decimal it prints as.
        dims: Dimensions of the base.
        variant: Placement or targets; the method's default when empty.
        taken: Parameters of the budget that something beside the method takes; the solution
            counts them too.

    Raises:
        BudgetError: The budget is not in (0, 1], or buys less than the method's
            minimum; the message names that minimum.
    """
    spec = method_spec(method, variant)
    allowed = allowance(budget, dims)
    line = _trained_line(method, spec, dims)
    least = line.intercept + line.slope
    if allowed - taken < least:
        raise _too_small(method, spec, budget, allowed, least, taken, dims)
    size = (allowed - taken - line.intercept) // line.slope if line.slope else 0
    cap = spec.cap(dims)
    size = size if cap is None else min(size, cap)
    total = taken + line.intercept + line.slope * size
    return Solution(size, total, total / dims.parameters)


def allowance(budget: float, dims: ModelDimensions) -> int:
    """Return how many parameters a budget allows, rounded down.

    The float is read as the decimal that prints it, so that 0.29 of 100 is 29.
    """
    return int(Fraction(repr(check_budget(budget))) * dims.parameters)


def check_budget(budget: float) -> float:
    """Return a budget in (0, 1] as a float, or raise BudgetError."""
    if isinstance(budget, bool) or not isinstance(budget, int | float) or not 0 < budget <= 1:
        raise BudgetError(
            f"budget {budget!r} is not a fraction of the base's parameters; "
            "give a number above 0 and at most 1, such as 0.01 or 1%",
            field="budget",
        )
    return float(budget)


def parse_budget(text: str) -> float:
    """Read a budget as a user types it: "0.01" or "1%".

    Raises:
        BudgetError: It is not a number, or not in (0, 1].
    """
    plain = text.strip()
    percent = plain.endswith("%")
    try:
        number = Decimal(plain.removesuffix("%").strip().replace("_", "?"))
    except ArithmeticError:
        raise BudgetError(
            f"budget {text[:40]!r} is not a number; give a fraction such as 0.01, or 1%",
            field="budget",
        ) from None
    if not number.is_finite():
        raise BudgetError(
            f"budget {text[:40]!r} is not finite; give a number above 0 and at most 1",
            field="budget",
        )
    return check_budget(float(number / 100 if percent else number))


def _trained_line(method: str, spec: MethodSpec, dims: ModelDimensions) -> Line:
    """Return the method's line, or refuse where the base has nothing that it trains."""
    line = spec.line(dims)
    if line.slope + line.intercept == 0:
        why = (
            "rows of the table that is both input and output, and this base's output is a table "
            "of its own (T5 v1.1, mT5); choose another method"
            if method == "tokens"
            else "biases and this base has none (T5, mT5); choose norms or another method"
        )
        raise BudgetError(f"{method} trains {why}", field="method")
    return line


def _check_size(method: str, spec: MethodSpec, size: int, cap: int | None) -> None:
    if not spec.size_name:
        if size != 0:
            raise BudgetError(f"method {method} has no size; give 0, not {size}", field="size")
        return
    if size < 1 or (cap is not None and size > cap):
        limit = "at least 1" if cap is None else f"between 1 and {cap}"
        raise BudgetError(f"{method} {spec.size_name} {size} must be {limit}", field="size")


def _too_small(
    method: str,
    spec: MethodSpec,
    budget: float,
    allowed: int,
    least: int,
    taken: int,
    dims: ModelDimensions,
) -> BudgetError:
    at_size = f" at {spec.size_name} 1" if spec.size_name else ""
    least += taken
    if taken:
        at_size += f" and with the {taken:,} of its token rows"
    if least > dims.parameters:
        remedy = "choose another method or a larger base"
    else:
        remedy = f"raise the budget to {_fraction_for(least, dims)} or choose another method"
    return BudgetError(
        f"budget {budget!r} allows {allowed:,} of {dims.parameters:,} parameters, but {method} "
        f"needs at least {least:,}{at_size}, a fraction of {least / dims.parameters:.3g}; {remedy}",
        field="budget",
        metadata={
            "minimum_parameters": str(least),
            "minimum_fraction": _fraction_for(least, dims),
        },
    )


def _fraction_for(least: int, dims: ModelDimensions) -> str:
    """Return a fraction in few digits that is certain to allow the count."""
    upward = Context(prec=3, rounding=ROUND_CEILING)
    return f"{upward.divide(Decimal(least), Decimal(dims.parameters)):f}"
