"""Bounds of histogram buckets, chosen after what is measured.

The embedded base on two cores decodes a step in one to ten milliseconds and answers a call in
twenty; a base of 400 million parameters takes tenths of seconds and seconds. Each list covers both,
with the steps 1, 2.5, 5 where a quantile is alerted on. A bucket costs one series for every set of
labels, so histograms with labels have fewer.
"""

from __future__ import annotations

from typing import Final

CALL_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
QUEUE_SECONDS: Final = (0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5)
STAGE_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
STEP_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
LOAD_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
PLACE_SECONDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
SEGMENT_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
TOKEN_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
TOKENS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
LOGPROB: Final = (-3, -2, -1.5, -1, -0.6, -0.4, -0.2, -0.1)
RATIO: Final = (0.3, 0.5, 0.7, 0.85, 1, 1.2, 1.5, 2, 3)
HTER: Final = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1)
ZSCORE: Final = (-8, -4, -3, -2, -1, 0, 1, 2)
