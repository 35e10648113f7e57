"""The words of a study that every part of it shares."""

from __future__ import annotations

from typing import Final

AXES: Final = ("bases", "pairs", "methods", "budgets", "train", "seeds")
BASE: Final = "base"
"""The untrained base, as a system."""
FULL: Final = "full"
"""Full fine-tuning, as a system: in every study, once for each base, pair, size and seed."""
