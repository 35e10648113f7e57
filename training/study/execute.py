"""Where cells are run: one after another in this process, or as tasks of Ray.

Both yield what came of each cell as it ends. The ledger is touched by the caller alone, so it may
lie on a disk that workers do not see, and a killed worker cannot leave it half written.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import (
    HubError,
    InterruptedRunError,
    SettingsError,
    StorageFullError,
    UnavailableError,
)
from training.study.cells import Cell
from training.study.measure import HopelessError, Outcome, measure

if TYPE_CHECKING:
    from training.study.file import StudyFile

Claim = Callable[[], Cell | None]
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
RETRIES: Final = 2
"""How often Ray runs a cell again whose worker or node died."""


@dataclass(frozen=True)
class Failure:
    """Why a cell came to nothing.

    Attributes:
        stopped: Given up as hopeless, as the file allows.
    """

    reason: str
    stopped: bool = False


Ended = Generator[tuple[Cell, Outcome | Failure]]


def attempt(study: StudyFile, cell: Cell, runs: Path) -> Outcome | Failure:
    """Run a cell; what goes wrong with it alone is an answer.

    Raises:
        InterruptedRunError: Ctrl-C; the run folder holds a state to go on from.
        StorageFullError: The disk is full, which is no fault of this cell.
        SettingsError: Its run folder cannot be had: it cannot be written, or a worker of a killed
            study still trains in it.
    """
    try:
        return measure(study, cell, runs)
    except (InterruptedRunError, StorageFullError):
        raise
    except HopelessError as error:
        return Failure(str(error), stopped=True)
    except HubError as error:
        if error.field == "runs":
            raise
        return Failure(error.message)
    except Exception as error:  # a bug of one cell must not end the others
        if _disk_is_full(error):
            raise StorageFullError(
                f"no room left while {cell.point.title} was run: {error}; free some space and run "
                "the same command again, nothing finished is repeated"
            ) from error
        return Failure(f"unexpected {type(error).__name__}: {error}")


def _disk_is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, says that nothing more can be written.

    Libraries in other languages tell it in words alone.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(os.strerror(number) in str(error) for number in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def in_turn(study: StudyFile, runs: Path, claim: Claim) -> Ended:
    """Run cells one after another in this process."""
    while (cell := claim()) is not None:
        yield cell, attempt(study, cell, runs)


def on_ray(study: StudyFile, runs: Path, claim: Claim, address: str) -> Ended:
    """Run cells as plain tasks of Ray, as many at a time as the file has workers.

    Args:
        study: The file.
        runs: Folder of run folders; on a cluster a shared one, else a cell that moves to another
            node begins anew.
        claim: Gives the next cell.
        address: Of a cluster; "local" starts one on this machine.

    Raises:
        SettingsError: Ray is not installed, or the cluster does not answer.
        UnavailableError: The cluster went away; what it was running is not finished, nor failed.
    """
    ray = _connected(address, study.execution.workers * study.execution.threads)
    try:
        yield from _tasks(ray, study, runs, claim)
    finally:
        ray.shutdown()


def _connected(address: str, cpus: int) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise SettingsError(
            "--ray needs Ray: pip install 'adapterhub[ray]'; without it cells run one after another"
        ) from None
    local = {
        "num_cpus": cpus,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        # Its own number of times is endless: a cell too large for the memory would be run forever.
        "_system_config": {"task_oom_retries": RETRIES},
    }
    try:
        # Cells must find what this process finds: packages by its path, and files by its folder.
        environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(_import_path())}}
        ray.init(
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env=environment if address == "local" else None,
            **(local if address == "local" else {"address": address}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(f"--ray {address}: {error}; is the cluster up?") from None
    return ray


def _import_path() -> list[str]:
    import training

    roots = [str(Path(training.__file__).resolve().parents[1])]
    return roots + [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


def _tasks(ray: Any, study: StudyFile, runs: Path, claim: Claim) -> Ended:
    task = ray.remote(attempt).options(num_cpus=study.execution.threads, max_retries=RETRIES)
    shared = ray.put(study)
    flying: dict[Any, Cell] = {}
    while True:
        while len(flying) < study.execution.workers and (cell := claim()) is not None:
            flying[task.remote(shared, cell, runs)] = cell
        if not flying:
            return
        ended, _ = ray.wait(list(flying), num_returns=1)
        for each in ended:
            yield flying.pop(each), _result(ray, each)


def _result(ray: Any, task: Any) -> Outcome | Failure:
    try:
        found: Outcome | Failure = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HubError):
            raise error.cause from None
        return Failure(f"unexpected {error.cause!r}")
    except (ray.exceptions.LocalRayletDiedError, ray.exceptions.RaySystemError) as error:
        raise UnavailableError(
            f"Ray is gone: {' '.join(str(error).split())[:300]}; run the same command again, "
            "nothing finished is repeated"
        ) from error
    except ray.exceptions.OutOfDiskError as error:
        raise StorageFullError(
            "Ray has no room on its disk; free some space and run the same command again, nothing "
            "finished is repeated"
        ) from error
    except ray.exceptions.RayError as error:
        return Failure(f"its worker died {RETRIES + 1} times: {' '.join(str(error).split())[:300]}")
    return found
