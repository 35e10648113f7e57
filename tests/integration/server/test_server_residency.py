"""Loading, pinning and unloading adapters of a running server, over the wire and by command."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.cli import run
from hub.client import Decoding
from hub.errors import AdapterNotFoundError, InputError, PinLimitError, WrongBaseError

SHORT = Decoding(max_output_tokens=4)


@pytest.fixture(scope="module")
def small(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A server whose memory holds four of the adapters that the tests publish."""
    yield from open_house(slots=2, host_adapter_bytes=4 * 8192, spill_adapter_bytes=2**20)


def held(house: Any) -> dict[str, Any]:
    return {one.digest: one for one in house.client.list_loaded_adapters()}


def test_load_pin_survive_unload(small: Any) -> None:
    kept = small.publisher.lora("kept", seed=1)
    others = [small.publisher.lora(f"other-{seed}", seed=seed) for seed in range(2, 12)]
    loaded = small.client.load_adapter("kept", pin=True)
    assert (loaded.digest, loaded.adapter_version) == (kept.digest, "kept:1")
    assert loaded.pinned
    assert 2 * loaded.size_bytes < small.settings.host_adapter_bytes < 9 * loaded.size_bytes
    for other in others:
        small.client.translate(["Monday"], "en", "ko", adapter=other.ref, decoding=SHORT)
    assert held(small)[kept.digest].pinned
    assert len(held(small)) < len(others)
    assert small.client.unload_adapter(kept.digest)
    assert kept.digest not in held(small)
    assert not small.client.unload_adapter("kept")


def test_more_pins_than_fit_are_refused(small: Any) -> None:
    refused, pinned = None, []
    for seed in range(20, 40):
        version = small.publisher.lora(f"pin-{seed}", seed=seed)
        try:
            small.client.load_adapter(version.ref, pin=True)
        except PinLimitError as error:
            refused = error
            break
        pinned.append(version.digest)
    assert refused is not None
    assert "raise HUB_HOST_ADAPTER_BYTES" in refused.message
    assert pinned
    adapters = held(small)
    assert all(adapters[digest].pinned for digest in pinned)
    for digest in pinned:
        assert small.client.unload_adapter(digest)


def test_what_cannot_be_loaded_says_why(small: Any) -> None:
    foreign = small.publisher.bottleneck("foreign", base_digest="sha256:" + "0" * 64)
    with pytest.raises(WrongBaseError):
        small.client.load_adapter(foreign.ref)
    with pytest.raises(AdapterNotFoundError):
        small.client.load_adapter("nobody")
    with pytest.raises(AdapterNotFoundError):
        small.client.unload_adapter("nobody")
    with pytest.raises(InputError, match="adapter is empty"):
        small.client.load_adapter(" ")
    assert not small.client.unload_adapter("sha256:" + "1" * 64)


def test_by_command(small: Any, capsys: pytest.CaptureFixture[str]) -> None:
    version = small.publisher.lora("by-command", seed=50)
    server = ["--server", small.target]
    assert run(["adapters", "load", "by-command", "--pin", *server]) == 0
    assert "by-command:1: in host memory" in capsys.readouterr().out
    assert run(["adapters", "loaded", "--json", *server]) == 0
    found = {one["digest"]: one for one in json.loads(capsys.readouterr().out)}
    assert found[version.digest]["pinned"]
    assert run(["adapters", "loaded", *server]) == 0
    assert version.digest in capsys.readouterr().out
    assert run(["adapters", "unload", "by-command", *server]) == 0
    assert "by-command: unloaded" in capsys.readouterr().out
    assert run(["adapters", "unload", "nobody", *server]) == AdapterNotFoundError.exit_code


def test_an_alias_that_another_process_moves_is_followed_within_two_seconds(small: Any) -> None:
    import subprocess
    import sys

    first = small.publisher.lora("moving", seed=61)
    second = small.publisher.lora("moving", seed=62)
    small.publisher.registry.set_alias("moving", "prod", 1, None)

    def served() -> str:
        reply = small.client.translate(
            ["Monday"], "en", "ko", adapter="moving@prod", decoding=SHORT
        )
        digest: str = reply.items[0].adapter_digest
        return digest

    assert served() == first.digest
    move = "from hub.registry import Registry; import sys\nRegistry.open(sys.argv[1])" + (
        ".set_alias('moving', 'prod', 2, 1)"
    )
    command = [sys.executable, "-c", move, small.settings.registry]
    subprocess.run(command, check=True, timeout=60)
    until = time.monotonic() + 30  # two seconds, on a machine that does nothing else
    while served() != second.digest:
        assert time.monotonic() < until
