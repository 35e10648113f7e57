"""Texts as people have them, through a real server: one form, one line, one failure each."""

from __future__ import annotations

import io
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hub import cli, console
from hub.client import Decoding, HubClient
from hub.demo.scrape import scrape
from hub.errors import HubError, TextError
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb

SHORT = Decoding(max_output_tokens=12)
AT_ONCE = 4


@pytest.fixture(scope="module")
def small(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A server that takes few texts and small messages."""
    yield from open_house(max_contents=AT_ONCE, max_message_bytes=4096)


@pytest.fixture
def hub(small: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `hub translate` with bytes on standard input; return code, lines and messages."""
    for build in (console.out, console.err):
        build.cache_clear()

    def run(*words: str, stdin: bytes = b"", pair: str = "en-ko") -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="ascii"))
        options = ["--server", small.target, "--pair", pair, "--max-output-tokens", "12"]
        code = cli.run(["translate", *options, *words])
        out, err = capfd.readouterr()
        assert out == "" or out.endswith("\n")
        return code, out.split("\n")[:-1], err

    yield run
    for build in (console.out, console.err):
        build.cache_clear()


def translate(house: Any, *contents: str, source: str = "en", target: str = "ko") -> Any:
    return house.client.translate(contents, source, target, decoding=SHORT)


def test_one_text_in_other_forms_is_the_same_text(small: Any) -> None:
    plain = "Monday caf\u00e9 5 km"
    forms = [
        "Monday cafe\u0301 5\u00a0km", "Monday\r\ncaf\u00e9\t5 km", " Monday caf\u00e9 5\u202fkm\n",
        "\ufeffMon\u00adday caf\u00e9\u200b5\u2003km\u200e",
    ]  # fmt: skip
    (expected,) = translate(small, plain).texts
    assert translate(small, "Monday cafe 5 km").texts != (expected,)
    assert translate(small, *forms).texts == (expected,) * len(forms)


def test_texts_of_invisible_characters_are_refused_one_by_one(small: Any) -> None:
    contents = ["\u200b", "Monday", "\ufeff\u00ad \u2060", "\u200e\u202a\u202c", "▁", "\u200d"]
    reply = translate(small, *contents)
    told = [item.error.message if item.error else "" for item in reply.items]
    assert [bool(message) for message in told] == [True, False, True, True, True, True]
    assert "it holds U+200B and no other characters" in told[0]
    fields = [item.error.field for item in reply.items if item.error]
    assert fields == [f"contents[{index}]" for index in (0, 2, 3, 4, 5)]


def test_more_texts_than_a_call_may_have_are_cut_into_calls(small: Any) -> None:
    contents = [f"Monday {index}" for index in range(30)]
    one_by_one = [translate(small, text) for text in contents]
    with HubClient(small.target, timeout=60) as client:
        before = small.metric("hub_rejected_total", reason="INVALID_INPUT")
        reply = client.translate(contents, "en", "ko", decoding=SHORT)
        again = client.translate(contents, "en", "ko", decoding=SHORT)
        assert small.metric("hub_rejected_total", reason="INVALID_INPUT") == before + 1
    assert reply.texts == again.texts == tuple(one.texts[0] for one in one_by_one)
    assert len(set(reply.texts)) > AT_ONCE
    assert reply.input_characters == sum(map(len, contents))
    assert reply.input_tokens == sum(one.input_tokens for one in one_by_one)
    assert (reply.source, reply.target) == ("en", "ko")


def test_a_bad_text_among_many_costs_itself_alone(small: Any) -> None:
    contents = ["Monday", "a\ud800b", "", "euro", "x" * 5000, "Seoul", "\udcff", "Friday"]
    reply = translate(small, *contents)
    bad = {index: item.error for index, item in enumerate(reply.items) if item.error}
    assert sorted(bad) == [1, 2, 4, 6]
    assert all(type(error) is TextError for error in bad.values())
    assert [error.field for error in bad.values()] == [f"contents[{index}]" for index in bad]
    assert "text 1 has a lone surrogate at character 1" in bad[1].message
    assert "5000 bytes; a message may have 4096" in bad[4].message
    good = [text for index, text in enumerate(contents) if index not in bad]
    alone = translate(small, *good)
    assert [item.text for item in reply.items if not item.error] == list(alone.texts)
    with pytest.raises(TextError, match="text 1 "):
        _ = reply.texts


