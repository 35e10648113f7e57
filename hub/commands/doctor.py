"""`hub doctor`: checks of the machine and of what the settings name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.setting_flags import ConfigFlag, SettingsCommand, settings_of

if TYPE_CHECKING:
    from hub.doctor.report import Finding, Report


def register_doctor(app: typer.Typer) -> None:
    """Mount the command."""
    app.command("doctor", cls=SettingsCommand)(doctor)


def doctor(
    context: typer.Context,
    config: ConfigFlag = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check whether this machine can serve with these settings, and say what to do if not.

    Takes the flags of `hub serve`. Nothing is changed, fetched or started. Exit 0: all is well or
    there are warnings only; 1: something has failed.
    """
    report = _examined(context, config)
    if as_json:
        from hub.commands.adapters import print_json

        print_json({"status": report.status, "checks": [asdict(one) for one in report.findings]})
    else:
        _print(report)
    raise typer.Exit(report.exit_code)


def _examined(context: typer.Context, config: ConfigFlag) -> Report:
    """Return what all checks found; with settings that cannot be read, that alone."""
    from hub.errors import SettingsError

    try:
        settings = settings_of(context, config).settings
    except SettingsError as error:
        from hub.doctor.report import Finding, Report

        return Report((Finding("settings", "fail", error.message, "see the message"),))
    from hub.doctor.checks import all_checks
    from hub.doctor.report import examine

    return examine(settings, all_checks())


def _print(report: Report) -> None:
    from hub.console import note, print_table

    print_table(("check", "status", "found", "remedy"), [_row(one) for one in report.findings])
    told = {"ok": "all is well", "warn": "it can serve, with warnings", "fail": "something failed"}
    note(told[report.status])


def _row(finding: Finding) -> tuple[str, ...]:
    return finding.check, finding.status, finding.detail, finding.remedy
