"""The `hub` command: assembled from entry points, so that `hub` needs no other package.

Each entry point of the group `hub.commands` is a function that mounts its
commands on the app. Command modules import what is heavy inside their functions;
`hub --help` must start in under 0.3 s.

Exit codes are those of the error (see `hub.errors`), 2 for wrong usage, 130
after Ctrl-C, 1 where the reader of the output went away, 74 where the disk is full,
and 70 for a bug of ours.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Final

import typer

from hub import __version__
from hub.console import prepare_streams
from hub.errors import HubError, StorageFullError

COMMAND_GROUP: Final = "hub.commands"
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 1

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_HELP: Final = "Train, keep and serve translation adapters: one base, a thousand translators."

_DEBUG_HINT: Final = "run with HUB_DEBUG=1 for the traceback"

Register = Callable[[typer.Typer], None]


def main() -> None:
    """Run the command line of this process and exit."""
    prepare_streams()
    # bitsandbytes, which PEFT imports, advises on some CPUs to fetch kernels at run time.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    Args:
        arguments: The words after `hub`.
    """
    try:
        return _invoke(build_app(_entries()), arguments)
    except HubError as error:
        _report(error.message, error)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _reader_left()
    except OSError as error:
        return _disk_is_full(error) if error.errno in _FULL else _bug(error)
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    _report(f"unexpected {_describe(error)}; this is a bug, {_DEBUG_HINT}", error)
    return EXIT_BUG


def _disk_is_full(error: OSError) -> int:
    """Report a write that failed: to standard output, or of a file that nobody looked after."""
    from hub.console import silence_stdout

    where = f" to {error.filename}" if error.filename else ""
    _report(f"cannot write{where}: {error.strerror}; make room and run it again", error)
    silence_stdout()
    return StorageFullError.exit_code


def build_app(entries: Sequence[EntryPoint]) -> typer.Typer:
    """Assemble the app; an entry point that fails to load is named and left out."""
    app = typer.Typer(
        name="hub",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(help=_HELP)(_root)
    for entry in entries:
        _mount(app, entry)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hub {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Hold the options that come before every command."""


def _mount(app: typer.Typer, entry: EntryPoint) -> None:
    try:
        register: Register = entry.load()
        register(app)
    except Exception as error:
        _report(
            f"the commands of {entry.name!r} ({entry.value}) cannot be loaded: "
            f"{_describe(error)}; reinstall the package, {_DEBUG_HINT}",
            error,
        )


def _invoke(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run the command; Typer itself reports wrong usage and leaves by SystemExit."""
    code: str | int | None = 0
    try:
        typer.main.get_command(app).main(args=list(arguments), prog_name="hub")
    except SystemExit as leaving:
        code = leaving.code
    sys.stdout.flush()
    if code == EXIT_INTERRUPTED:
        return _interrupted()
    if isinstance(code, str):
        _print_error(code)
        return 1
    return code or 0


def _entries() -> list[EntryPoint]:
    return sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name)


def _interrupted() -> int:
    _print_error("interrupted")
    return EXIT_INTERRUPTED


def _reader_left() -> int:
    from hub.console import silence_stdout

    silence_stdout()
    return EXIT_PIPE


def _report(message: str, error: Exception) -> None:
    """Print one line for people; the traceback only where it was asked for."""
    if os.environ.get("HUB_DEBUG"):
        import traceback

        traceback.print_exception(error)
    _print_error(message)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _print_error(message: str) -> None:
    from hub.console import print_error

    print_error(message)
