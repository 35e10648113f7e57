"""Every setting as a flag, and the outcome of all sources as TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hub import settings_text
from hub.cli import run
from hub.errors import SettingsError
from hub.feedback.location import shown
from hub.settings import Settings, effective_settings, load_settings
from hub.settings_text import SECRET, settings_toml


def printed(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert run(["serve", "--print-config", *flags]) == 0
    return capsys.readouterr().out


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--help"]) == 0
    told = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in told


def test_each_source_is_named_beside_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text("slots = 3\nqueue = 4\nport = 9\n")
    monkeypatch.setenv("HUB_QUEUE", "5")
    monkeypatch.setenv("HUB_PORT", "6")
    flags = ("--config", str(file), "--port", "7", "--log-texts", "--log-labels", "team,x")
    told = printed(capsys, *flags)
    lines = told.splitlines()
    assert "port = 7  # --port" in lines
    assert "queue = 5  # HUB_QUEUE" in lines
    assert f"slots = 3  # {file}" in lines
    assert "max_beam = 16  # default" in lines
    assert "# threads is not set  (default)" in lines
    assert tomllib.loads(told)["log_labels"] == ["team", "x"]


def test_what_is_printed_can_be_read_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / 'a "quoted" # folder\\with\ttab\x7fand ö'
    flags = ("--registry", str(odd), "--max-message-bytes", "3MiB", "--no-log-texts",
             "--log-labels", 'a,"b"', "--threads", "2", "--drain-seconds", "0.5")  # fmt: skip
    file = tmp_path / "again.toml"
    file.write_text(printed(capsys, *flags), encoding="utf-8")
    found = load_settings(environ={}, folder=tmp_path, config=file)
    assert found.registry == str(odd)
    assert found == load_settings(
        {"registry": str(odd), "max_message_bytes": "3MiB", "log_labels": 'a,"b"', "threads": 2,
         "drain_seconds": 0.5},
        environ={}, folder=tmp_path,
    )  # fmt: skip


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    field = Settings.model_fields["base"]
    monkeypatch.setattr(field, "json_schema_extra", {SECRET: True})
    url = "postgresql://hub:zq9secret@host/catalog"
    flags = {"registry": url, "base": "zq9secret"}
    told = settings_toml(effective_settings(flags, environ={}, folder=tmp_path))
    assert "zq9secret" not in told
    assert "# registry is set and not shown  (--registry)" in told
    assert "# base is set and not shown  (--base)" in told
    assert "registry" not in tomllib.loads(told)
    assert settings_text.SECRET == SECRET


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://hub:zq9/secret@host/catalog",
        "postgresql://host/catalog?user=hub&password=zq9secret",
        "postgresql://host/catalog?sslmode=require&sslPassword=zq9secret",
    ],
)
def test_a_password_is_not_shown_wherever_it_stands_in_an_url(tmp_path: Path, url: str) -> None:
    found = effective_settings({"feedback_url": url}, environ={}, folder=tmp_path)
    assert "zq9" not in settings_toml(found)
    assert "zq9" not in shown(url)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--max-beam", "99"], "max_beam = '99' (from --max-beam)"),
        (["--base-digest", "sha256:1"], "base_digest"),
        (["--log-format", "xml"], "'text' or 'json'"),
        (["--config", "/no/such.toml"], "--config names '/no/such.toml', which does not exist"),
        (["--announce", "xml"], "use text or json"),
    ],
)
def test_bad_flags_are_refused(
    flags: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--print-config", *flags]) == SettingsError.exit_code
    assert named in capsys.readouterr().err


def test_unknown_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--prot", "1"]) == 2
    assert "No such option" in capsys.readouterr().err


def test_the_file_of_a_flag_goes_before_that_of_the_environment(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("port = 1")
    two.write_text("port = 2")
    environ = {"HUB_CONFIG": str(one)}
    assert load_settings(environ=environ).port == 1
    assert load_settings(environ=environ, config=two).port == 2
