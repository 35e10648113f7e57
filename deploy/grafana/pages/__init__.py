"""What is on the dashboards, a module for each."""

from __future__ import annotations

from typing import Final

from pages.adapters import adapters
from pages.capacity import capacity
from pages.quality import quality
from pages.serving import serving

PAGES: Final = (serving, adapters, quality, capacity)
