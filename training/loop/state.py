"""Everything a run needs to go on, in one place and one file.

`RunState` is plain data. With the adapter's parameters and the optimiser's moments it makes
`state.safetensors`; a process that loads it continues as if it had never stopped. No generator is
kept: a batch's dropout follows from its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hub.errors import SettingsError
from training.loop.batching import Position

_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


@dataclass
class RunState:
    """Where a run stands.

    Attributes:
        step: Updates made.
        position: The next batch.
        best_score: Best dev chrF++ so far, None before the first look.
        stale: Looks at the dev set since the best one.
        skipped: Updates left out in a row because loss or gradient was not finite.
        tokens: Tokens trained on, without padding.
        seconds: Time spent in updates.
    """

    step: int = 0
    position: Position = field(default_factory=Position)
    best_score: float | None = None
    best_step: int = 0
    dev_score: float | None = None
    stale: int = 0
    skipped: int = 0
    tokens: int = 0
    seconds: float = 0.0


def state_bytes(
    state: RunState, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> bytes:
    """Return the file's content."""
    tensors = {f"parameter.{name}": p.detach().contiguous() for name, p in parameters.items()}
    for name, parameter in parameters.items():
        for moment in _MOMENTS:
            if moment in optimiser.state[parameter]:
                tensors[f"{moment}.{name}"] = optimiser.state[parameter][moment].contiguous()
    plain = asdict(state) | {"optimiser_steps": _optimiser_steps(optimiser)}
    return save(tensors, metadata={"state": json.dumps(plain, sort_keys=True)})


def _optimiser_steps(optimiser: torch.optim.Optimizer) -> int:
    """Return the steps taken; fewer than the updates where some were skipped."""
    return max((int(entry["step"]) for entry in optimiser.state.values()), default=0)


def load_state(
    file: Path, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer
) -> RunState:
    """Restore parameters and moments; return where the run stood.

    Raises:
        SettingsError: The file is damaged or belongs to another adapter.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            plain = json.loads(opened.metadata()["state"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        steps = plain.pop("optimiser_steps")
        for name, parameter in parameters.items():
            parameter.data.copy_(tensors[f"parameter.{name}"])
            _restore_moments(name, parameter, steps, tensors, optimiser)
        return RunState(**plain | {"position": Position(**plain["position"])})
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"{file} cannot be continued from ({error}); start anew with --no-resume",
            field="resume",
        ) from error


def _restore_moments(
    name: str,
    parameter: nn.Parameter,
    step: int,
    tensors: Mapping[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    if f"exp_avg.{name}" in tensors:
        optimiser.state[parameter] = {
            "step": torch.tensor(float(step)),
            **{moment: tensors[f"{moment}.{name}"].clone() for moment in _MOMENTS},
        }
