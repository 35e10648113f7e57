"""Settings: flags over environment over hub.toml over defaults, and nothing ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hub.errors import SettingsError
from hub.settings import Settings, load_settings


def write(folder: Path, text: str) -> Path:
    path = folder / "hub.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings(environ={}, folder=tmp_path)
    assert (settings.base, settings.host, settings.port) == ("embedded", "127.0.0.1", 50051)
    assert settings.runs == Path("runs")
    assert settings == Settings()


def test_the_registry_follows_the_user_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().registry == f"{tmp_path}/adapterhub/registry"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert Settings().registry == "/home/someone/.local/share/adapterhub/registry"


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    write(tmp_path, 'port = 1\nslots = 1\nbase = "from-file"\n')
    environ = {"HUB_PORT": "2", "HUB_SLOTS": "2"}
    settings = load_settings({"port": 3, "slots": None}, environ=environ, folder=tmp_path)
    assert (settings.port, settings.slots, settings.base) == (3, 2, "from-file")
    assert settings.queue == Settings().queue


def test_hub_config_names_the_file(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write(tmp_path, "port = 1")
    path = write(elsewhere, "port = 2")
    settings = load_settings(environ={"HUB_CONFIG": str(path)}, folder=tmp_path)
    assert settings.port == 2


def test_values_are_converted(tmp_path: Path) -> None:
    environ = {
        "HUB_RUNS": "~/runs",
        "HUB_REGISTRY": "~/registry",
        "HUB_MAX_MESSAGE_BYTES": "4MiB",
        "HUB_DRAIN_SECONDS": "1.5",
        "HOME": str(tmp_path),
    }
    settings = load_settings(environ=environ, folder=tmp_path)
    assert settings.runs == Path("~/runs").expanduser()
    assert settings.registry == str(Path("~/registry").expanduser())
    assert settings.max_message_bytes == 4 * 2**20
    assert settings.drain_seconds == 1.5


@pytest.mark.parametrize(
    ("flags", "environ", "toml", "named"),
    [
        ({"port": 70000}, {}, "", ("port = 70000", "--port", "65535")),
        ({"max_beam": 0}, {}, "", ("max_beam = 0", "--max-beam", "1")),
        ({}, {"HUB_PORT": "http"}, "", ("port = 'http'", "HUB_PORT", "integer")),
        ({}, {"HUB_SLOTS": ""}, "", ("slots", "HUB_SLOTS", "integer")),
        ({}, {}, "queue = -5", ("queue = -5", "hub.toml", "1")),
        ({}, {}, 'quantization = "int4"', ("quantization = 'int4'", "hub.toml", "'int8'")),
        ({}, {}, "drain_seconds = nan", ("drain_seconds", "hub.toml", "finite")),
        ({}, {}, "prt = 1", ("'prt'", "hub.toml", "'port'")),
        ({}, {}, "[server]\nport = 1", ("'server'", "hub.toml", "does not exist")),
        ({}, {}, "port = ", ("cannot read", "hub.toml")),
        ({}, {"HUB_REGISTERY": "x"}, "", ("HUB_REGISTERY", "HUB_REGISTRY")),
        ({}, {"HUB_CONFIG": "/no/such.toml"}, "", ("/no/such.toml", "does not exist")),
        ({"registry": ""}, {}, "", ("registry = ''", "--registry", "1 character")),
    ],
)
def test_a_bad_value_is_refused_with_name_source_and_limit(
    flags: dict[str, Any],
    environ: dict[str, str],
    toml: str,
    named: tuple[str, ...],
    tmp_path: Path,
) -> None:
    if toml:
        write(tmp_path, toml)
    with pytest.raises(SettingsError) as caught:
        load_settings(flags, environ=environ, folder=tmp_path)
    for part in named:
        assert part in str(caught.value)


def test_a_value_that_a_flag_overrides_need_not_be_good(tmp_path: Path) -> None:
    environ = {"HUB_PORT": "nonsense"}
    assert load_settings({"port": 5}, environ=environ, folder=tmp_path).port == 5


def test_an_unreadable_file_is_an_error_and_not_a_default(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot read settings"):
        load_settings(environ={}, folder=tmp_path)


def test_variables_of_other_programs_and_debug_are_left_alone(tmp_path: Path) -> None:
    environ = {"HUB_DEBUG": "1", "HUB_PROTOCOL": "ssh", "HUBERT": "1", "PORT": "9"}
    assert load_settings(environ=environ, folder=tmp_path) == Settings()


def test_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
