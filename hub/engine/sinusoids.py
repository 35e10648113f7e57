"""Position vectors that are computed, never learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hub.engine.architecture import Architecture


def sinusoids(architecture: Architecture) -> Tensor:
    """Return position vectors `(max_positions, d_model)`.

    Sines fill the first half of a row and cosines the second ("Attention Is All You Need",
    section 3.5, interleaves them); the first token takes row `position_offset`. Marian has the
    paper's frequencies, fairseq's fall a little faster.
    """
    width = architecture.d_model
    rows = torch.arange(architecture.max_positions) + architecture.position_offset
    if architecture.positions == "marian":
        powers = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles = rows.double().unsqueeze(1) / torch.pow(10000.0, powers)
        return torch.cat([torch.sin(angles), torch.cos(angles[:, : width // 2])], dim=1).float()
    half = width // 2
    step = math.log(10000) / max(1, half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.int64).float() * -step)
    angles = rows.float().unsqueeze(1) * frequencies.unsqueeze(0)
    table = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    return torch.nn.functional.pad(table, (0, width % 2))
