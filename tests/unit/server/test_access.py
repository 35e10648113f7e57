"""Keys, quotas, refusals and permits, without a server."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hub.cli import build_app
from hub.commands import register
from hub.errors import InputError, KeyFileError, NotFoundError, QuotaError
from hub.keys import KeyFile, by_digest, find_key
from server.access.identity import Identity, Limits
from server.access.quotas import Quotas
from server.access.refusals import LEAST_RATE, MOST_SECONDS, PER_TEXT, Refusals


def test_a_key_is_kept_as_its_digest_alone(tmp_path: Path) -> None:
    file, record, key = KeyFile().added("acme", ["translate", "admin"])
    path = tmp_path / "keys.json"
    file.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert record.sha256 == hashlib.sha256(key.encode()).hexdigest()
    assert KeyFile.read(path) == file
    assert find_key(by_digest(file.keys), key) == record
    assert find_key(by_digest(file.keys), key + "x") is None
    assert record.scopes == ("translate", "admin")


def test_keys_differ() -> None:
    file, keys = KeyFile(), set()
    for _ in range(50):
        file, _, key = file.added("acme", ["admin"])
        keys.add(key)
    assert len(keys) == 50
    assert min(map(len, keys)) > 50


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "JSON"),
        ("[]", "object"),
        ('{"keys": [{"id": "zz"}]}', "keys.0.id"),
        ('{"password": 1}', "password"),
        ('{"tenants": {"a": {"requests_per_minute": 0}}}', "requests_per_minute"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(KeyFileError, match=told):
        KeyFile.read(tmp_path / "keys.json")


def test_bad_tenants_scopes_and_ids_are_refused() -> None:
    with pytest.raises(InputError, match="tenant 'A B'"):
        KeyFile().added("A B", ["admin"])
    with pytest.raises(InputError, match="scope 'root' is not known"):
        KeyFile().added("a", ["root"])
    with pytest.raises(InputError, match="no scope"):
        KeyFile().added("a", [])
    with pytest.raises(InputError, match="adapters"):
        KeyFile().with_tenant("a", adapters=["../x"])
    with pytest.raises(NotFoundError, match="hub keys list"):
        KeyFile().without("00000000")


def test_the_command_line_makes_lists_and_removes_keys(tmp_path: Path) -> None:
    path, runner, app = tmp_path / "k" / "keys.json", CliRunner(), build_app(())
    register(app)
    made = runner.invoke(
        app,
        ["keys", "add", "acme", "--scope", "translate", "--adapter", "acme-*",
         "--requests-per-minute", "60", "--keys", str(path)],
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    key = made.stdout.strip().splitlines()[-1]
    record = find_key(by_digest(KeyFile.read(path).keys), key)
    assert record is not None
    listed = runner.invoke(app, ["keys", "list", "--keys", str(path)])
    assert listed.stdout.splitlines()[1].split("\t") == [
        record.id, "acme", "translate", "acme-*", "60", "none",
    ]  # fmt: skip
    assert key not in listed.output
    assert runner.invoke(app, ["keys", "remove", record.id, "--keys", str(path)]).exit_code == 0
    assert json.loads(path.read_text()) == {
        "tenants": {"acme": {"adapters": ["acme-*"], "requests_per_minute": 60.0}}
    }


def caller(requests: float | None = None, characters: float | None = None) -> Identity:
    return Identity("acme", frozenset({"translate"}), limits=Limits(requests, characters))


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 40)), max_size=60),
)
def test_a_tenant_gets_a_minute_at_once_and_then_its_rate(
    limit: int, calls: list[tuple[float, int]]
) -> None:
    quotas, now, times = Quotas(), 0.0, []
    for pause, characters in calls:
        now += pause
        try:
            quotas.take(caller(limit), characters, now)
            times.append(now)
        except QuotaError as error:
            wait = int(error.metadata["retry_delay_ms"]) / 1000
            assert 0 < wait <= 60 / limit + 0.001
    for index, began in enumerate(times):
        inside = [one for one in times[index:] if one <= began + 60]
        assert len(inside) <= 2 * limit + 1  # a full bucket, and what it gains in the minute


def test_what_is_told_to_wait_for_is_there_after_the_wait() -> None:
    quotas = Quotas()
    quotas.take(caller(characters=600), 600, 0.0)
    with pytest.raises(QuotaError) as caught:
        quotas.take(caller(characters=600), 100, 1.0)
    assert caught.value.metadata["retry_delay_ms"] == "9000"  # 90 more, at 10 a second
    quotas.take(caller(characters=600), 100, 10.0)
    quotas.take(caller(characters=600), 10**6, 100.0)  # a full bucket lets anything in, once
    with pytest.raises(QuotaError):
        quotas.take(caller(characters=600), 1, 101.0)
    quotas.take(caller(), 10**9, 101.0)


def test_a_refused_call_is_not_counted() -> None:
    quotas = Quotas()
    quotas.take(caller(requests=2, characters=100), 90, 0.0)
    for _ in range(5):
        with pytest.raises(QuotaError, match="characters"):
            quotas.take(caller(requests=2, characters=100), 90, 0.0)
    quotas.take(caller(requests=2, characters=100), 10, 0.0)


def test_a_few_refusals_are_sent_at_once_and_a_storm_is_spread() -> None:
    refusals, sent = Refusals(), []
    for number in range(4000):  # 1,000 a second, 50 texts a second served
        now = number / 1000
        sent.append(now + refusals.delay(now, 50.0, None))
    assert sent[0] == 0
    steady = [one for one in sent if 1 <= one < 3]
    assert len(steady) == pytest.approx(2 * (LEAST_RATE + PER_TEXT * 50), rel=0.05)
    assert max(after - number / 1000 for number, after in enumerate(sent)) <= MOST_SECONDS + 1e-9


def test_refusals_at_three_times_what_is_served_are_not_held() -> None:
    refusals = Refusals()
    delays = [refusals.delay(number / 300, 100.0, None) for number in range(3000)]
    assert max(delays) == 0


def test_a_caller_with_a_deadline_is_told_before_it_gives_up() -> None:
    refusals = Refusals()
    for _ in range(1000):
        assert refusals.delay(0.0, 0.0, 0.2) <= 0.15 + 1e-9
