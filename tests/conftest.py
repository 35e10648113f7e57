"""What every test gets: an environment of its own, and no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings


def pytest_configure(config: pytest.Config) -> None:
    # Before any test module imports transformers, which reads these once.
    os.environ.update(
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", NO_COLOR="1"
    )
    # Time limits of single examples only measure the machine's other load.
    hypothesis_settings.register_profile("local", deadline=None)
    hypothesis_settings.register_profile("ci", deadline=None, derandomize=True, database=None)
    hypothesis_settings.load_profile("ci" if os.environ.get("CI") else "local")


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
