"""What a check finds, and the run of all checks, which survives whatever is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hub.errors import HubError
from hub.settings import Settings

Status = Literal["ok", "warn", "fail"]

_REINSTALL: Final = "a library is missing or broken: install the package again"
_BUG: Final = "run the command again with HUB_DEBUG=1, and report what it prints"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What was looked at: "memory", "ports".
        detail: What was found.
        remedy: What to do about it, "" where all is well.
    """

    check: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check, by name; `run` is given the settings and may raise anything."""

    name: str
    run: Callable[[Settings], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order of the checks."""

    findings: tuple[Finding, ...]

    @property
    def status(self) -> Status:
        """Return the worst status."""
        found = {finding.status for finding in self.findings}
        return "fail" if "fail" in found else "warn" if "warn" in found else "ok"

    @property
    def exit_code(self) -> int:
        """Return 1 where something has failed, else 0."""
        return int(self.status == "fail")


def examine(settings: Settings, checks: Sequence[Check]) -> Report:
    """Run the checks one after the other; one that breaks is a finding like any other."""
    return Report(tuple(finding for check in checks for finding in _findings(check, settings)))


def _findings(check: Check, settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check.run(settings))
    except HubError as error:
        found.append(Finding(check.name, "fail", error.message, "see the message"))
    except ImportError as error:
        found.append(Finding(check.name, "fail", f"{type(error).__name__}: {error}", _REINSTALL))
    except Exception as error:
        found.append(Finding(check.name, "fail", f"{type(error).__name__}: {error}", _BUG))
    return found
