"""Who may call what: every method is closed without the scope that it asks for."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.protobuf import descriptor_pb2
from google.rpc.error_details_pb2 import ErrorInfo, QuotaFailure, RetryInfo
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from typer.testing import CliRunner

from hub.asking import Handling
from hub.cli import build_app
from hub.client import Decoding, HubClient, Tls
from hub.commands import register
from hub.errors import (
    AdapterNotFoundError,
    CredentialsError,
    HubError,
    KeyFileError,
    NotFoundError,
    QuotaError,
    ScopeError,
    ServerUnreachableError,
    SettingsError,
)
from hub.keys import SCOPES, KeyFile
from hub.pb.adapterhub.v1 import adapter_service_pb2 as adapter_pb
from hub.pb.adapterhub.v1 import adapter_service_pb2_grpc as adapter_grpc
from hub.pb.adapterhub.v1 import glossary_service_pb2 as glossary_pb
from hub.pb.adapterhub.v1 import glossary_service_pb2_grpc as glossary_grpc
from hub.pb.adapterhub.v1 import translation_service_pb2 as translation_pb
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.pb.google.cloud.translation.v3 import translation_service_pb2_grpc as google_grpc
from hub.settings import Settings
from server.access.scopes import OPEN, SCOPE_OF_METHOD
from server.application import Application

from ...support.waiting import until

SHORT = Decoding(max_output_tokens=4)
ISSUER, AUDIENCE = "https://login.example", "adapterhub"


class Guarded:
    """A server that asks for keys and tokens, and the keys."""

    def __init__(self, house: Any, folder: Path, keys: dict[str, str], signer: Any) -> None:
        self.house, self.folder, self.keys, self.signer = house, folder, keys, signer

    def client(self, name: str) -> HubClient:
        return HubClient(self.house.target, timeout=30, key=self.keys[name])


@pytest.fixture(scope="module")
def guarded(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guard")
    file, keys = KeyFile(), {}
    for name, scopes in (
        *((scope, [scope]) for scope in SCOPES),
        ("all", SCOPES),
        ("narrow", ["translate"]),
        ("small", ["translate"]),
        ("reader", ["translate"]),
        ("narrow-admin", ["admin"]),
    ):
        file, _, keys[name] = file.added(name, scopes)
    file = file.with_tenant("narrow", adapters=["narrow-*"])
    file = file.with_tenant("narrow-admin", adapters=["narrow-*"])
    file = file.with_tenant("small", requests_per_minute=2, characters_per_minute=100)
    file = file.with_tenant("reader", adapters=["narrow-*"], characters_per_minute=100)
    file.write(folder / "keys.json")
    signer = rsa.generate_private_key(65537, 2048)
    write_jwks(folder / "jwks.json", {"one": signer.public_key()})
    houses = open_house(
        keys=str(folder / "keys.json"),
        jwt_jwks=str(folder / "jwks.json"),
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    )
    yield Guarded(next(houses), folder, keys, signer)
    houses.close()


def write_jwks(path: Path, keys: dict[str, Any]) -> None:
    records = []
    for name, key in keys.items():
        kind = jwt.algorithms.RSAAlgorithm if hasattr(key, "public_numbers") else None
        assert kind is not None
        record = json.loads(kind.to_jwk(key))
        records.append({**record, "kid": name, "use": "sig", "alg": "RS256"})
    path.write_text(json.dumps({"keys": records}))


def methods_of(target: str, key: str) -> dict[str, tuple[bool, bool]]:
    """Ask the server, by reflection, for all its methods: name → whether either side streams."""
    found: dict[str, tuple[bool, bool]] = {}
    with grpc.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        metadata = [("authorization", f"Bearer {key}")] if key else None

        def ask(**question: str) -> Any:
            asked = iter([reflection_pb2.ServerReflectionRequest(**question)])
            return next(stub.ServerReflectionInfo(asked, timeout=20, metadata=metadata))

        for service in ask(list_services="").list_services_response.service:
            reply = ask(file_containing_symbol=service.name).file_descriptor_response
            for data in reply.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                for one in file.service:
                    if f"{file.package}.{one.name}" == service.name:
                        for method in one.method:
                            name = f"{service.name}/{method.name}"
                            found[name] = method.client_streaming, method.server_streaming
    return found


def status_of(target: str, method: str, streams: tuple[bool, bool], key: str) -> grpc.StatusCode:
    """Call a method with an empty message."""
    metadata = [("authorization", key)] if key else None
    with grpc.insecure_channel(target) as channel:
        many, streamed = streams
        kind = f"{'stream' if many else 'unary'}_{'stream' if streamed else 'unary'}"
        call = getattr(channel, kind)(f"/{method}")
        request: Any = iter([b""]) if many else b""
        try:
            reply = call(request, timeout=20, metadata=metadata)
            if streamed:
                next(reply, None)
                reply.cancel()
        except grpc.RpcError as error:
            return error.code()  # type: ignore[attr-defined,no-any-return]
    return grpc.StatusCode.OK


def test_every_method_is_closed_without_its_scope(guarded: Guarded) -> None:
    target, keys = guarded.house.target, guarded.keys
    methods = methods_of(target, keys["admin"])
    assert {name.split("/")[0] for name in methods} >= {
        "adapterhub.v1.TranslationService",
        "adapterhub.v1.AdapterService",
        "google.cloud.translation.v3.TranslationService",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    for method, streams in methods.items():
        scope = SCOPE_OF_METHOD[method]
        for wrong in ("", "Bearer hub_00000000_guess", "Basic abc", "Bearer a.b.c"):
            status = status_of(target, method, streams, wrong)
            expected = scope != OPEN
            assert (status is grpc.StatusCode.UNAUTHENTICATED) == expected, (method, wrong)
        for other in SCOPES:
            status = status_of(target, method, streams, f"Bearer {keys[other]}")
            expected = scope not in (OPEN, other)
            assert (status is grpc.StatusCode.PERMISSION_DENIED) == expected, (method, other)
            assert status is not grpc.StatusCode.UNAUTHENTICATED


def test_a_method_that_is_not_in_the_table_is_closed(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server.access import guard

    table = {name: scope for name, scope in SCOPE_OF_METHOD.items() if "ListRoutes" not in name}
    monkeypatch.setattr(guard, "SCOPE_OF_METHOD", table)
    with guarded.client("all") as client:
        with pytest.raises(ScopeError):
            client.routes()
        assert client.translate(["Monday"], "en", "ko", decoding=SHORT).texts


def test_a_key_translates_and_the_server_forgets_it_when_it_is_removed(guarded: Guarded) -> None:
    path = guarded.folder / "keys.json"
    file, record, key = KeyFile.read(path).added("late", ["translate"])
    file.write(path)
    with HubClient(guarded.house.target, timeout=30, key=key) as client:
        until(lambda: succeeds(client))
        file.without(record.id).write(path)
        until(lambda: not succeeds(client))
        path.write_text("{ not a file of keys")  # the keys stay as they were
        time.sleep(1.1)
        with guarded.client("all") as other:
            assert succeeds(other)
    file.without(record.id).write(path)


def succeeds(client: HubClient) -> bool:
    try:
        client.translate(["Monday"], "en", "ko", decoding=SHORT)
    except CredentialsError:
        return False
    return True


def test_adapters_of_others_do_not_exist(guarded: Guarded) -> None:
    own = guarded.house.publisher.lora("narrow-own", seed=61)
    foreign = guarded.house.publisher.lora("foreign", seed=62)
    with guarded.client("narrow") as client, guarded.client("all") as everything:
        reply = client.translate(["Monday"], "en", "ko", adapter="narrow-own", decoding=SHORT)
        assert reply.items[0].adapter_digest == own.digest
        for ref in ("foreign", "foreign:1", "foreign@latest", foreign.digest, foreign.digest[:20]):
            assert everything.get_adapter(ref).digest == foreign.digest
            told = [refusal(client, one) for one in (ref, swapped(ref))]
            assert told[0].replace(ref, "REF") == told[1].replace(swapped(ref), "REF")
            with pytest.raises(AdapterNotFoundError):
                client.get_adapter(ref)
        assert {adapter.name for adapter in client.list_adapters()} == {"narrow-own"}
        assert {adapter.name for adapter in everything.list_adapters()} >= {"foreign"}


def test_glossaries_and_aliases_of_others_do_not_exist(guarded: Guarded) -> None:
    own, foreign = (
        guarded.house.publisher.lora(name, seed=seed)
        for name, seed in (("narrow-own", 64), ("other-alias", 65))
    )
    with grpc.insecure_channel(guarded.house.target) as channel:
        glossaries = glossary_grpc.GlossaryServiceStub(channel)
        adapters = adapter_grpc.AdapterServiceStub(channel)

        def ask(method: Any, request: Any, key: str) -> Any:
            metadata = [("authorization", f"Bearer {guarded.keys[key]}")]
            return method(request, timeout=30, metadata=metadata)

        def refused(method: Any, request: Any, key: str) -> tuple[grpc.StatusCode, str]:
            with pytest.raises(grpc.RpcError) as caught:
                ask(method, request, key)
            return caught.value.code(), caught.value.details()  # type: ignore[attr-defined]

        for name in ("narrow-terms", "secret-terms"):
            put = glossary_pb.PutGlossaryRequest(
                name=name, source_language_code="en", target_language_code="ko",
                terms=[translation_pb.GlossaryTerm(source="euro", targets=["유로화"])],
            )  # fmt: skip
            ask(glossaries.PutGlossary, put, "all")
        listed = glossary_pb.ListGlossariesRequest()
        assert [g.name for g in ask(glossaries.ListGlossaries, listed, "narrow").glossaries] == [
            "narrow-terms"
        ]
        for name in ("secret-terms", "nobodys-terms"):
            code, words = refused(
                glossaries.GetGlossary, glossary_pb.GetGlossaryRequest(glossary=name), "narrow"
            )
            assert code is grpc.StatusCode.NOT_FOUND
            assert words == f"no glossary is named {name!r}; there is: narrow-terms"
            with (
                guarded.client("narrow") as client,
                pytest.raises(NotFoundError, match="there is: narrow-terms"),
            ):
                client.translate(["euro"], "en", "ko", handling=Handling(glossary=name))
        delete = glossary_pb.DeleteGlossaryRequest(name="secret-terms")
        code, _ = refused(glossaries.DeleteGlossary, delete, "narrow-admin")
        assert code is grpc.StatusCode.PERMISSION_DENIED
        ask(glossaries.DeleteGlossary, delete, "all")

        def move(version: Any) -> Any:
            return adapter_pb.SetAliasRequest(
                name=version.name, alias="next", version=version.version
            )

        assert ask(adapters.SetAlias, move(own), "narrow-admin").version == own.version
        code, _ = refused(adapters.SetAlias, move(foreign), "narrow-admin")
        assert code is grpc.StatusCode.NOT_FOUND
        for version in (own, foreign):
            ask(adapters.LoadAdapter, adapter_pb.LoadAdapterRequest(adapter=version.digest), "all")
        loaded = ask(
            adapters.ListLoadedAdapters, adapter_pb.ListLoadedAdaptersRequest(), "narrow-admin"
        )
        assert {one.digest for one in loaded.adapters} >= {own.digest}
        assert foreign.digest not in {one.digest for one in loaded.adapters}
        unload = adapter_pb.UnloadAdapterRequest(adapter=foreign.digest)
        code, _ = refused(adapters.UnloadAdapter, unload, "narrow-admin")
        assert code is grpc.StatusCode.NOT_FOUND


def test_calls_and_tokens_are_counted_by_tenant(guarded: Guarded) -> None:
    house = guarded.house

    def counted() -> tuple[float, ...]:
        return (
            house.metric("hub_tenant_requests_total", tenant="all", outcome="ok"),
            house.metric("hub_tenant_requests_total", tenant="all", outcome="failed"),
            house.metric("hub_tenant_tokens_total", tenant="all", direction="input"),
            house.metric("hub_tenant_tokens_total", tenant="all", direction="output"),
        )

    before = counted()
    with guarded.client("all") as client:
        item = client.translate(["Monday"], "en", "ko", decoding=SHORT).items[0]
        with pytest.raises(AdapterNotFoundError):
            client.translate(["Monday"], "en", "ko", adapter="gone", decoding=SHORT)
    ok, failed, read, written = (now - then for now, then in zip(counted(), before, strict=True))
    assert (ok, failed) == (1, 1)
    assert read > 0
    assert 0 < written <= 4
    assert item.error is None


def refusal(client: HubClient, ref: str) -> str:
    with pytest.raises(AdapterNotFoundError) as caught:
        client.translate(["Monday"], "en", "ko", adapter=ref, decoding=SHORT)
    return caught.value.message


def swapped(ref: str) -> str:
    """Return a ref of the same form that nothing answers to."""
    return ref.replace("foreign", "nothing") if "foreign" in ref else ref[:-1] + other(ref[-1])


def other(digit: str) -> str:
    return "0" if digit != "0" else "1"


def test_a_route_to_an_adapter_of_others_is_not_taken(guarded: Guarded) -> None:
    publisher = guarded.house.publisher
    version = publisher.lora("routed-foreign", pair="en-fr", seed=63)
    publisher.registry.set_alias(version.name, "prod", version.version, expected=None)
    with guarded.client("narrow") as client, guarded.client("all") as everything:
        guarded.house.application.core.routes.refresh()
        served = everything.translate(["Monday"], "en", "fr", decoding=SHORT).items[0]
        assert served.adapter_version == version.ref
        item = client.translate(["Monday"], "en", "fr", decoding=SHORT).items[0]
        assert (item.adapter_version, item.requested_adapter) == ("", "")
        assert client.routes() == []


def test_a_quota_is_told_with_the_time_to_wait(guarded: Guarded) -> None:
    with guarded.client("small") as client:
        client.translate(["x" * 90], "en", "ko", decoding=SHORT)
        with pytest.raises(QuotaError, match="100 characters per minute; retry in"):
            client.translate(["x" * 90], "en", "ko", decoding=SHORT)
        client.translate(["a"], "en", "ko", decoding=SHORT)
        with pytest.raises(QuotaError, match="2 requests per minute; retry in"):
            client.translate(["a"], "en", "ko", decoding=SHORT)
    with grpc.insecure_channel(guarded.house.target) as channel:
        call = channel.unary_unary("/adapterhub.v1.TranslationService/TranslateText")
        header = [("authorization", f"Bearer {guarded.keys['small']}")]
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=20, metadata=header)
    status = rpc_status.from_call(caught.value)
    retry, failure, info = RetryInfo(), QuotaFailure(), ErrorInfo()
    for into in (retry, failure, info):
        assert any(detail.Unpack(into) for detail in status.details)
    assert 0 < retry.retry_delay.ToMilliseconds() <= 30_000
    assert failure.violations[0].subject == "small"
    assert info.reason == "QUOTA_EXCEEDED"


def test_the_google_door_has_the_same_tenants_and_quotas(guarded: Guarded) -> None:
    guarded.house.publisher.lora("somebody-elses", seed=93)
    parent = "projects/p/locations/l"
    header = [("authorization", f"Bearer {guarded.keys['reader']}")]
    with grpc.insecure_channel(guarded.house.target) as channel:
        stub = google_grpc.TranslationServiceStub(channel)

        def code(method: Any, request: Any) -> grpc.StatusCode:
            try:
                method(request, timeout=30, metadata=header)
            except grpc.RpcError as error:
                return error.code()  # type: ignore[attr-defined,no-any-return]
            return grpc.StatusCode.OK

        pair = {"parent": parent, "source_language_code": "en", "target_language_code": "ko"}
        theirs = google_pb.TranslateTextRequest(
            **pair, contents=["a"], model=f"{parent}/models/somebody-elses"
        )
        assert code(stub.TranslateText, theirs) is grpc.StatusCode.NOT_FOUND
        listed = stub.ListModels(
            google_pb.ListModelsRequest(parent=parent), timeout=30, metadata=header
        )
        assert all("/models/narrow-" in one.name for one in listed.models)
        name = google_pb.DeleteGlossaryRequest(name=f"{parent}/glossaries/x")
        assert code(stub.DeleteGlossary, name) is grpc.StatusCode.PERMISSION_DENIED
        file = google_pb.TranslateDocumentRequest(**pair)
        file.document_input_config.mime_type = "text/plain"
        file.document_input_config.content = b"x" * 90 + b"\n" * 5000
        text = google_pb.DetectLanguageRequest(parent=parent, content="x" * 90)
        calls = [(stub.TranslateDocument, file), (stub.TranslateDocument, file)]
        with ThreadPoolExecutor(3) as pool:  # at once, so that no time fills the bucket
            codes = list(pool.map(lambda call: code(*call), [*calls, (stub.DetectLanguage, text)]))
        assert Counter(codes) == {
            grpc.StatusCode.OK: 1,
            grpc.StatusCode.RESOURCE_EXHAUSTED: 2,
        }


def token(signer: Any, **changes: Any) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "tenant": "acme",
        "scope": "openid translate",
    }  # fmt: skip
    header = {"kid": changes.pop("kid", "one")}
    algorithm = changes.pop("alg", "RS256")
    claims |= changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, signer, algorithm=algorithm, headers=header)


def test_a_token_translates_with_its_scopes(guarded: Guarded) -> None:
    with HubClient(guarded.house.target, timeout=30, key=token(guarded.signer)) as client:
        assert client.translate(["Monday"], "en", "ko", decoding=SHORT).texts
        with pytest.raises(ScopeError, match="acme"):
            client.list_loaded_adapters()
    named = token(guarded.signer, tenant="narrow")
    with HubClient(guarded.house.target, timeout=30, key=named) as client:
        assert {adapter.name for adapter in client.list_adapters()} <= {"narrow-own"}


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - 600},
        {"exp": None},
        {"nbf": int(time.time()) + 6000},
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"tenant": None},
        {"tenant": "../up"},
        {"tenant": ["acme"]},
        {"kid": "two"},
    ],
)
def test_a_token_that_is_not_valid_is_refused(guarded: Guarded, changes: dict[str, Any]) -> None:
    refused(guarded, token(guarded.signer, **changes))


def test_forged_tokens_are_refused(guarded: Guarded) -> None:
    other_key = rsa.generate_private_key(65537, 2048)
    refused(guarded, token(other_key))
    refused(guarded, token(ec.generate_private_key(ec.SECP256R1()), alg="ES256"))
    refused(guarded, token(None, alg="none"))
    public = (guarded.folder / "jwks.json").read_bytes()
    refused(guarded, signed_with_a_public_key(public))
    whole = token(guarded.signer)
    head, body, signature = whole.split(".")
    refused(guarded, f"{head}.{body}.{signature[:-4]}AAAA")
    refused(guarded, f"{head}.{body}.")


def signed_with_a_public_key(public: bytes) -> str:
    """Make the token of an attacker who takes what is public for a shared secret."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one","typ":"JWT"}').rstrip(b"=")
    body = token(None, alg="none").split(".")[1].encode()
    mac = hmac.digest(public, head + b"." + body, "sha256")
    return (head + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def refused(guarded: Guarded, key: str) -> None:
    with (
        HubClient(guarded.house.target, timeout=30, key=key) as client,
        pytest.raises(CredentialsError) as caught,
    ):
        client.translate(["Monday"], "en", "ko", decoding=SHORT)
    assert key not in caught.value.message


def test_a_new_signing_key_is_taken_up(guarded: Guarded) -> None:
    fresh = rsa.generate_private_key(65537, 2048)
    keys = {"one": guarded.signer.public_key(), "fresh": fresh.public_key()}
    write_jwks(guarded.folder / "jwks.json", keys)
    with HubClient(guarded.house.target, timeout=30, key=token(fresh, kid="fresh")) as client:
        until(lambda: succeeds(client))


@pytest.mark.parametrize(
    ("flags", "kind", "told"),
    [
        ({"host": "0.0.0.0"}, SettingsError, "insecure-no-auth"),
        ({"host": "::"}, SettingsError, "insecure-no-auth"),
        ({"host": "192.0.2.1"}, SettingsError, "insecure-no-auth"),
        ({"keys": Path("/nowhere/keys.json")}, KeyFileError, "hub keys add"),
        ({"jwt_jwks": "/nowhere.json"}, SettingsError, "jwt_issuer"),
        ({"jwt_jwks": "http://a.example/k", "jwt_issuer": "i", "jwt_audience": "a"},
         SettingsError, "https"),
        ({"tls_cert": Path("/nowhere.pem")}, SettingsError, "tls_key"),
        ({"tls_cert": Path("/nowhere.pem"), "tls_key": Path("/nowhere.pem")},
         SettingsError, "PEM"),
    ],
)  # fmt: skip
def test_a_server_that_would_be_open_does_not_start(
    house: Any, flags: dict[str, Any], kind: type[HubError], told: str
) -> None:
    settings = house.settings.model_copy(update={"port": 0, "metrics_port": 0, **flags})
    with pytest.raises(kind, match=told):
        asyncio.run(listen(settings))


def test_a_server_is_open_to_others_when_that_is_said_twice(house: Any) -> None:
    flags = {"host": "0.0.0.0", "insecure_no_auth": "yes-really", "port": 0, "metrics_port": 0}
    asyncio.run(listen(house.settings.model_copy(update=flags)))


async def listen(settings: Settings) -> None:
    application = Application(settings)
    try:
        await application.listen()
    finally:
        await application.stop(0)


class Authority:
    """Makes certificates with openssl."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True, exist_ok=True)
        self.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                 f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip

    @property
    def roots(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def issue(self, name: str) -> tuple[Path, Path]:
        extension = self.folder / "san.cnf"
        extension.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self.run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        self.run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey",
                 f"{self.name}.key", "-CAcreateserial", "-days", "2", "-extfile", "san.cnf",
                 "-out", f"{name}.pem")  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)


def test_tls_takes_a_renewed_certificate_without_a_restart(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    old, new = Authority(tmp_path / "old", "old"), Authority(tmp_path / "new", "new")
    cert, key = tmp_path / "server.pem", tmp_path / "server.key"

    def install(authority: Authority) -> None:
        issued_cert, issued_key = authority.issue("server")
        key.write_bytes(issued_key.read_bytes())
        cert.write_bytes(issued_cert.read_bytes())

    install(old)
    houses = plain(open_house, tls_cert=str(cert), tls_key=str(key))
    target = next(houses)
    assert answers(target, Tls(old.roots))
    assert not answers(target, None)
    assert not answers(target, Tls(new.roots))
    cert.write_text("half a certificate")
    assert answers(target, Tls(old.roots))  # the old one goes on
    install(new)
    assert answers(target, Tls(new.roots))
    assert not answers(target, Tls(old.roots))
    houses.close()


def test_mutual_tls_asks_for_a_certificate(
    open_house: Callable[..., Iterator[Any]], tmp_path: Path
) -> None:
    servers, clients = Authority(tmp_path / "s", "servers"), Authority(tmp_path / "c", "clients")
    cert, key = servers.issue("server")
    houses = plain(
        open_house, tls_cert=str(cert), tls_key=str(key), tls_client_ca=str(clients.roots)
    )
    target = next(houses)
    assert answers(target, Tls(servers.roots, *clients.issue("client")))
    assert not answers(target, Tls(servers.roots))
    assert not answers(target, Tls(servers.roots, *servers.issue("other")))
    houses.close()


def plain(open_house: Callable[..., Iterator[Any]], **flags: str) -> Iterator[str]:
    """Start a server and yield its address; the house's own client has no certificate."""
    for house in open_house(**flags):
        yield house.target


def answers(target: str, tls: Tls | None) -> bool:
    with HubClient(target, timeout=10, tls=tls) as client:
        try:
            return client.is_serving(timeout=10)
        except ServerUnreachableError:
            return False


def test_the_command_line_shows_its_key(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    app, runner = build_app(()), CliRunner()
    register(app)
    ask = ["translate", "--server", guarded.house.target, "--pair", "en-ko",
           "--max-output-tokens", "4", "Monday"]  # fmt: skip
    refused_call = runner.invoke(app, ask)
    assert isinstance(refused_call.exception, CredentialsError)
    assert refused_call.exception.exit_code == 77
    assert runner.invoke(app, [*ask, "--key", guarded.keys["translate"]]).exit_code == 0
    monkeypatch.setenv("HUB_KEY", guarded.keys["admin"])
    assert isinstance(runner.invoke(app, ask).exception, ScopeError)
    loaded = runner.invoke(app, ["adapters", "loaded", "--server", guarded.house.target])
    assert loaded.exit_code == 0, loaded.exception
