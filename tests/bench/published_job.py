"""The main job at the size of NLLB-200 600M, fetched as it is published: `pytorch_model.bin` alone.

Random weights at the real dimensions and a vocabulary of 256,000 pieces, served by the stand-in for
the Hugging Face Hub; then `hub bases pull`, `hub train`, `hub serve` in int8 and `hub translate`,
each with its wall time and its peak memory (the kernel's maximum resident size).

    python tests/bench/published_job.py [--folder FOLDER] [--keep] [--updates 3]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE))
PIECES = 256_000
ID = "facebook/nllb-200-distilled-600M"
CARD = b"---\nlicense: cc-by-nc-4.0\n---\n# Random weights\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to work; a new one under /tmp")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    parser.add_argument("--updates", type=int, default=3)
    options = parser.parse_args()
    from tests.bench.open_published import folder_of

    with folder_of(options.folder, options.keep) as home:
        run_job(home, options.updates)


def run_job(home: Path, updates: int) -> None:
    from tests.support.hub_server import StandInHub

    target = home / "published"
    if not (target / "pytorch_model.bin").exists():
        builder = TREE / "tests/bench/open_published.py"
        subprocess.run([sys.executable, builder, "build", "nllb-600m", target], check=True)
    (target / "sentencepiece.bpe.model").write_bytes(vocabulary())
    (target / "tokenizer_config.json").write_text('{"tokenizer_class": "NllbTokenizer"}')
    (target / "generation_config.json").write_text('{"max_length": 200}')
    files = {path.name: path.read_bytes() for path in target.iterdir()} | {"README.md": CARD}
    with StandInHub() as hub:
        hub.repository(ID).commit(files)
        del files
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(home / "hf"), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost",
            "HUB_CACHE": str(home / "cache"), "HUB_REGISTRY": str(home / "registry"),
            "PYTHONPATH": str(TREE),
        }  # fmt: skip
        job(home, environment, updates)


def job(home: Path, environment: dict[str, str], updates: int) -> None:
    measured("hub bases pull", ("bases", "pull", ID), environment)
    measured(
        f"hub train, {updates} updates",
        (
            "train", "--base", ID, "--pair", "en-ko", "--budget", "0.01", "--max-updates",
            str(updates), "--eval-every", str(updates), "--train", "200", "--dev", "8", "--test",
            "8", "--force", "--runs", str(home / "runs"),
        ),
        environment,
    )  # fmt: skip
    log = home / "serve.log"
    command = (
        "serve", "--base", ID, "--port", "50789", "--metrics-port", "0", "--quantization", "int8"
    )  # fmt: skip
    started = time.perf_counter()
    with log.open("w") as stream:
        server = subprocess.Popen(
            [sys.executable, "-m", "hub", *command], env=environment, stderr=stream
        )
    while "serving gRPC" not in log.read_text():
        if server.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.2)
    print(f"{'hub serve, ready':24} {time.perf_counter() - started:7.1f} s")
    measured(
        "hub translate",
        ("translate", "--server", "127.0.0.1:50789", "--pair", "en-ko", "--adapter",
         "en-ko.bottleneck", "--max-output-tokens", "12", "Monday", "in 3 days"),
        environment,
    )  # fmt: skip
    resident = next(
        line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )  # fmt: skip
    server.terminate()
    _, _, usage = os.wait4(server.pid, 0)
    print(
        f"{'hub serve':24} {'':7}     peak {usage.ru_maxrss * 1024 / 1e9:6.3f} GB, "
        f"serving {int(resident.split()[1]) * 1024 / 1e9:.3f} GB"
    )


def measured(name: str, arguments: Sequence[str], environment: dict[str, str]) -> None:
    """Run one command of the hub; print its wall time and its peak memory."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "hub", *arguments], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{name} failed with status {status}")
    print(f"{name:24} {seconds:7.1f} s   peak {usage.ru_maxrss * 1024 / 1e9:6.3f} GB", flush=True)


def vocabulary() -> bytes:
    """Return a SentencePiece model of NLLB's size: the embedded base's pieces, and fillers."""
    from sentencepiece import sentencepiece_model_pb2

    from hub.bases import open_base

    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((open_base().folder / "sentencepiece.bpe.model").read_bytes())
    normal = [piece for piece in model.pieces if piece.type == piece.NORMAL]
    control = [piece for piece in model.pieces if piece.type in (piece.UNKNOWN, piece.CONTROL)]
    kept = sentencepiece_model_pb2.ModelProto()
    kept.CopyFrom(model)
    del kept.pieces[:]
    kept.trainer_spec.byte_fallback = False
    kept.pieces.extend([*control, *normal])
    lowest = min(piece.score for piece in normal)
    for number in range(PIECES - len(kept.pieces)):
        kept.pieces.add(piece=f"▁filler{number}", score=lowest - 1 - number)
    kept.trainer_spec.vocab_size = len(kept.pieces)
    return bytes(kept.SerializeToString())


if __name__ == "__main__":
    main()