def test_texts_that_are_together_too_large_are_cut_into_calls(small: Any) -> None:
    contents = [f"{index} " + "\u200b" * 500 for index in range(AT_ONCE)]
    assert sum(len(text.encode()) for text in contents) > 4096
    plain = translate(small, *(str(index) for index in range(AT_ONCE)))
    assert translate(small, *contents).texts == plain.texts


def test_one_line_out_for_each_line_in(hub: Any, small: Any) -> None:
    data = b"Monday\nTuesday\rWednesday\r\nThursday\xe2\x80\xa8Friday\n\ncaf\xe9\na\x0bb\nSeoul"
    code, lines, err = hub(stdin=data)
    expected = translate(small, "Monday", "Tuesday Wednesday", "Thursday Friday").texts
    expected += ("", "", *translate(small, "a b", "Seoul").texts)
    assert lines == list(expected)
    assert code == 64
    assert "line 4 (''): text is empty or blank" in err
    assert r"line 5 ('caf\xe9'): byte 0xe9 at position 3 is not UTF-8" in err
    assert "bug" not in err


def test_lines_that_are_bad_alone_make_no_call(hub: Any) -> None:
    code, lines, err = hub(stdin=b"\xff\n\xfe\n")
    assert (code, lines) == (64, ["", ""])
    assert "line 2" in err
    code, lines, err = hub("--json", stdin=b"\xff\nMonday\n")
    records = [json.loads(line) for line in lines]
    assert [("error" in record, record["source"]) for record in records] == [
        (True, r"\xff"),
        (False, "Monday"),
    ]


def test_many_lines_keep_their_order(hub: Any, small: Any) -> None:
    contents = [f"Monday {index}" for index in range(70)]  # more than one call of the command, too
    code, lines, _ = hub(stdin="\n".join(contents).encode())
    assert code == 0
    assert lines == [translate(small, text).texts[0] for text in contents]


def test_words_that_are_not_utf8_fail_alone(hub: Any, small: Any) -> None:
    code, lines, err = hub("Monday", "a\udce9", "Seoul")
    assert lines == [translate(small, "Monday").texts[0], "", translate(small, "Seoul").texts[0]]
    assert code == 64
    assert "byte 0xe9 at position 1" in err


@pytest.mark.parametrize("pair", ["en_GB-ko", "en_AU-ko_KP", "eng_Latn-kor"])
def test_a_variety_is_served_as_its_language(hub: Any, small: Any, pair: str) -> None:
    code, lines, err = hub("Monday", pair=pair)
    assert (code, lines) == (0, list(translate(small, "Monday").texts))
    assert ("is served as 'en'" in err) == pair.startswith("en_")


