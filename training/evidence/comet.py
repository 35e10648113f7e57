"""COMET through another interpreter.

COMET needs transformers 4, the hub transformers 5, so the two cannot share an environment. The
hub feeds `comet_runner.py`, run by another environment's interpreter, and reads scores back.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hub.errors import SettingsError
from training.evidence.scoring import Measure

DEFAULT_MODEL: Final = "Unbabel/wmt22-comet-da"
TIMEOUT: Final = 3600.0
"""Seconds; the first run may have to fetch a model of two gigabytes."""
BATCH_SIZE: Final = 16
RUNNER: Final = Path(__file__).with_name("comet_runner.py")
_INTERPRETERS: Final = ("bin/python", "Scripts/python.exe", "python.exe")
# They would lead the other interpreter to our packages, or to none.
_NOT_PASSED_ON: Final = frozenset(
    {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
)
_FIND: Final = "import importlib.util, sys; sys.exit(importlib.util.find_spec('comet') is None)"
_STAGES: Final[Mapping[str, str]] = {
    "package": "has no working COMET; there: pip install unbabel-comet",
    "model": "cannot load the model; name one that COMET has, or a checkpoint file on disk",
    "scoring": "failed while scoring",
}


@dataclass(frozen=True)
class Comet:
    """Where COMET is, and which model it is asked for.

    Attributes:
        python: The interpreter.
        model: A name that COMET knows, or a checkpoint file.
        timeout: Seconds for one run.
    """

    python: Path
    model: str = DEFAULT_MODEL
    timeout: float = TIMEOUT

    @classmethod
    def asked(cls, text: str | None, timeout: float | None) -> Comet | None:
        """Return what `--comet` and `--comet-timeout` ask for; None without the first.

        Raises:
            SettingsError: There is no such interpreter, or a time for nothing.
        """
        if text is not None:
            return cls.parse(text, timeout=TIMEOUT if timeout is None else timeout)
        if timeout is not None:
            raise SettingsError("--comet-timeout goes with --comet", field="comet_timeout")
        return None

    @classmethod
    def parse(cls, text: str, *, timeout: float = TIMEOUT) -> Comet:
        """Read `PYTHON_OR_ENV[:MODEL]`: an interpreter or an environment's folder, and a model.

        Raises:
            SettingsError: There is no such interpreter, or no time to run it.
        """
        if not 0 < timeout < float("inf"):
            raise SettingsError(
                f"--comet-timeout is {timeout:g}; it must be above 0 seconds", field="comet_timeout"
            )
        if _path(text).exists():
            return cls(_interpreter(text), timeout=timeout)
        place, _, model = text.partition(":")
        return cls(_interpreter(place), model.strip() or DEFAULT_MODEL, timeout)

    def check(self) -> None:
        """See that the environment has the package, before minutes are spent on what it scores.

        Raises:
            SettingsError: It has not, or the interpreter cannot be run.
        """
        words = [str(self.python), "-c", _FIND]
        try:
            done = subprocess.run(
                words, env=_environment(), capture_output=True, timeout=self.timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise self._failed(f"did not start within {self.timeout:g} s") from None
        except OSError as error:
            raise self._failed(f"cannot be run: {error.strerror}") from None
        if done.returncode:
            raise self._failed(_STAGES["package"])

    def measure(
        self,
        sources: Sequence[str],
        systems: Sequence[Sequence[str]],
        references: Sequence[str],
    ) -> tuple[Measure, ...]:
        """Score systems on the same items, loading the model once.

        Args:
            sources: The items' source texts.
            systems: Each one's translations of them.
            references: The items' translations by people.

        Raises:
            SettingsError: The environment, its package or the model does not do; or it took too
                long.
        """
        import numpy as np

        lines = [
            json.dumps({"src": source, "mt": translation, "ref": reference})
            for system in systems
            for source, translation, reference in zip(sources, system, references, strict=True)
        ]
        answer = self._ask(lines)
        scores = np.array(answer["scores"], dtype=np.float64).reshape(len(systems), len(sources))
        if not np.isfinite(scores).all():
            raise self._failed("gave a score that is not a finite number")
        signature = _signature(answer)
        return tuple(
            Measure("comet", signature, np.stack([own, np.ones_like(own)], axis=1), _mean)
            for own in scores
        )

    def _ask(self, lines: Sequence[str]) -> Mapping[str, Any]:
        words = [str(self.python), str(RUNNER), self.model, str(BATCH_SIZE)]
        try:
            done = subprocess.run(
                words,
                input="\n".join(lines) + "\n",
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.timeout,
                env=_environment(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise self._failed(
                f"did not finish within {self.timeout:g} s; give it more with --comet-timeout, or "
                "fewer items with --test"
            ) from None
        except OSError as error:
            raise self._failed(f"cannot be run: {error.strerror}") from None
        return self._answer(done, expected=len(lines))

    def _answer(
        self, done: subprocess.CompletedProcess[str], *, expected: int
    ) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = done.stderr.strip().splitlines()
            last = said[-1] if said else "it said nothing"
            raise self._failed(f"ended with exit code {done.returncode}: {last}") from None
        if "error" in answer:
            stage = str(answer.get("stage"))
            raise self._failed(f"{_STAGES.get(stage, 'failed')} ({answer['error']})")
        if len(answer["scores"]) != expected:
            raise self._failed(f"gave {len(answer['scores'])} scores for {expected} lines")
        return answer

    def _failed(self, how: str) -> SettingsError:
        return SettingsError(
            f"--comet: {self.python} with model {self.model!r} {how}", field="comet"
        )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}


def _interpreter(place: str) -> Path:
    """Return the interpreter that a path, an environment's folder or a command's name stands for.

    Links are left alone: an interpreter knows its environment by the path that it was called by.
    """
    path = _path(place)
    inside = next((path / each for each in _INTERPRETERS if (path / each).is_file()), None)
    found = inside or (path if path.is_file() else None) or shutil.which(place)
    if not place or found is None:
        raise SettingsError(
            f"--comet: {place!r} is no Python interpreter and no environment that has one; make "
            "one: python -m venv comet-env && comet-env/bin/pip install unbabel-comet",
            field="comet",
        )
    return Path(os.path.abspath(found))


def _path(text: str) -> Path:
    """Return a path, `~` resolved; as it stands where there is no such user."""
    return Path(os.path.expanduser(text))


def _signature(answer: Mapping[str, Any]) -> str:
    versions = "|".join(f"{name}:{release}" for name, release in answer["versions"].items())
    return f"nrefs:1|model:{answer['model']}|{versions}"


def _mean(total: Any) -> float:
    return float(total[0]) / float(total[1])
