"""What this machine computes fast: the precision that `auto` stands for."""

from __future__ import annotations

from typing import Final

from hub.errors import SettingsError
from training.recipe import PRECISIONS

CHOICES: Final = ("auto", *PRECISIONS)


def resolve_precision(asked: str) -> str:
    """Return `float32` or `bfloat16`; `auto` is bfloat16 where the machine multiplies it natively.

    Emulated bfloat16 is slower than float32, so a CPU has to report AMX or AVX-512 BF16, a GPU
    compute capability 8.

    Raises:
        SettingsError: The name is none of auto, float32 and bfloat16.
    """
    if asked not in CHOICES:
        raise SettingsError(
            f"--precision is {asked!r}; it must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}",
            field="precision",
        )
    if asked != "auto":
        return asked
    return "bfloat16" if _native_bfloat16() else "float32"


def _native_bfloat16() -> bool:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_capability()[0] >= 8
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def training_device() -> str:
    """Return `cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
