"""transformers and PEFT without their notices."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' notices and bars off the user's screen; their errors still raise."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("bitsandbytes", "transformers", "peft")]
    before = [logger.level for logger in loggers]
    bar = transformers_logging.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
        if bar:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
