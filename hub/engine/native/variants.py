"""Which instruction set the compiled kernels use: the machine's best, or what HUB_CPU_ISA says.

All variants give the same bits, so a choice changes the speed and no token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch  # noqa: F401  # first: the kernels use the OpenMP runtime that it loads

from hub.errors import SettingsError
from hub.isa import VARIABLE, forced_isa

try:
    from hub.engine.native import _kernels as kernels
except ImportError:
    kernels = None  # type: ignore[assignment]

__all__ = [
    "available", "kernels", "multiplies", "obey_environment", "using", "variant", "variants",
]  # fmt: skip


def available() -> bool:
    """Return whether the compiled kernels are there."""
    return kernels is not None


def variant() -> str:
    """Return the instruction set in use, "" without kernels."""
    return kernels.variant() if available() else ""


def variants() -> tuple[str, ...]:
    """Return the instruction sets that this machine can run, slowest first."""
    return tuple(kernels.variants()) if available() else ()


def multiplies() -> bool:
    """Return whether products with 8-bit weights are ours rather than oneDNN's.

    They are where vectors are known, since they read weights faster there and give the same bits
    on every machine. `plain` has to be asked for.
    """
    return available() and (variant() != "plain" or forced_isa() == "plain")


@contextmanager
def using(name: str) -> Iterator[None]:
    """Run with another instruction set; the whole process does, so nothing else may run.

    Raises:
        SettingsError: The machine cannot run it.
    """
    before = variant()
    _select(name)
    try:
        yield
    finally:
        _select(before)


def obey_environment() -> None:
    """Select what HUB_CPU_ISA names, if it names anything.

    Raises:
        SettingsError: The machine cannot run it, or there are no kernels.
    """
    name = forced_isa()
    if name:
        _select(name)


def _select(name: str) -> None:
    if not available():
        raise SettingsError(
            f"{VARIABLE} is {name!r}, but the compiled kernels are missing; install the package "
            f"where there is a C compiler, or unset {VARIABLE}",
            field="cpu_isa",
        )
    try:
        kernels.select(name)
    except ValueError:
        raise SettingsError(
            f"{VARIABLE} is {name!r}, which this machine cannot run; it can run "
            f"{', '.join(variants())}",
            field="cpu_isa",
        ) from None
