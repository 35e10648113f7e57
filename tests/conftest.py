"""What every test gets: an environment of its own, and no network."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from .support.hub_server import StandInHub


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("PYTEST_XDIST_WORKER"):  # threads of workers would wait for each other
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    # Before any test module imports transformers, which reads these once.
    os.environ.update(
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", NO_COLOR="1"
    )
    # A shell that starts the tests in the background has them ignore Ctrl-C, and their children.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Raw gRPC channels and urllib in tests would ask a proxy of the developer's for loopback.
    os.environ.update(no_proxy="localhost,127.0.0.1,::1", NO_PROXY="localhost,127.0.0.1,::1")
    # Time limits of single examples only measure the machine's other load.
    hypothesis_settings.register_profile("local", deadline=None)
    hypothesis_settings.register_profile("ci", deadline=None, derandomize=True, database=None)
    hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")


class SlowBudget:
    """Skips slow tests once the run has taken the seconds that it may, and says so."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if item.get_closest_marker("slow") and time.monotonic() > self._ends:
            pytest.skip(f"the slow tests had {self._seconds:.0f} seconds, and took them")


def pytest_sessionstart(session: pytest.Session) -> None:
    if seconds := os.environ.get("HUB_TEST_SLOW_SECONDS"):
        session.config.pluginmanager.register(SlowBudget(float(seconds)))


@pytest.fixture(autouse=True)
def own_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the user's settings out of the tests, and the tests out of the user's folders."""
    for key in [key for key in os.environ if key.startswith("HUB_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def hugging_face(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandInHub]:
    """A stand-in for the Hugging Face Hub that huggingface_hub talks to, with an empty cache.

    Child processes find it too, by the environment.
    """
    from huggingface_hub import constants

    home = tmp_path_factory.mktemp("hugging-face")
    with StandInHub() as hub:
        environment = {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"),
            "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost",
        }  # fmt: skip
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        # What this process read from its environment on import.
        template = hub.url + constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
        yield hub
