"""Base models: where they are found, what identifies them, how they split text."""

from __future__ import annotations

from hub.bases.base import EMBEDDED, Base
from hub.bases.opening import open_base

__all__ = ["EMBEDDED", "Base", "open_base"]
