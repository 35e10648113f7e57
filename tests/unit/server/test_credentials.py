"""Who calls: keys and tokens are read on threads, once for all calls that wait for them."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hub.errors import CredentialsError, KeyFileError, SettingsError
from hub.keys import KeyFile
from hub.settings import load_settings
from server.access import credentials, tokens
from server.access.credentials import LOOK_SECONDS, Credentials, KeyBook, open_credentials
from server.access.once import Once
from server.access.tokens import KeySet, Tokens


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_asks_while_it_runs_waits_for_the_same_run() -> None:
    began, go_on = [], threading.Event()

    def work() -> None:
        began.append(threading.current_thread().name)
        assert go_on.wait(10)

    async def ask() -> None:
        once = Once()
        first, *others = [asyncio.create_task(once.run(pool, work)) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        go_on.set()
        await asyncio.gather(*others)
        assert len(began) == 1
        await once.run(pool, work)
        assert len(began) == 2

    with ThreadPoolExecutor(8) as pool:
        asyncio.run(ask())


def test_a_failed_run_is_told_to_all_and_the_next_is_another() -> None:
    outcomes = iter([ValueError("no"), None])

    def work() -> None:
        if (error := next(outcomes)) is not None:
            raise error

    async def ask() -> None:
        once = Once()
        told = await asyncio.gather(
            *(once.run(pool, work) for _ in range(3)), return_exceptions=True
        )
        assert [type(one) for one in told] == [ValueError] * 3
        await once.run(pool, work)

    with ThreadPoolExecutor(2) as pool:
        asyncio.run(ask())


def test_the_file_of_keys_is_looked_at_off_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, _, key = KeyFile().added("acme", ["translate"])
    file.write(tmp_path / "keys.json")
    looked: list[str] = []
    stamp = credentials._stamp

    def noting(path: Path) -> tuple[int, int, int] | None:
        looked.append(threading.current_thread().name)
        return stamp(path)

    clock = Clock()
    book = KeyBook(tmp_path / "keys.json", clock)
    monkeypatch.setattr(credentials, "_stamp", noting)
    header = {"authorization": f"Bearer {key}"}

    async def call() -> None:
        asked = Credentials(book, None, pool)
        assert asked.tenant_of(header) == "acme"
        assert (await asked.identify(header)).tenant == "acme"
        assert not looked
        KeyFile().write(tmp_path / "keys.json")
        clock.now += LOOK_SECONDS
        with pytest.raises(CredentialsError):  # the first call after the look is due
            await asked.identify(header)
        assert len(looked) == 1
        assert looked[0].startswith("reader")

    with ThreadPoolExecutor(1, thread_name_prefix="reader") as pool:
        asyncio.run(call())


def test_tokens_of_unknown_keys_take_one_thread_however_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    record = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(private.public_key()))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [{**record, "kid": "known"}]}))
    clock = Clock()
    keys = KeySet(str(tmp_path / "jwks.json"), clock)
    keys.load()
    reading, go_on = threading.Semaphore(0), threading.Event()

    def slow(path: Path) -> None:
        reading.release()
        assert go_on.wait(10)

    monkeypatch.setattr(tokens, "_stat", slow)
    token = jwt.encode({"iss": "i"}, private, "ES256", {"kid": "other"})
    header = {"authorization": f"Bearer {token}"}

    async def call() -> None:
        asked = Credentials(None, Tokens(keys, "i", "a"), pool)
        clock.now += 10
        calls = [asyncio.create_task(asked.identify(header)) for _ in range(10)]
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, reading.acquire, True, 10)
        # The other thread of the pool is free while the source is read.
        assert await asyncio.wait_for(loop.run_in_executor(pool, lambda: "free"), 10) == "free"
        go_on.set()
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, CredentialsError) for one in told)

    with ThreadPoolExecutor(2) as pool:
        asyncio.run(call())


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("http://127.0.0.1:1/keys.json", KeyFileError, "cannot read token keys"),
        ("http://localhost:1/keys.json", KeyFileError, "cannot read token keys"),
        ("http://a.example/k.localhost", SettingsError, "must be an https URL"),
        ("http://localhost:1@a.example/k", SettingsError, "must be an https URL"),
    ],
)
def test_token_keys_come_in_clear_from_this_machine_alone(
    tmp_path: Path, source: str, kind: type[Exception], told: str
) -> None:
    flags = {"jwt_jwks": source, "jwt_issuer": "i", "jwt_audience": "a"}
    settings = load_settings(flags, environ={}, folder=tmp_path)
    with ThreadPoolExecutor(1) as pool, pytest.raises(kind, match=told):
        open_credentials(settings, pool)


def test_a_key_that_cannot_be_used_leaves_the_others_of_its_set() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    good = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(public)) | {"kid": "good"}
    others = [
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43, "kid": "agreement"},
        {**good, "crv": "P-999", "kid": "curve"},
        {"kty": "RSA", "n": "AQAB", "kid": "short"},
        {name: value for name, value in good.items() if name != "kid"},
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
    ]
    data = json.dumps({"keys": [*others, good]}).encode()
    assert set(tokens._keys_of(data, "here")) == {"good"}
    with pytest.raises(KeyFileError, match="no public key for signatures"):
        tokens._keys_of(json.dumps({"keys": others}).encode(), "here")
