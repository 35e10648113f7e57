"""The instruction set that a user forces with HUB_CPU_ISA; light enough for every command.

It is a property of the process, not of a server: processes that are started from this one inherit
it, and so do the engines that a benchmark runs beside ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hub.errors import SettingsError

VARIABLE: Final = "HUB_CPU_ISA"
NAMES: Final = ("plain", "avx2", "avxvnni", "avx512", "amx", "neon")
"""What the compiled kernels can be built for, whatever this machine can run."""

_AUTO: Final = ("", "auto")
_CAPS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "plain": {
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "ATEN_CPU_CAPABILITY": "default",
            "CT2_FORCE_CPU_ISA": "GENERIC",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
        "avx2": {
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
            "CT2_FORCE_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        "avxvnni": {
            "ONEDNN_MAX_CPU_ISA": "AVX2_VNNI",
            "ATEN_CPU_CAPABILITY": "avx2",
            "CT2_FORCE_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    }
)


def forced_isa(environ: Mapping[str, str] | None = None) -> str:
    """Return what HUB_CPU_ISA names, "" where the best instruction set is to be used.

    Args:
        environ: The environment; the process's own by default.

    Raises:
        SettingsError: No instruction set has that name.
    """
    value = (os.environ if environ is None else environ).get(VARIABLE, "")
    if value in _AUTO:
        return ""
    if value not in NAMES:
        raise SettingsError(
            f"{VARIABLE} is {value!r}; give auto or one of {', '.join(NAMES)}", field="cpu_isa"
        )
    return value


def library_caps(isa: str) -> Mapping[str, str]:
    """Return the environment that holds oneDNN, PyTorch, MKL and CTranslate2 to an instruction set.

    These libraries read it when they are first used. An empty mapping means no limit.
    """
    return _CAPS.get(isa, {})
