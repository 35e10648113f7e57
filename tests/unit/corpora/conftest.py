"""Small files of every format, made as they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.languages import LanguagePair
from training.corpora.formats import read_segments
from training.corpora.segments import Segment, Skipped
from training.corpora.sources import parse_source

Put = Callable[[str, str | bytes], Path]
Read = Callable[..., list[Segment]]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Return what writes a file and gives its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def read() -> Read:
    """Return what reads a source; what the format leaves out is counted in `skipped`."""

    def segments(
        spec: object, pair: str = "en-ko", skipped: Skipped | None = None
    ) -> list[Segment]:
        counts = Skipped() if skipped is None else skipped
        return list(read_segments(parse_source(str(spec)), LanguagePair.parse(pair), counts))

    return segments