def test_an_adapter_serves_varieties_of_its_pair_but_not_the_other_way(
    hub: Any, small: Any
) -> None:
    small.publisher.lora("plain", seed=61)
    small.publisher.lora("british", pair="en_GB-ko", seed=62)
    _, expected, _ = hub("--adapter", "plain", "Monday")
    assert hub("--adapter", "plain", "Monday", pair="en_GB-ko")[:2] == (0, expected)
    assert expected != hub("--adapter", "british", "Monday", pair="en_GB-ko")[1]
    code, lines, err = hub("--adapter", "british", "Monday")
    assert (code, lines) == (65, [])
    assert "british:1 translates en_GB-ko, not en-ko; ask for en_GB-ko" in err


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("dead_proxy")
def test_loopback_is_reached_past_a_proxy(small: Any) -> None:
    port = small.target.rpartition(":")[2]
    method = "/adapterhub.v1.TranslationService/TranslateText"
    own = [("grpc.use_local_subchannel_pool", 1)]  # share no connection with other tests
    with grpc.insecure_channel(small.target, options=own) as raw:
        call = raw.unary_unary(method, lambda data: data, lambda data: data)
        with pytest.raises(grpc.RpcError) as caught:  # what a client does that knows no better
            call(b"", timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    for target in (f"127.0.0.1:{port}", f"localhost:{port}"):
        with HubClient(target, timeout=20) as client:
            assert client.translate(["Monday"], "en", "ko", decoding=SHORT).texts
    assert scrape(small.application.ports.metrics).total("hub_base_info") == 1


@pytest.mark.usefixtures("dead_proxy")
def test_other_addresses_honour_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as pool:
        proxy.settimeout(20)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, address)

        def refuse() -> bytes:
            connection, _ = proxy.accept()
            with connection:
                asked = connection.recv(4096)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return asked

        asked = pool.submit(refuse)
        with HubClient("192.0.2.1:50051", timeout=20) as client, pytest.raises(HubError):
            client.translate(["a"], "en", "ko")
        assert asked.result(20).startswith(b"CONNECT 192.0.2.1:50051 ")


@pytest.fixture(scope="module")
def unspelling(
    tiny_base: Any, open_house: Callable[..., Iterator[Any]], tmp_path_factory: Any
) -> Iterator[Any]:
    """A server whose base has no bytes to spell with, and says its unknown token only."""
    folder = tmp_path_factory.mktemp("unspelling") / "base"
    shutil.copytree(tiny_base.folder, folder)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    renamed = {
        f"unused{index}" if token.startswith("<0x") else token: index
        for token, index in vocabulary.items()
    }
    (folder / "vocab.json").write_text(json.dumps(renamed))
    weights = load_file(folder / "model.safetensors")
    width = weights["model.decoder.layer_norm.bias"].shape[0]
    weights["model.decoder.layer_norm.weight"] = np.zeros(width, np.float32)
    weights["model.decoder.layer_norm.bias"] = np.ones(width, np.float32)
    table = weights["model.shared.weight"].copy()
    table[vocabulary["<unk>"]] = 5.0
    save_file(weights | {"model.shared.weight": table}, folder / "model.safetensors")
    yield from open_house(base=str(folder))


def test_what_the_vocabulary_lacks_is_warned_of_and_named(unspelling: Any) -> None:
    reply = translate(unspelling, "Monday 鬱 and 龘鬱", "Monday")
    with_some, without = reply.items
    assert "UNKNOWN_CHARACTERS" in with_some.warnings
    assert with_some.unknown_characters == ("鬱", "龘")
    assert "UNKNOWN_CHARACTERS" not in without.warnings
    assert without.unknown_characters == ()


def test_an_unknown_token_in_the_output_is_left_out_and_warned_of(unspelling: Any) -> None:
    item = translate(unspelling, "Monday").items[0]
    assert item.error is None
    assert "UNKNOWN_TOKEN" in item.warnings
    assert item.text == ""
    beams = Decoding(beam_size=2, max_output_tokens=3)
    reply = unspelling.client.translate(["Monday"], "en", "ko", decoding=beams, num_alternatives=1)
    assert "⁇" not in reply.items[0].text + reply.items[0].alternatives[0].text


def test_a_vocabulary_with_bytes_spells_everything(small: Any) -> None:
    item = translate(small, "Monday 鬱 龘").items[0]
    assert item.unknown_characters == ()
    assert "UNKNOWN_CHARACTERS" not in item.warnings


def test_a_warning_of_a_newer_server_is_no_error() -> None:
    from hub.replies import translate_reply

    made = pb.Translation(warnings=[1, 99])
    reply = translate_reply(pb.TranslateTextResponse(translations=[made]))
    assert reply.items[0].warnings == ("TRUNCATED", "99")
