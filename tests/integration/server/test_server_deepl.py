"""DeepL's official client against our server, unchanged."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import deepl
import httpx
import pytest
from deepl.api_data import MultilingualGlossaryDictionaryEntries as Dictionary

from hub.asking import Handling
from hub.client import HubClient
from hub.errors import GlossaryNotFoundError, ScopeError
from hub.glossaries import Term
from hub.keys import KeyFile
from hub.pb.adapterhub.v1 import glossary_service_pb2 as pb
from hub.pb.adapterhub.v1.glossary_service_pb2_grpc import GlossaryServiceStub
from hub.pb.google.cloud.translation.v3 import translation_service_pb2 as google_pb
from hub.pb.google.cloud.translation.v3.translation_service_pb2_grpc import (
    TranslationServiceStub as GoogleStub,
)

NOWHERE = "96ab91fd-e715-41a1-adeb-5d701f84a483"


@pytest.fixture(scope="module")
def front(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("deepl")
    file, keys = KeyFile(), {}
    for name, scopes in (
        ("all", ["translate", "admin"]),
        ("reader", ["translate"]),
        ("stranger", ["translate"]),
        ("other admin", ["translate", "admin"]),
    ):
        file, _, keys[name] = file.added(name.replace(" ", "-"), scopes)
    file.write(folder / "keys.json")
    for house in open_house(http_port=0, keys=str(folder / "keys.json"), max_upload_bytes="1MiB"):
        house.client.close()
        yield house, keys


def client_of(front: tuple[Any, dict[str, str]], name: str = "all") -> deepl.DeepLClient:
    house, keys = front
    return deepl.DeepLClient(keys[name], server_url=f"http://{house.application.ports.http}")


@pytest.fixture
def client(front: tuple[Any, dict[str, str]]) -> deepl.DeepLClient:
    return client_of(front)


def ours(front: tuple[Any, dict[str, str]], text: str, **more: Any) -> str:
    """What the gRPC door says, with the same key."""
    with HubClient(front[0].target, timeout=60, key=front[1]["all"]) as hub:
        return hub.translate([text], "en", "de", **more).items[0].text


def test_text_is_that_of_the_grpc_door(front: Any, client: deepl.DeepLClient) -> None:
    found = client.translate_text("in 3 days", source_lang="EN", target_lang="DE")
    assert found.text == ours(front, "in 3 days")
    assert (found.detected_source_lang, found.billed_characters) == ("EN", 9)


def test_a_list_keeps_its_order_and_languages_are_detected(client: deepl.DeepLClient) -> None:
    texts = ["월요일", "Donnerstag, den 5. Oktober", "mercredi prochain"]
    found = client.translate_text(texts, target_lang="EN-US")
    assert [one.detected_source_lang for one in found] == ["KO", "DE", "FR"]
    single = [client.translate_text(one, target_lang="EN-US").text for one in texts]
    assert [one.text for one in found] == single


def test_adapters_are_chosen_by_fields_of_ours(front: Any, client: deepl.DeepLClient) -> None:
    front[0].publisher.lora("deepl.lora", pair="en-de", seed=3)
    found = client.translate_text(
        "in 3 days",
        source_lang="EN",
        target_lang="DE",
        extra_body_parameters={"adapter": "deepl.lora"},
    )
    plain = ours(front, "in 3 days")
    assert found.text == ours(front, "in 3 days", adapter="deepl.lora") != plain


def test_lines_stay_lines_unless_they_are_blanks(client: deepl.DeepLClient) -> None:
    def lines(split: str) -> int:
        text = client.translate_text(
            "in 3 days\nMonday", source_lang="EN", target_lang="DE", split_sentences=split
        ).text
        return text.count("\n") + 1

    assert (lines("1"), lines("nonewlines")) == (2, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"formality": "more"}, "Target language does not support formality"),
        ({"formality": "rude"}, "formality"),
        ({"context": "a knife"}, "'context' is not supported"),
        ({"extra_body_parameters": {"style_id": "x"}}, "'style_id' is not supported"),
        ({"custom_instructions": ["be brief"]}, "'custom_instructions' is not supported"),
        ({"split_sentences": "often"}, "split_sentences"),
        ({"tag_handling": "latex"}, "tag_handling"),
        ({"splitting_tags": "par"}, "requires tag_handling=xml"),
        ({"tag_handling": "xml", "tag_handling_version": "v9"}, "tag_handling_version"),
        ({"model_type": "huge"}, "model_type"),
        ({"target_lang": "XX"}, "target_lang 'XX' is not supported"),
        ({"source_lang": "XX"}, "source_lang 'XX' is not supported"),
        ({"extra_body_parameters": {"preserve_formatting": "maybe"}}, "preserve_formatting"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(
    client: deepl.DeepLClient, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(deepl.DeepLException, match=re.escape(message)):
        client.translate_text("Monday", **{"source_lang": "EN", "target_lang": "DE"} | parameters)


@pytest.mark.parametrize("formality", ["default", "prefer_more", "prefer_less"])
def test_formality_that_leaves_it_to_us(client: deepl.DeepLClient, formality: str) -> None:
    assert client.translate_text("Monday", target_lang="DE", source_lang="EN", formality=formality)


def test_html_keeps_its_tags(client: deepl.DeepLClient) -> None:
    page = '<p>Monday</p><p translate="no">5 May</p>'
    found = client.translate_text(page, source_lang="EN", target_lang="DE", tag_handling="html")
    assert re.fullmatch(r'<p>.*</p><p translate="no">5 May</p>', found.text)


def test_xml_splits_where_it_is_told(client: deepl.DeepLClient) -> None:
    text = (
        '<doc id="1"><title>Monday</title><par><span>in</span> <span>3 days</span></par>'
        "<raw>as it is</raw></doc>"
    )

    def tags(**rules: Any) -> str:
        found = client.translate_text(
            text, source_lang="EN", target_lang="DE", tag_handling="xml", **rules
        )
        return found.text

    told = tags(ignore_tags=["raw"], non_splitting_tags="span", outline_detection=True)
    assert re.fullmatch(
        r'<doc id="1"><title>.*</title><par>.*<span>.*</span>.*</par><raw>as it is</raw></doc>',
        told,
    )
    assert sorted(re.findall("<[^>]*>", told)) == sorted(re.findall("<[^>]*>", text))
    with pytest.raises(deepl.DeepLException, match="Tag handling parsing failed"):
        client.translate_text("<a>", source_lang="EN", target_lang="DE", tag_handling="xml")
    bomb = '<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>'
    with pytest.raises(deepl.DeepLException, match="Tag handling parsing failed"):
        client.translate_text(bomb, source_lang="EN", target_lang="DE", tag_handling="xml")


def test_texts_of_xml_are_counted_like_others(client: deepl.DeepLClient) -> None:
    for handling in (None, "html", "xml"):
        with pytest.raises(deepl.DeepLException, match="257 texts in one request; at most 256"):
            client.translate_text(
                ["Monday"] * 257, source_lang="EN", target_lang="DE", tag_handling=handling
            )


def test_languages(client: deepl.DeepLClient) -> None:
    assert [one.code for one in client.get_source_languages()] == ["DE", "EN", "FR", "KO"]
    found = {one.code: one for one in client.get_target_languages()}
    assert list(found) == ["DE", "EN-GB", "EN-US", "FR", "KO"]
    assert found["DE"].name == "German"
    assert found["DE"].supports_formality is False
    pairs = {(one.source_lang, one.target_lang) for one in client.get_glossary_languages()}
    assert ("en", "de") in pairs
    assert len(pairs) == 12


def test_usage_counts_characters_of_the_tenant(front: Any, client: deepl.DeepLClient) -> None:
    def count(name: str) -> int:
        used = client_of(front, name).get_usage().character.count
        assert used is not None
        return used

    before, others = count("all"), count("stranger")
    client.translate_text(["Monday", "May"], source_lang="EN", target_lang="DE")
    assert (count("all") - before, count("stranger") - others) == (9, 0)


def test_keys(front: Any) -> None:
    wrong = deepl.DeepLClient("hub_wrong", server_url=f"http://{front[0].application.ports.http}")
    with pytest.raises(deepl.AuthorizationException):
        wrong.get_usage()
    with pytest.raises(deepl.AuthorizationException, match="scope 'admin'"):
        client_of(front, "reader").create_glossary("a", "EN", "DE", {"a": "b"})


def test_glossaries_of_one_pair(front: Any, client: deepl.DeepLClient) -> None:
    entries = {"Monday": "Montag", "A%=&": "B&=%", "Δぁ": "深"}
    made = client.create_glossary("Alles, was zählt", "EN", "DE", entries)
    assert (made.name, made.entry_count, made.ready) == ("Alles, was zählt", 3, True)
    assert client.get_glossary_entries(made) == entries
    assert client.get_glossary(made.glossary_id).creation_time == made.creation_time
    assert made.glossary_id in {one.glossary_id for one in client.list_glossaries()}
    asked = {"source_lang": "EN", "target_lang": "DE"}
    plain = client.translate_text("Monday", **asked).text
    told = client.translate_text("Monday", glossary=made, **asked).text
    assert "Montag" not in plain
    assert "Montag" in told
    name = f"deepl-{made.glossary_id}-en-de"
    assert ours(front, "Monday", handling=Handling(glossary=name)) == told
    client.delete_glossary(made)
    with pytest.raises(deepl.GlossaryNotFoundException):
        client.get_glossary(made.glossary_id)
    with pytest.raises(deepl.GlossaryNotFoundException):
        client.delete_glossary(NOWHERE)


def test_our_own_glossaries_have_their_names_for_ids(front: Any, client: deepl.DeepLClient) -> None:
    from hub.languages import LanguagePair

    store = front[0].application.core.glossaries
    store.put("legal", LanguagePair.parse("en-de"), [Term("May", ("Mai",))])
    asked = {"source_lang": "EN", "target_lang": "DE"}
    assert "Mai" in client.translate_text("May", glossary="legal", **asked).text
    assert client.get_glossary("legal").entry_count == 1
    with pytest.raises(deepl.DeepLException, match="no dictionary for en-fr"):
        client.translate_text("May", source_lang="EN", target_lang="FR", glossary="legal")


def test_glossaries_of_several_pairs(client: deepl.DeepLClient) -> None:
    there, back = Dictionary("EN", "DE", {"May": "Mai"}), Dictionary("DE", "EN", {"Mai": "May"})
    made = client.create_multilingual_glossary("both", [there, back])
    assert [one.entry_count for one in made.dictionaries] == [1, 1]
    client.update_multilingual_glossary_dictionary(made, Dictionary("EN", "DE", {"June": "Juni"}))
    client.replace_multilingual_glossary_dictionary(
        made, Dictionary("DE", "EN", {"Juli": "July", "Juni": "June"})
    )
    told = client.get_multilingual_glossary_entries(made, "EN", "DE").dictionaries[0]
    assert told.entries == "May\tMai\nJune\tJuni"
    client.update_multilingual_glossary_name(made, "renamed")
    client.delete_multilingual_glossary_dictionary(made, source_lang="EN", target_lang="DE")
    left = client.get_multilingual_glossary(made.glossary_id)
    assert (left.name, [one.entry_count for one in left.dictionaries]) == ("renamed", [2])
    client.delete_multilingual_glossary(made)
    assert made.glossary_id not in {
        one.glossary_id for one in client.list_multilingual_glossaries()
    }


def test_a_glossary_is_its_makers_at_every_door(front: Any, client: deepl.DeepLClient) -> None:
    made = client.create_glossary("mine", "EN", "DE", {"Monday": "Mondtag"})
    ours = f"deepl-{made.glossary_id}-en-de"
    parent = "projects/p/locations/l"

    def asked(key: str, stub: Any, method: str, request: Any) -> Any:
        with HubClient(front[0].target, timeout=60, key=front[1][key]) as hub:
            return hub.ask(stub, method, request)

    get = pb.GetGlossaryRequest(glossary=ours)
    listed = google_pb.ListGlossaryEntriesRequest(parent=f"{parent}/glossaries/{ours}")
    doors = [
        (GlossaryServiceStub, "GetGlossary", get),
        (GoogleStub, "ListGlossaryEntries", listed),
    ]
    for stub, method, request in doors:
        assert "Mondtag" in str(asked("all", stub, method, request))
        with pytest.raises(GlossaryNotFoundError):
            asked("stranger", stub, method, request)
    names = asked("stranger", GlossaryServiceStub, "ListGlossaries", pb.ListGlossariesRequest())
    assert ours not in {one.name for one in names.glossaries}
    page = httpx.get(
        f"http://{front[0].application.ports.http}/api/page",
        headers={"authorization": f"Bearer {front[1]['stranger']}"},
    )
    assert page.status_code == 200
    assert ours not in page.text
    with (
        HubClient(front[0].target, timeout=60, key=front[1]["stranger"]) as hub,
        pytest.raises(GlossaryNotFoundError),
    ):
        hub.translate(["Monday"], "en", "de", handling=Handling(glossary=ours))
    put = pb.PutGlossaryRequest(name=ours, source_language_code="en", target_language_code="de")
    put.terms.add(source="Monday", targets=["X"])
    with pytest.raises(ScopeError, match="made them by DeepL's API"):
        asked("other admin", GlossaryServiceStub, "PutGlossary", put)
    with pytest.raises(deepl.DeepLException, match="Not found"):
        client_of(front, "other admin").get_glossary(made.glossary_id)
    client.delete_glossary(made.glossary_id)


def test_bad_entries_are_refused(front: Any) -> None:
    house, keys = front
    base = f"http://{house.application.ports.http}"
    headers = {"authorization": f"DeepL-Auth-Key {keys['all']}"}
    same = {"name": "n", "source_lang": "en", "target_lang": "de", "entries_format": "tsv"}
    for entries, message in (
        ("", "empty"),
        ("a\tb\na\tc", "twice"),
        ("a", "1 columns"),
        ("a\tb\x07", "control character"),
    ):
        sent = same | {"entries": entries}
        reply = httpx.post(f"{base}/v2/glossaries", json=sent, headers=headers)
        assert reply.status_code == 400
        assert message in reply.json()["message"]


def docx(*paragraphs: str) -> bytes:
    import docx as word

    document = word.Document()
    for text in paragraphs:
        document.add_paragraph(text)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def xlsx(value: str) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"] = value
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def translated(client: deepl.DeepLClient, name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    client.translate_document(data, made, source_lang="EN", target_lang="DE", filename=name)
    return made.getvalue()


def test_documents_of_text(front: Any, client: deepl.DeepLClient) -> None:
    days, may = ours(front, "in 3 days"), ours(front, "Monday")
    assert days != may
    assert translated(client, "a.txt", b"in 3 days\n\nMonday\n").decode() == f"{days}\n\n{may}\n"
    srt = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
    assert translated(client, "a.srt", srt.format("Monday").encode()).decode() == srt.format(may)
    page = translated(client, "a.html", b"<p>Monday</p>").decode()
    assert page == f"<p>{may}</p>"


def test_documents_of_office(front: Any, client: deepl.DeepLClient) -> None:
    import docx as word
    import openpyxl

    may = ours(front, "Monday")
    made = word.Document(io.BytesIO(translated(client, "a.docx", docx("Monday", "7"))))
    assert [one.text for one in made.paragraphs] == [may, "7"]
    book = openpyxl.load_workbook(io.BytesIO(translated(client, "a.xlsx", xlsx("Monday"))))
    assert book.active["A1"].value == may


def test_a_translation_that_exists_is_kept(front: Any, client: deepl.DeepLClient) -> None:
    po = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    po += 'msgid "May"\nmsgstr "Wonnemonat"\n\nmsgid "Monday"\nmsgstr ""\n'
    made = translated(client, "a.po", po.encode()).decode()
    assert 'msgstr "Wonnemonat"' in made
    assert f'msgid "Monday"\nmsgstr "{ours(front, "Monday")}"' in made


def test_a_document_is_its_callers_and_is_fetched_once(
    front: Any, client: deepl.DeepLClient
) -> None:
    upload = {"source_lang": "EN", "target_lang": "DE", "filename": "a.txt"}
    handle = client.translate_document_upload("Monday", **upload)
    stranger = client_of(front, "stranger")
    with pytest.raises(deepl.DeepLException, match="Not found"):
        stranger.translate_document_get_status(handle)
    wrong = deepl.DocumentHandle(handle.document_id, "0" * 64)
    with pytest.raises(deepl.DeepLException, match="Not found"):
        client.translate_document_get_status(wrong)
    status = client.translate_document_wait_until_done(handle)
    assert status.billed_characters == len("Monday")
    made = io.BytesIO()
    client.translate_document_download(handle, made)
    assert made.getvalue().decode() == ours(front, "Monday")
    with pytest.raises(deepl.DeepLException, match="Not found"):
        client.translate_document_download(handle, io.BytesIO())


def test_a_document_in_the_target_language(client: deepl.DeepLClient) -> None:
    with pytest.raises(deepl.DocumentTranslationException, match="Source and target language"):
        client.translate_document(
            "Donnerstag, den fünften Oktober, um sechs Uhr",
            io.BytesIO(),
            target_lang="DE",
            filename="a.txt",
        )


def bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"\0" * (300 * 2**20))
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.exe", lambda: b"MZ", "file extension"),
        ("a.docx", lambda: b"PK\x03\x04", "Invalid file"),
        ("a.docx", bomb, "Invalid file"),
        (
            "a.xliff",
            lambda: b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><xliff>&e;</xliff>',
            "Invalid file",
        ),
        ("a.txt", lambda: b"x" * (2 * 2**20), "bytes"),
    ],
)
def test_hostile_documents(
    client: deepl.DeepLClient, name: str, data: Callable[[], bytes], message: str
) -> None:
    with pytest.raises(deepl.DeepLException, match=message):
        translated(client, name, data())


def test_a_document_is_never_shown_by_a_browser(front: Any, client: deepl.DeepLClient) -> None:
    house, keys = front
    upload = {"source_lang": "EN", "target_lang": "DE", "filename": "a.html"}
    handle = client.translate_document_upload("<script>alert(1)</script>May", **upload)
    client.translate_document_wait_until_done(handle)
    url = f"http://{house.application.ports.http}/v2/document/{handle.document_id}/result"
    key = {"authorization": f"DeepL-Auth-Key {keys['all']}"}
    asked = {"document_key": handle.document_key}
    looked = httpx.head(url, params=asked, headers=key)
    assert (looked.status_code, looked.content) == (200, b"")  # and it is still there
    reply = httpx.post(url, data=asked, headers=key)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["content-disposition"].startswith("attachment")
    assert reply.headers["x-content-type-options"] == "nosniff"
