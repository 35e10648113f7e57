"""Standard input of `hub translate` against the engine alone: lines a second, and memory.

The same CLDR phrases go through the engine in this process (one list, continuous batching, 64 rows)
and through the command to a server of the embedded base, in turns, each engine with one thread. The
command's time includes its start; medians of the rounds are printed at the end.

    python tests/bench/bulk_rate.py [LINES] [ROUNDS] [CALLS …]
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hub.bases import open_base
from hub.bases.tokenizer import load_tokenizer
from hub.client import HubClient
from hub.engine.engine import Engine
from hub.engine.requests import DecodeRequest, DecodingOptions
from hub.languages import LanguagePair
from training.corpora.cldr import build_corpus

PAIR = LanguagePair.parse("en-ko")
HUB = str(Path(sys.executable).with_name("hub"))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def engine_rate(engine: Engine, lines: list[str]) -> float:
    tokenizer = load_tokenizer(open_base())
    prefix = tuple(tokenizer.target_prefix(PAIR.target))
    began = time.perf_counter()
    requests = []
    for key, line in enumerate(lines):
        source = tuple(tokenizer.encode_source(line, PAIR.source, PAIR.target))
        options = DecodingOptions(beam_size=1, max_new_tokens=min(120, 48 + 3 * len(source)))
        requests.append(DecodeRequest(key, source, prefix, 0, options))
    for one in engine.translate(requests):
        tokenizer.decode(one.hypotheses[0].token_ids)
    return len(lines) / (time.perf_counter() - began)


def command_rate(target: str, file: Path, count: int, calls: int) -> tuple[float, float]:
    """Return lines a second, the start of the command included, and its peak memory in MB."""
    words = [HUB, "translate", "--pair", str(PAIR), "--server", target, "--calls", str(calls)]
    began = time.perf_counter()
    with file.open("rb") as stdin, tempfile.TemporaryFile() as stdout:
        process = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, peak_memory(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        stdout.seek(0)
        assert process.returncode == 0, process.returncode
        assert sum(1 for _ in stdout) == count
    return count / seconds, peak


def peak_memory(pid: int) -> float:
    """Return the most that a process has had in memory so far, in MB; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    count, rounds, calls = [*given[:2], *(10_000, 2)[len(given[:2]) :], given[2:] or [1, 4]]
    corpus = build_corpus(PAIR, seed=3, train=1, dev=1, test=min(count, 2000)).test
    lines = [corpus[index % len(corpus)].source for index in range(count)]
    engine = Engine.load(open_base(), quantization="int8", slots=1, max_rows=64, threads=1)
    engine_rate(engine, lines[:64])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lines")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        port = free_port()
        words = [HUB, "serve", "--port", str(port), "--metrics-port", "0", "--registry", folder]
        words += ["--threads", "1", "--log-level", "warning"]
        server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            target = f"127.0.0.1:{port}"
            with HubClient(target) as client:
                client.wait_until_serving(120)
            shares: dict[int, list[float]] = {number: [] for number in calls}
            for _ in range(rounds):
                alone = engine_rate(engine, lines)
                print(f"engine alone {alone:.0f} lines/s", flush=True)
                for number in calls:
                    rate, memory = command_rate(target, file, count, number)
                    shares[number].append(rate / alone)
                    print(
                        f"  {number} calls: {rate:.0f} lines/s, {rate / alone:.2f} of it, "
                        f"{memory:.0f} MB",
                        flush=True,
                    )
            for number, found in shares.items():
                print(f"median of {rounds}: {number} calls {statistics.median(found):.2f}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
