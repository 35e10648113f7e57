"""A server on a real GPU answers calls that mix adapters. Run with `pytest -m gpu`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

from tests.integration.server.conftest import House

REHEARSAL = os.environ.get("REHEARSE_GPU_TESTS") == "1"
DEVICE = "cpu" if REHEARSAL else "cuda"
TEXTS = [f"{n} hours ago" for n in range(2, 10)]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not REHEARSAL and not torch.cuda.is_available(), reason="there is no CUDA GPU"
    ),
]


@pytest.mark.parametrize("engine", ["thread", "process"])
@pytest.mark.parametrize("quantization", ["float32", "bfloat16"])
def test_adapters_of_every_kind_answer_as_each_alone(
    open_house: Callable[..., Iterator[House]], quantization: str, engine: str
) -> None:
    for house in open_house(device=DEVICE, quantization=quantization, engine=engine):
        house.publisher.lora("one")
        house.publisher.bottleneck("two")
        house.publisher.tokens("three", range(4, 400))
        found = {
            name: [
                item.text for item in house.client.translate(TEXTS, "en", "ko", adapter=name).items
            ]
            for name in ("", "one", "two", "three")
        }
        assert len({tuple(texts) for texts in found.values()}) == 4
        for name, texts in found.items():
            alone = [
                house.client.translate([text], "en", "ko", adapter=name).items[0].text
                for text in TEXTS
            ]
            assert alone == texts
