"""The checks of `hub doctor`, in the order in which they are told."""

from __future__ import annotations

from hub.doctor import contents, machine, network, software
from hub.doctor.report import Check


def all_checks() -> tuple[Check, ...]:
    """Return every check."""
    return (
        Check("versions", software.check_versions),
        Check("wire", software.check_wire),
        Check("cpu", machine.check_cpu),
        Check("gpu", machine.check_gpu),
        Check("base", contents.check_base),
        Check("memory", machine.check_memory),
        Check("registry", contents.check_registry),
        Check("disk", contents.check_disk),
        Check("ports", network.check_ports),
        Check("proxy", network.check_proxy),
        Check("clock", machine.check_clock),
        Check("locale", machine.check_locale),
    )
