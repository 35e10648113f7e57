"""Where cells are run: one after another in this process, or as tasks of Ray.

Both yield what came of each cell as it ends. The ledger is touched by the caller alone, so it may
lie on a disk that workers do not see, and a killed worker cannot leave it half written.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import HubError, InterruptedRunError, SettingsError, StorageFullError
from training.study.cells import Cell
from training.study.measure import HopelessError, Outcome, measure

if TYPE_CHECKING:
    from training.study.file import StudyFile

Claim = Callable[[], Cell | None]
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


def attempt(study: StudyFile, cell: Cell, runs: Path) -> Outcome | Failure:
    """Run a cell; what goes wrong with it alone is an answer.

    Raises:
        InterruptedRunError: Ctrl-C; the run folder holds a state to go on from.
        StorageFullError: The disk is full, which is no fault of this cell.
    """
    try:
        return measure(study, cell, runs)
    except (InterruptedRunError, StorageFullError):
        raise
    except HopelessError as error:
        return Failure(str(error), stopped=True)
    except HubError as error:
        return Failure(error.message)
    except Exception as error:  # a bug of one cell must not end the others
        return Failure(f"unexpected {type(error).__name__}: {error}")


def in_turn(study: StudyFile, runs: Path, claim: Claim) -> Iterator[tuple[Cell, Outcome | Failure]]:
    """Run cells one after another in this process."""
    while (cell := claim()) is not None:
        yield cell, attempt(study, cell, runs)


def on_ray(
    study: StudyFile, runs: Path, claim: Claim, address: str
) -> Iterator[tuple[Cell, Outcome | Failure]]:
    """Run cells as plain tasks of Ray, as many at a time as the file has workers.

    Args:
        study: The file.
        runs: Folder of run folders; on a cluster a shared one, else a cell that moves to another
            node begins anew.
        claim: Gives the next cell.
        address: Of a cluster; "local" starts one on this machine.

    Raises:
        SettingsError: Ray is not installed, or the cluster does not answer.
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
    local = {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
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


def _tasks(
    ray: Any, study: StudyFile, runs: Path, claim: Claim
) -> Iterator[tuple[Cell, Outcome | Failure]]:
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
    except ray.exceptions.RayError as error:
        return Failure(f"its worker died {RETRIES + 1} times: {' '.join(str(error).split())[:300]}")
    return found
