"""Google's own client, unchanged, against a real server on an insecure channel."""

from __future__ import annotations

import base64
import io
import random
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import docx
import grpc
import pytest

from hub.client import HubClient
from hub.pb.adapterhub.v1 import translation_service_pb2
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as ours
from server.access.scopes import SCOPE_OF_METHOD
from server.grpc.cloud_translation.refusals import REASONS

REASON = "google-cloud-translate is a development dependency"
PARENT = "projects/any/locations/global"
METHODS = ours.DESCRIPTOR.services_by_name["TranslationService"].methods_by_name


def load() -> Any:
    """Import Google's package; it warns of Python releases that it will leave behind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("google.cloud.translate_v3", reason=REASON)


@pytest.fixture(scope="module")
def google() -> Any:
    return load()


@pytest.fixture(scope="module")
def exceptions(google: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("google.api_core.exceptions", reason=REASON)


@pytest.fixture(scope="module")
def client(house: Any, google: Any) -> Iterator[Any]:
    """The client as its users make it, but for the channel."""
    from google.cloud.translate_v3.services.translation_service.transports import (
        TranslationServiceGrpcTransport,
    )

    with grpc.insecure_channel(house.target) as channel:
        transport = TranslationServiceGrpcTransport(channel=channel)
        yield google.TranslationServiceClient(transport=transport)


@pytest.fixture(scope="module")
def adapter(house: Any) -> Any:
    version = house.publisher.lora("google-door", seed=71)
    house.publisher.registry.set_alias("google-door", "live", 1, None)
    return version


def text_request(contents: list[str], **fields: Any) -> dict[str, Any]:
    return {
        "parent": PARENT,
        "contents": contents,
        "source_language_code": "en",
        "target_language_code": "ko",
        "mime_type": "text/plain",
        **fields,
    }


def own(house: Any, contents: list[str], **options: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = house.client.translate(contents, "en", "ko", **options).texts
    return found


def test_the_names_on_the_wire_are_those_of_the_official_package(google: Any) -> None:
    """Every message of ours has fields of the official one: same number, type and name."""
    from google.cloud.translate_v3 import types

    compared = 0
    for name, message in ours.DESCRIPTOR.message_types_by_name.items():
        official = getattr(types, name).pb(getattr(types, name)()).DESCRIPTOR
        assert official.full_name == message.full_name
        for field in message.fields:
            theirs = official.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (
                theirs.number, theirs.type, theirs.is_repeated,
            ), f"{name}.{field.name}"  # fmt: skip
            compared += 1
    assert compared > 100


def test_every_method_of_the_official_client_has_a_place_here(google: Any) -> None:
    from google.cloud.translate_v3.services.translation_service.transports import (
        TranslationServiceGrpcTransport,
    )

    with grpc.insecure_channel("127.0.0.1:1") as channel:
        transport = TranslationServiceGrpcTransport(channel=channel)
        names = {method.replace("_", "") for method in dir(transport)}
    for name in METHODS:
        assert name.lower() in names
        assert f"google.cloud.translation.v3.TranslationService/{name}" in SCOPE_OF_METHOD
    assert set(REASONS) < set(METHODS)


def test_texts_are_those_of_the_own_service(client: Any, house: Any, adapter: Any) -> None:
    contents = ["Monday", "five kilometres per hour"]
    for model, ref in (
        ("", ""),
        (f"{PARENT}/models/general/nmt", ""),
        (f"{PARENT}/models/base", "base"),
        (f"{PARENT}/models/google-door@live", "google-door"),
        (f"{PARENT}/models/google-door:1", "google-door:1"),
        (f"{PARENT}/models/{adapter.digest}", adapter.digest),
    ):
        response = client.translate_text(request=text_request(contents, model=model))
        texts = tuple(one.translated_text for one in response.translations)
        assert texts == own(house, contents, adapter=ref)
        name = "google-door:1" if ref not in ("", "base") else "base"
        assert {one.model for one in response.translations} == {f"{PARENT}/models/{name}"}
        assert {one.detected_language_code for one in response.translations} == {""}
    assert own(house, contents) != own(house, contents, adapter="google-door")


def test_html_is_the_default(client: Any, house: Any) -> None:
    html = '<p class="a">Monday</p>'
    (one,) = client.translate_text(request=text_request([html], mime_type="")).translations
    assert one.translated_text.startswith('<p class="a">')
    assert one.translated_text.endswith("</p>")
    (plain,) = client.translate_text(request=text_request([html])).translations
    assert plain.translated_text != one.translated_text


def test_more_texts_than_one_command_may_have(client: Any, house: Any) -> None:
    contents = [f"{number} km" if number % 3 else " " for number in range(300)]
    response = client.translate_text(request=text_request(contents))
    texts = [one.translated_text for one in response.translations]
    assert [text for text in texts if text == " "] == [" "] * 100
    places = [1, 2, 257, 299]
    assert [texts[place] for place in places] == list(own(house, [contents[p] for p in places]))


def test_the_source_language_is_detected(client: Any) -> None:
    korean = "월요일 아침에 서울에서 만나요"
    request = text_request([korean], source_language_code="", target_language_code="en")
    (one,) = client.translate_text(request=request).translations
    assert one.detected_language_code == "ko"
    response = client.detect_language(parent=PARENT, content=korean, mime_type="text/plain")
    assert [language.language_code for language in response.languages][:1] == ["ko"]
    assert response.languages[0].confidence == pytest.approx(1.0)


def test_languages_have_their_names(client: Any, adapter: Any) -> None:
    response = client.get_supported_languages(parent=PARENT, display_language_code="fr")
    names = {one.language_code: one.display_name for one in response.languages}
    assert names == {"de": "allemand", "en": "anglais", "fr": "français", "ko": "coréen"}
    assert all(one.support_source and one.support_target for one in response.languages)
    model = f"{PARENT}/models/google-door"
    response = client.get_supported_languages(parent=PARENT, model=model)
    sides = {one.language_code: one.support_source for one in response.languages}
    assert sides == {"en": True, "ko": False}


def test_adapters_are_models(client: Any, house: Any, adapter: Any) -> None:
    models = {one.name: one for one in client.list_models(parent=PARENT)}
    named = models[f"{PARENT}/models/google-door:1"]
    found = client.get_model(name=f"{PARENT}/models/google-door@live")
    assert found == named
    assert (found.source_language_code, found.target_language_code) == ("en", "ko")
    paged = client.list_models(request={"parent": PARENT, "page_size": 1})
    assert {one.name for one in paged} == set(models)
    assert len(models) >= 1


def test_glossaries_are_stored_ones(client: Any, google: Any, house: Any, exceptions: Any) -> None:
    name = f"{PARENT}/glossaries/google-terms"
    uri = "data:text/csv;charset=utf-8," + quote("Monday,월요일\neuro,유로\n")
    glossary = {
        "name": name,
        "language_pair": {"source_language_code": "en", "target_language_code": "ko"},
        "input_config": {"gcs_source": {"input_uri": uri}},
    }
    made = client.create_glossary(parent=PARENT, glossary=glossary).result(timeout=20)
    assert (made.name, made.entry_count, made.display_name) == (name, 2, "google-terms:1")
    assert client.get_glossary(name=name) == made
    assert name in {one.name for one in client.list_glossaries(parent=PARENT)}
    entries = list(client.list_glossary_entries(parent=name))
    terms = [(e.terms_pair.source_term.text, e.terms_pair.target_term.text) for e in entries]
    assert terms == [("Monday", "월요일"), ("euro", "유로")]
    assert client.get_glossary_entry(name=entries[1].name) == entries[1]
    config = {"glossary": name, "ignore_case": True}
    response = client.translate_text(request=text_request(["monday"], glossary_config=config))
    (plain,), (forced,) = response.translations, response.glossary_translations
    assert "월요일" in forced.translated_text
    assert "월요일" not in plain.translated_text
    assert forced.glossary_config.glossary == name
    removed = client.delete_glossary(name=name).result(timeout=20)
    assert removed.name == name
    with pytest.raises(exceptions.NotFound, match="google-terms"):
        client.get_glossary(name=name)


def test_an_operation_can_be_asked_for_again(house: Any, client: Any, exceptions: Any) -> None:
    body = base64.b64encode(b"Monday\tMontag\n").decode()
    glossary = {
        "name": f"{PARENT}/glossaries/again",
        "language_pair": {"source_language_code": "en", "target_language_code": "de"},
        "input_config": {
            "gcs_source": {"input_uri": f"data:text/tab-separated-values;base64,{body}"}
        },
    }
    operation = client.create_glossary(parent=PARENT, glossary=glossary)
    found = client.transport.operations_client.get_operation(operation.operation.name)
    assert found.done
    assert found == operation.operation
    with pytest.raises(exceptions.NotFound):
        client.transport.operations_client.get_operation(f"{PARENT}/operations/none")


def test_a_word_file_comes_back_translated(client: Any, house: Any) -> None:
    written = io.BytesIO()
    made = docx.Document()
    made.add_paragraph("Monday ").add_run("bold").bold = True
    made.add_paragraph("euro")
    made.save(written)
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    response = client.translate_document(
        request={
            "parent": PARENT,
            "target_language_code": "ko",
            "source_language_code": "en",
            "document_input_config": {"content": written.getvalue(), "mime_type": kind},
        }
    )
    (data,) = response.document_translation.byte_stream_outputs
    read = docx.Document(io.BytesIO(data))
    assert read.paragraphs[1].text == own(house, ["euro"])[0]
    assert [run.text for run in read.paragraphs[0].runs if run.bold]
    assert response.document_translation.mime_type == kind


@pytest.mark.parametrize(
    ("fields", "kind", "told"),
    [
        ({"parent": "nobody"}, "InvalidArgument", "not a resource name"),
        ({"contents": []}, "InvalidArgument", "contents is empty"),
        ({"contents": ["a"] * 1025}, "InvalidArgument", "at most 1024"),
        ({"contents": ["x" * 30_001]}, "InvalidArgument", "at most 30000"),
        ({"mime_type": "text/rtf"}, "InvalidArgument", "MIME type"),
        ({"target_language_code": ""}, "InvalidArgument", "target_language_code is empty"),
        ({"target_language_code": "xx"}, "InvalidArgument", "xx"),
        ({"model": "google-door"}, "InvalidArgument", "not a resource name"),
        ({"model": f"{PARENT}/models/general/translation-llm"}, "InvalidArgument", "is Google's"),
        ({"model": f"{PARENT}/models/nothing"}, "NotFound", "nothing"),
        ({"glossary_config": {"glossary": "x"}}, "InvalidArgument", "not a resource name"),
        (
            {"glossary_config": {"glossary": f"{PARENT}/glossaries/none"}},
            "NotFound",
            "no glossary is named 'none'",
        ),
        (
            {"transliteration_config": {"enable_transliteration": True}},
            "InvalidArgument",
            "transliteration",
        ),
    ],
)
def test_errors_are_those_that_the_client_knows(
    client: Any, exceptions: Any, fields: dict[str, Any], kind: str, told: str
) -> None:
    with pytest.raises(getattr(exceptions, kind), match=told) as caught:
        client.translate_text(request=text_request(["Monday"]) | fields)
    assert caught.value.reason
    assert caught.value.domain == "adapterhub"


def test_other_storage_is_not_read(client: Any, exceptions: Any) -> None:
    glossary = {
        "name": f"{PARENT}/glossaries/far",
        "language_pair": {"source_language_code": "en", "target_language_code": "ko"},
        "input_config": {"gcs_source": {"input_uri": "gs://bucket/terms.csv"}},
    }
    with pytest.raises(exceptions.InvalidArgument, match="no access to other storage"):
        client.create_glossary(parent=PARENT, glossary=glossary)
    with pytest.raises(exceptions.InvalidArgument, match="other storage"):
        client.translate_document(
            request={
                "parent": PARENT,
                "target_language_code": "ko",
                "document_input_config": {
                    "gcs_source": {"input_uri": "gs://b/x.docx"},
                    "mime_type": "text/plain",
                },
            }
        )


def test_methods_without_a_counterpart_are_refused_by_name(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        for name, reason in REASONS.items():
            call = channel.unary_unary(f"/google.cloud.translation.v3.TranslationService/{name}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\x0a\x01x", timeout=20)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            details = caught.value.details()
            assert details == f"TranslationService.{name} is not served here: {reason}"


def test_random_bytes_never_make_unknown_or_internal(house: Any) -> None:
    chance = random.Random(7)
    document = ours.TranslateDocumentRequest(parent=PARENT, target_language_code="xx")
    document.document_input_config.content = b"Monday"
    glossary = ours.CreateGlossaryRequest(parent=PARENT)
    glossary.glossary.name = f"{PARENT}/glossaries/odd"
    glossary.glossary.language_pair.source_language_code = "en"
    glossary.glossary.input_config.gcs_source.input_uri = "data:text/csv;base64,YSxi"
    valid = {
        "TranslateText": ours.TranslateTextRequest(
            parent=PARENT, contents=["Monday"], target_language_code="xx"
        ),
        "TranslateDocument": document,
        "CreateGlossary": glossary,
        "DetectLanguage": ours.DetectLanguageRequest(parent=PARENT, content="Monday"),
        "ListModels": ours.ListModelsRequest(parent=PARENT, page_size=3, page_token="x:1"),
        "GetGlossaryEntry": ours.GetGlossaryEntryRequest(
            name=f"{PARENT}/glossaries/odd/glossaryEntries/1"
        ),
    }
    with grpc.insecure_channel(house.target) as channel:
        for name, message in valid.items():
            call = channel.unary_unary(f"/google.cloud.translation.v3.TranslationService/{name}")
            for _ in range(25):
                payload = bytearray(message.SerializeToString())
                for _ in range(chance.randrange(1, 6)):
                    payload[chance.randrange(len(payload))] = chance.randrange(256)
                try:
                    call(bytes(payload), timeout=20)
                except grpc.RpcError as error:
                    code = error.code()  # type: ignore[attr-defined]
                    assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), (
                        name,
                        bytes(payload),
                    )


def test_health_and_metrics_know_the_door(client: Any, house: Any) -> None:
    service = "google.cloud.translation.v3.TranslationService"
    labels = {"grpc_type": "unary", "grpc_service": service, "grpc_method": "TranslateText"}
    name = "grpc_server_started_total"
    before = house.metric(name, **labels)
    client.translate_text(request=text_request(["Monday"]))
    assert house.metric(name, **labels) == before + 1
    with HubClient(house.target) as own_client:
        assert own_client.is_serving()
    assert translation_service_pb2.DESCRIPTOR.package == "adapterhub.v1"
