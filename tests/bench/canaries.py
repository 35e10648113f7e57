"""Canaries on a real server with real adapters: damaged, good, equal, in both directions.

    python tests/bench/canaries.py REGISTRY NAME [REQUESTS] [FRACTION]

REGISTRY holds NAME with at least two good versions. A copy of version 1 with noise added to its
tensors is published past every gate, with the golden lines of version 1. Requests are lines of
CLDR for the adapter's pair, one a call, from four callers. docs/canary.md has the figures.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree

import numpy as np
from safetensors.numpy import load_file, save_file

from hub.canary_calls import CanaryInfo, list_canaries, start_canary
from hub.chrf import chrf
from hub.client import HubClient
from hub.errors import HubError
from hub.manifest import MANIFEST_FILE
from hub.registry import AdapterVersion, Registry
from hub.settings import load_settings
from server.application import Application, running
from training.corpora import load_corpus

CALLERS = 4
WEIGHTS = "adapter_model.safetensors"


def damaged(registry: Registry, good: AdapterVersion, noise: float, folder: Path) -> AdapterVersion:
    """Publish a version with Gaussian noise, in units of each tensor's own deviation."""
    copytree(registry.folder(good), folder)
    chance = np.random.default_rng(1)
    weights = {
        name: (tensor + noise * tensor.std() * chance.standard_normal(tensor.shape)).astype(
            tensor.dtype
        )
        for name, tensor in load_file(folder / WEIGHTS).items()
    }
    (folder / WEIGHTS).unlink()
    save_file(weights, folder / WEIGHTS)
    return registry.publish(folder, good.name)


def equal(registry: Registry, good: AdapterVersion, folder: Path) -> AdapterVersion:
    """Publish the same weights as another version: its manifest has another seed."""
    copytree(registry.folder(good), folder)
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["seed"] = (manifest["seed"] or 0) + 1000
    (folder / MANIFEST_FILE).unlink()
    changed = type(good.manifest).model_validate_json(json.dumps(manifest))
    (folder / MANIFEST_FILE).write_text(changed.to_json(), encoding="utf-8")
    return registry.publish(folder, good.name)


@contextmanager
def house(registry: Path) -> Iterator[tuple[Application, HubClient]]:
    """Serve a registry."""
    settings = load_settings(
        {"registry": str(registry), "port": 0, "metrics_port": 0, "threads": 1},
        environ={}, folder=registry,
    )  # fmt: skip
    with running(settings) as application, HubClient(application.ports.grpc) as client:
        yield application, client


def run(
    application: Application, client: HubClient, name: str, stable: int, tried: int,
    texts: list[str], fraction: float, promote_after: int,
) -> tuple[CanaryInfo, int]:  # fmt: skip
    """Send texts until the canary ends or they are used up; return it and the requests sent."""
    registry = application.core.registry
    current = registry.aliases(name).get("prod")
    registry.set_alias(name, "prod", stable, None if current is None else current.version)
    application.core.resolution.invalidate()
    started = start_canary(client, name, "prod", tried, fraction, promote_after=promote_after)
    pair = registry.resolve(f"{name}:{stable}").manifest.language_pair

    def one(text: str) -> None:
        client.translate([text], pair.source, pair.target, adapter=f"{name}@prod", timeout=300)

    sent = 0
    with ThreadPoolExecutor(CALLERS) as callers:
        for start in range(0, len(texts), 8):
            sent += len(list(callers.map(one, texts[start : start + 8])))
            application.core.translator.canaries.tend()
            if started.id not in {info.id for info in list_canaries(client)}:
                break
    found = {info.id: info for info in list_canaries(client, all_of_them=True)}
    return found[started.id], sent


def quality(client: HubClient, name: str, version: int, pairs: list[tuple[str, str]]) -> str:
    """Return chrF++ and mean log-probability of a version on some lines."""
    made = client.translate([one for one, _ in pairs], "en", "ko", adapter=f"{name}:{version}")
    score = chrf(list(made.texts), [other for _, other in pairs])
    sure = np.mean([item.quality.mean_log_probability for item in made.items])
    warned = np.mean([bool(item.warnings) for item in made.items])
    return f"chrF++ {score:.1f}, log-probability {sure:.3f}, warned {100 * warned:.1f} %"


def main(registry: str, name: str, requests: str = "1500", fraction: str = "0.2") -> None:
    """Run every pairing and print what became of it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "registry"
        copytree(registry, copy)
        with Registry.open(copy) as opened:
            good = opened.resolve(f"{name}:1")
            names = {1: "good", 2: "good, another seed"}
            same = equal(opened, good, Path(scratch) / "equal")
            names[same.version] = "equal to v1"
            for noise in (0.5, 1.0, 3.0):
                bad = damaged(opened, good, noise, Path(scratch) / f"damaged-{noise}")
                names[bad.version] = f"v1 with noise of {noise} deviations"
            pair = good.manifest.language_pair
        corpus = load_corpus("cldr", pair, seed=77, train=2 * int(requests), dev=0, test=200)
        texts = list(dict.fromkeys(one.source for one in corpus.train))[: int(requests)]
        held = [(one.source, one.target) for one in corpus.test]
        print(f"{len(texts)} distinct texts, {100 * float(fraction):g} % to the canary", flush=True)
        with house(copy) as (application, client):
            for version, told in names.items():
                print(f"v{version} {told}: {quality(client, name, version, held)}", flush=True)
            first_bad = same.version + 1
            pairings = [(1, bad) for bad in range(first_bad, first_bad + 3)]
            pairings += [(1, same.version), (1, 2), (2, 1)]
            pairings += [(bad, 1) for bad in range(first_bad, first_bad + 3)]
            for stable, tried in pairings:
                try:
                    info, sent = run(
                        application, client, name, stable, tried, texts, float(fraction),
                        promote_after=0 if stable == 1 and tried == same.version else 150,
                    )  # fmt: skip
                except HubError as error:
                    print(f"v{stable} in use, v{tried} tried: {error}", flush=True)
                    continue
                served = info.arms["canary"].requests
                print(
                    f"v{stable} in use, v{tried} tried: {info.status} after {sent} requests, "
                    f"{served} of them the canary's; evidence {info.evidence:.2f}; {info.reason}",
                    flush=True,
                )
                if info.status == "running":
                    application.core.registry.canaries.end(info.id, "cancelled")


if __name__ == "__main__":
    main(*sys.argv[1:])
