"""Names of an adapter's tensors, as PEFT saves them and as they come otherwise.

Names come with the wrappers of whoever saved the state dict (torch.compile, data parallelism,
FSDP), with the adapter's own name, or with PEFT's prefix twice. PEFT itself leaves such tensors
out without a word.
"""

from __future__ import annotations

import re
from typing import Final

PREFIX: Final = "base_model.model."
_WRAPPERS: Final = frozenset(
    {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
_PARAMETER: Final = re.compile(
    r"(?P<module>.+\.)?(?P<part>lora_[ABE]|lora_embedding_[AB]|lora_magnitude_vector|ia3_l"
    r"|vera_lambda_[bd]|vera_[AB]|ln_tuning_layers|trainable_tokens_delta)"
    r"(?:\.(?P<adapter>(?!weight$|bias$)[^.]+))?(?P<tail>\.weight|\.bias)?"
)


def canonical_name(name: str) -> str:
    """Return a tensor's name as PEFT saves it; unchanged where it holds no adapter's parameter."""
    match = _PARAMETER.fullmatch(_unwrapped(name))
    if match is None:
        return name
    tail = "" if match["part"] == "lora_magnitude_vector" else match["tail"] or ""
    module = match["module"] or ""
    prefix = "base_model." if match["part"] in ("vera_A", "vera_B") else PREFIX
    return f"{prefix}{_without_prefix(module)}{match['part']}{tail}"


def adapter_name(name: str) -> str:
    """Return the adapter's name within a tensor's, "" where there is none."""
    match = _PARAMETER.fullmatch(_unwrapped(name))
    return (match["adapter"] or "") if match else ""


def names_parameter(name: str) -> bool:
    """Return whether a tensor's name, however it is spelled, is that of an adapter's parameter."""
    return _PARAMETER.fullmatch(_unwrapped(name)) is not None


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _without_prefix(module: str) -> str:
    while module.startswith(PREFIX):
        module = module.removeprefix(PREFIX)
    return "" if module == "base_model." else module
