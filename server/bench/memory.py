"""What a base and its adapters take in memory, and how long an adapter's way into a slot is.

Run as a module, it is the fresh process in which a base is loaded:

    python -m server.bench.memory FOLDER QUANTIZATION DEVICE
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hub.errors import EngineError

if TYPE_CHECKING:
    from hub.engine.engine import Engine
    from server.bench.adapters import RandomAdapter

REPETITIONS: Final = 7
_TIMEOUT: Final = 600


def base_memory(folder: Path, quantization: str, device: str = "cpu") -> dict[str, int]:
    """Load a base in a fresh process; return resident bytes before, after, and between.

    Where the engine is on a GPU, the bytes between are those that it holds there.

    Raises:
        EngineError: The process failed, or took too long.
    """
    command = [sys.executable, "-m", "server.bench.memory", str(folder), quantization, device]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"measuring memory was not done after {_TIMEOUT} s; leave it out with --no-memory"
        ) from error
    if done.returncode:
        raise EngineError(f"measuring memory failed: {done.stderr.strip()[-400:]}")
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def placing(engine: Engine, adapters: Sequence[RandomAdapter], slot: int) -> list[dict[str, Any]]:
    """Time each adapter's way into a slot that is free, from host memory and from disk.

    Files are in the system's cache after the first reading, which is not counted.
    """
    found = []
    for adapter in adapters:
        host = engine.read_adapter(adapter.folder)
        engine.place(slot, host)

        def place(host: Any = host) -> None:
            engine.place(slot, host)

        def read_and_place(folder: Path = adapter.folder) -> None:
            engine.place(slot, engine.read_adapter(folder))

        found.append(
            {
                "kind": adapter.kind,
                "size": adapter.solution.size,
                "parameters": adapter.solution.trainable_parameters,
                "fraction": round(adapter.solution.realised_fraction, 5),
                "bytes": host.nbytes,
                "file_bytes": sum(path.stat().st_size for path in adapter.folder.iterdir()),
                "from_host_ms": _median_ms(place),
                "from_disk_ms": _median_ms(read_and_place),
            }
        )
        engine.clear(slot)
    return found


def _median_ms(run: Callable[[], None]) -> float:
    taken = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        run()
        taken.append((time.perf_counter() - began) * 1000)
    return round(statistics.median(taken), 3)


def _measure(folder: Path, quantization: str, device: str) -> dict[str, int]:
    import torch  # noqa: F401  # what an idle process has imported

    from server.telemetry.process_memory import resident_bytes

    idle = resident_bytes()
    from hub.bases import Base
    from hub.engine.engine import Engine
    from server.bench.workload import Workload

    engine = Engine.load(
        Base("random", folder), quantization=quantization, slots=1, max_rows=1, device=device
    )
    loaded, on_gpu = resident_bytes(), engine.device_bytes
    engine.translate(Workload(target_tokens=2).requests(1, 1, [0]))
    used = resident_bytes()
    return {
        "idle_bytes": idle,
        "loaded_bytes": loaded,
        "base_bytes": on_gpu or loaded - idle,
        "base_bytes_after_first_text": engine.device_bytes or used - idle,
    }


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])))
