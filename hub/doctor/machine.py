"""The machine: processor, memory, GPU, clock, locale."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hub.console import size_text
from hub.doctor.report import Finding
from hub.errors import HubError
from hub.settings import Settings

if TYPE_CHECKING:
    import torch

BYTES_PER_PARAMETER: Final = {
    "float32": 4.2, "bfloat16": 2.2, "float16": 2.2, "int8": 1.3, "bnb-int8": 1.3, "nf4": 0.8,
}  # fmt: skip
"""What a base takes while it is served, tables and buffers included; measured, rounded up."""
PROCESS_BYTES: Final = 300 * 2**20
"""What a server takes before any base: Python with torch."""

_LOAD_BYTES: Final = 4
"""Of each parameter, while the base is being read in float32 and packed."""
_CGROUPS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
_EARLIEST: Final = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
_LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_DRIFT_SECONDS: Final = 0.5


def check_cpu(settings: Settings) -> Iterator[Finding]:
    """Look at the processor, the compiled kernels and the number of threads."""
    from hub.bench.machine import machine
    from hub.engine import native
    from hub.isa import VARIABLE, forced_isa

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = cores or 1
    said = f"{machine(1)['cpu']}, {cores} cores"
    if not native.available():
        yield Finding(
            "cpu", "warn", f"{said}; the compiled kernels are missing, int8 is slow",
            "install the package where there is a C compiler",
        )  # fmt: skip
    elif forced_isa() and native.variant() != native.variants()[-1]:
        yield Finding(
            "cpu", "warn",
            f"{said}; {VARIABLE} holds the kernels to {native.variant()}, "
            f"{native.variants()[-1]} is faster",
            f"unset {VARIABLE}",
        )  # fmt: skip
    else:
        yield Finding("cpu", "ok", f"{said}; kernels for {native.variant()}")
    if settings.threads and settings.threads > cores:
        yield Finding(
            "threads", "warn", f"threads = {settings.threads}, this process may use {cores} cores",
            "lower HUB_THREADS: threads of one product wait for each other",
        )  # fmt: skip


def check_gpu(settings: Settings) -> Iterator[Finding]:
    """Look for the GPU that the settings ask for; raises SettingsError where it is not there."""
    import torch

    from hub.engine.devices import find_device

    device = find_device(settings.device)
    if device.type == "cpu":
        seen = "there is none" if not torch.cuda.is_available() else "not asked for"
        yield Finding("gpu", "ok", f"{seen}; the engine runs on the CPU")
        return
    free, total = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    said = f"{name} ({device}), {size_text(free)} of {size_text(total)} free"
    yield Finding("gpu", "ok", said)


def check_memory(settings: Settings) -> Iterator[Finding]:
    """Compare what the base and the adapters may take with what is free."""
    from hub.doctor.contents import local_base
    from hub.engine.devices import find_device

    try:
        base, device = local_base(settings), find_device(settings.device)
    except HubError:
        return  # `check_base` and `check_gpu` say so
    if base is None:
        return
    on_cpu = device.type == "cpu"
    asked = settings.quantization
    quantization = ("int8" if on_cpu else "bfloat16") if asked == "auto" else asked
    weights = int(base.parameters * BYTES_PER_PARAMETER[quantization])
    loading = PROCESS_BYTES + weights + _LOAD_BYTES * base.parameters
    on_host = settings.host_adapter_bytes + (settings.device_adapter_bytes if on_cpu else 0)
    serving = PROCESS_BYTES + (weights if on_cpu else 0) + on_host
    yield _room(loading, serving, available_bytes(), quantization)
    if not on_cpu:
        yield from _device_room(weights + settings.device_adapter_bytes, device)


def _room(loading: int, serving: int, free: int, quantization: str) -> Finding:
    said = (
        f"{size_text(free)} are available; loading the base as {quantization} takes about "
        f"{size_text(loading)} for a moment, serving it with full caches of adapters "
        f"{size_text(serving)}"
    )
    if free < loading:
        return Finding("memory", "fail", said, "free memory, or serve a smaller base")
    if free < serving:
        remedy = "lower HUB_HOST_ADAPTER_BYTES and HUB_DEVICE_ADAPTER_BYTES, or free memory"
        return Finding("memory", "warn", said, remedy)
    return Finding("memory", "ok", said)


def _device_room(needed: int, device: torch.device) -> Iterator[Finding]:
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    said = f"{size_text(free)} are free on {device}, base and adapters take {size_text(needed)}"
    if free < needed:
        remedy = "give --quantization nf4, lower HUB_DEVICE_ADAPTER_BYTES, or free the GPU"
        yield Finding("gpu memory", "fail", said, remedy)
    else:
        yield Finding("gpu memory", "ok", said)


def available_bytes() -> int:
    """Return the memory that this process may still take, a container's limit considered."""
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in _CGROUPS:
        try:
            left = int(Path(limit).read_text()) - int(Path(used).read_text())
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
        free = min(free, max(0, left))
    return free


def check_clock(settings: Settings) -> Iterator[Finding]:
    """See that the clock tells a possible time and goes forward; its zone does not matter."""
    now = time.time()
    said = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    if not _EARLIEST < now < _LATEST:
        yield Finding(
            "clock", "fail", f"it says {said}",
            "set it (certificates, tokens and the times of versions depend on it); run NTP",
        )  # fmt: skip
        return
    before, steady = time.time(), time.monotonic()
    time.sleep(0.01)
    drift = (time.time() - before) - (time.monotonic() - steady)
    if abs(drift) > _DRIFT_SECONDS:
        yield Finding(
            "clock", "warn", f"it was moved by {drift:+.1f} s during this check",
            "let NTP slew the clock rather than step it",
        )  # fmt: skip
    else:
        yield Finding("clock", "ok", f"{said}, in UTC whatever the zone")


def check_locale(settings: Settings) -> Iterator[Finding]:
    """See that names of files and messages can be in any script."""
    import locale

    names, messages = sys.getfilesystemencoding(), locale.getpreferredencoding(False)
    if {names.lower().replace("-", ""), messages.lower().replace("-", "")} == {"utf8"}:
        yield Finding("locale", "ok", "UTF-8")
    else:
        yield Finding(
            "locale", "warn",
            f"file names are in {names} and messages in {messages}; what these lack is escaped",
            "set LC_ALL=C.UTF-8",
        )  # fmt: skip
