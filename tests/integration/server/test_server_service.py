"""Long texts, streams, routes and detection, through a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from hub import cli
from hub.client import Decoding, Handling, ItemReply, Routing
from hub.errors import AdapterNotFoundError, InputError, LanguageError, NotFoundError
from hub.pb.adapterhub.v1 import adapter_service_pb2 as adapter_pb
from hub.pb.adapterhub.v1 import adapter_service_pb2_grpc as adapter_grpc
from hub.pb.adapterhub.v1 import glossary_service_pb2 as glossary_pb
from hub.pb.adapterhub.v1 import glossary_service_pb2_grpc as glossary_grpc
from hub.pb.adapterhub.v1 import translation_service_pb2 as pb
from hub.pb.adapterhub.v1 import translation_service_pb2_grpc as pb_grpc

SHORT = Decoding(max_output_tokens=6)
LONG = "One day.\r\n\r\n  Two nights!  Three years?\n- four\n\n* five\n"
PIECES = ["One day.", "Two nights!", "Three years?", "four", "five"]


@pytest.fixture(scope="module")
def routed(open_house: Callable[..., Iterator[Any]]) -> Iterator[Any]:
    """A server of its own, whose registry has aliases."""
    yield from open_house(max_source_tokens=24)


def test_sentences_are_rows_and_blanks_are_the_sources(house: Any) -> None:
    alone = house.client.translate(PIECES, "en", "ko", decoding=SHORT).texts
    (item,) = house.client.translate([LONG], "en", "ko", decoding=SHORT).items
    one, two, three, four, five = alone
    assert item.text == f"{one}\r\n\r\n  {two}  {three}\n- {four}\n\n* {five}\n"
    assert item.segments == 5
    assert item.timings.batch_rows >= 5


def test_other_ways_to_split(house: Any) -> None:
    def segments(split: Any) -> int:
        handling = Handling(split=split)
        (item,) = house.client.translate(
            [LONG], "en", "ko", decoding=SHORT, handling=handling
        ).items
        return int(item.segments)

    assert [segments(split) for split in ("sentences", "lines", "off")] == [5, 4, 1]


def test_a_stream_sends_each_sentence_in_order_and_then_the_item(house: Any) -> None:
    *sentences, item = house.client.stream(LONG, "en", "ko", decoding=SHORT)
    (whole,) = house.client.translate([LONG], "en", "ko", decoding=SHORT).items
    assert isinstance(item, ItemReply)
    assert len(sentences) == 5
    assert "".join(sentences) == item.text == whole.text


def test_the_parts_of_a_stream_name_their_place_in_the_source(house: Any) -> None:
    contents = [LONG, "", "Monday"]
    request = pb.TranslateTextRequest(
        contents=contents,
        source_language_code="en",
        target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=6),
    )
    with grpc.insecure_channel(house.target) as channel:
        parts = list(pb_grpc.TranslationServiceStub(channel).StreamTranslateText(request))
    assert parts[-1].WhichOneof("part") == "summary"
    assert parts[-1].summary.usage.input_characters == len(LONG) + 6
    ends = {part.content_index: part.translation for part in parts if part.HasField("translation")}
    assert set(ends) == {0, 1, 2}
    assert ends[1].status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    segments = [p.segment for p in parts if p.HasField("segment") and p.content_index == 0]
    assert [one.index for one in segments] == [0, 1, 2, 3, 4]
    assert [LONG[one.source_start : one.source_end] for one in segments] == PIECES


def test_a_stream_that_is_left_frees_its_rows(house: Any) -> None:
    text = "A sentence that takes its time. " * 60
    stream = house.client.stream(text, "en", "ko", decoding=Decoding(max_output_tokens=200))
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while house.metric("hub_requests_running") + house.metric("hub_requests_waiting"):
        assert time.monotonic() < deadline, "the rest of the stream was not withdrawn"
        time.sleep(0.02)


def test_an_error_of_a_stream_is_the_call_s(house: Any) -> None:
    with pytest.raises(LanguageError, match="xx"):
        list(house.client.stream("a", "en", "xx"))


def test_a_text_of_more_sentences_than_the_queue_holds(
    open_house: Callable[..., Iterator[Any]],
) -> None:
    for house in open_house(queue=8, max_batch_rows=4):
        text = "Go now. " * 40
        (item,) = house.client.translate([text], "en", "ko", decoding=SHORT).items
        assert item.error is None
        assert item.segments == 40


def test_a_long_sentence_is_split_with_a_warning_or_refused(routed: Any) -> None:
    text = "word " * 60
    (item,) = routed.client.translate([text], "en", "ko", decoding=SHORT).items
    assert item.segments > 1
    assert "SPLIT" in item.warnings
    strict = Handling(refuse_long=True)
    (refused,) = routed.client.translate([text], "en", "ko", decoding=SHORT, handling=strict).items
    assert "tokens; at most 24" in refused.error.message


def test_the_language_is_detected_item_by_item(house: Any) -> None:
    contents = ["안녕하세요 반갑습니다", "This is a sentence in English", "12:30"]
    reply = house.client.translate(contents, "", "de", decoding=SHORT)
    korean, english, none = reply.items
    assert (korean.detected[0], english.detected[0]) == ("ko", "en")
    assert korean.text == house.client.translate([contents[0]], "ko", "de", decoding=SHORT).texts[0]
    assert "language of the text cannot be told" in none.error.message
    assert reply.source == ""
    with pytest.raises(LanguageError, match="target_language_code is empty"):
        house.client.translate(contents, "", "")


def test_detect_language(house: Any) -> None:
    korean, nothing = house.client.detect(["안녕하세요", "…"])
    assert korean[0] == ("ko", 1.0)
    assert nothing == []
    with pytest.raises(InputError, match="contents is empty"):
        house.client.detect([])


def test_a_request_without_an_adapter_follows_the_alias(routed: Any) -> None:
    routed.publisher.lora("routed", seed=5)
    named = routed.client.translate(["Monday"], "en", "ko", adapter="routed", decoding=SHORT)
    base = routed.client.translate(["Monday"], "en", "ko", adapter="base", decoding=SHORT)
    assert named.texts != base.texts
    (before,) = routed.client.translate(["Monday"], "en", "ko", decoding=SHORT).items
    assert (before.text, before.fallback) == (base.texts[0], "NO_ADAPTER")
    with pytest.raises(AdapterNotFoundError, match="require_adapter"):
        routed.client.translate(
            ["Monday"], "en", "ko", routing=Routing(require_adapter=True), decoding=SHORT
        )
    routed.publisher.registry.set_alias("routed", "prod", 1, None)
    item = _until_routed(routed, "routed:1")
    assert (item.text, item.requested_adapter, item.fallback) == (named.texts[0], "routed@prod", "")
    (route,) = routed.client.routes()
    assert (route.adapter, route.adapter_version) == ("routed@prod", "routed:1")
    (related,) = routed.client.translate(["Monday"], "en-GB", "ko", decoding=SHORT).items
    assert (related.text, related.fallback) == (named.texts[0], "RELATED_LOCALE")


def _until_routed(house: Any, version: str) -> Any:
    """Ask until the server has seen the change of its registry; it has two seconds."""
    deadline = time.monotonic() + 30  # two seconds, on a machine that does nothing else
    while True:
        (item,) = house.client.translate(["Monday"], "en", "ko", decoding=SHORT).items
        if item.adapter_version == version:
            return item
        assert time.monotonic() < deadline, "the moved alias was not seen"
        time.sleep(0.05)


def test_a_number_that_is_no_choice_is_refused(house: Any) -> None:
    request = pb.TranslateTextRequest(
        contents=["a"], source_language_code="en", target_language_code="ko", split_sentences=9
    )
    with (
        grpc.insecure_channel(house.target) as channel,
        pytest.raises(grpc.RpcError, match="split_sentences 9"),
    ):
        pb_grpc.TranslationServiceStub(channel).TranslateText(request)


def test_the_routing_table_is_printed(routed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = routed.settings
    words = ["serve", "--registry", settings.registry, "--base", settings.base, "--print-routes"]
    assert cli.run(words) == 0
    told = capsys.readouterr()
    assert "no adapter of tiny has the alias 'prod'" in told.err or "shown@prod" not in told.out
    routed.publisher.lora("shown", pair="ko-en", seed=6)
    routed.publisher.registry.set_alias("shown", "prod", 1, None)
    assert cli.run(words) == 0
    assert "ko-en\tany\tshown@prod\tshown:1" in capsys.readouterr().out


def test_the_command_line_detects_and_asks_for_the_base(
    house: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", "--server", house.target, "--max-output-tokens", "6", "--json"]
    assert cli.run([*words, "--pair", "auto-de", "--adapter", "base", "안녕하세요"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["detected"] == ["ko", 1.0]
    assert (record["requested"], record["fallback"]) == ("base", "")
    assert cli.run([*words, "--pair", "en-de", "--split", "words", "a"]) == 64
    assert "use sentences, lines or off" in capsys.readouterr().err


BODY = (
    "<p class=x>Monday &amp; <b>euro</b>.<br>Second line, see "
    '<a href="http://a.b/c">here</a>.</p>\n'
)
SCRIPT = '<script>var a = "<b>";</script>'


def test_html_comes_back_with_every_tag(house: Any) -> None:
    handling = Handling(mime_type="text/html")
    page = BODY + SCRIPT
    (item,) = house.client.translate([page], "en", "ko", decoding=SHORT, handling=handling).items
    assert item.error is None
    assert item.text.endswith(SCRIPT)
    body = item.text.removesuffix(SCRIPT)
    tags = ("<p class=x>", "<b>", "</b>", "<br>", '<a href="http://a.b/c">', "</a>", "</p>\n")
    assert [body.count(tag) for tag in tags] == [1] * len(tags)
    assert "Monday" not in body
    *parts, end = house.client.stream(page, "en", "ko", decoding=SHORT, handling=handling)
    assert parts == []
    assert end.text == item.text


def test_html_without_text_is_left_alone(house: Any) -> None:
    handling = Handling(mime_type="text/html")
    empty = "<div><img src=a.png></div><!-- Monday -->"
    (item,) = house.client.translate([empty], "en", "ko", handling=handling).items
    assert (item.text, item.error, item.segments) == (empty, None, 0)


def test_placeholders_come_back_and_are_told_where_they_were_lost(house: Any) -> None:
    text = "Hello {name}, you have %d items. Write to a.b@c.org now."
    keep = Handling(keep=("Hello",))
    (item,) = house.client.translate([text], "en", "ko", decoding=SHORT, handling=keep).items
    for placeholder in ("{name}", "%d", "a.b@c.org", "Hello"):
        assert item.text.count(placeholder) == 1, item.text
    told = dict(item.details)
    if "PLACEHOLDER_MISMATCH" in item.warnings:
        assert set(told["PLACEHOLDER_MISMATCH"]) <= {"{name}", "%d", "a.b@c.org", "Hello"}
    *parts, end = house.client.stream(text, "en", "ko", decoding=SHORT, handling=keep)
    assert "".join(parts) == end.text == item.text


def test_the_parts_of_a_stream_are_places_of_the_text_as_it_was_sent(house: Any) -> None:
    text = "See https://example.org/some/long/path for more. Then {leave} it. Done."
    request = pb.TranslateTextRequest(
        contents=[text],
        source_language_code="en",
        target_language_code="ko",
        decoding=pb.DecodingOptions(max_output_tokens=6),
    )
    with grpc.insecure_channel(house.target) as channel:
        parts = list(pb_grpc.TranslationServiceStub(channel).StreamTranslateText(request))
    found = [part.segment for part in parts if part.HasField("segment")]
    assert [text[one.source_start : one.source_end] for one in found] == [
        "See https://example.org/some/long/path for more.",
        "Then {leave} it.",
        "Done.",
    ]


def test_tokens_come_with_their_scores(house: Any) -> None:
    handling = Handling(token_scores=True)
    (item,) = house.client.translate(
        ["Monday"], "en", "ko", decoding=SHORT, handling=handling
    ).items
    assert len(item.tokens) >= 1
    assert all(score <= 0 for _, score in item.tokens)
    (plain,) = house.client.translate(["Monday"], "en", "ko", decoding=SHORT).items
    assert plain.tokens == ()
    assert plain.text == item.text


def test_tags_are_no_part_of_the_language(house: Any) -> None:
    page = '<section class="container main"><p>안녕하세요</p></section>'
    handling = Handling(mime_type="text/html")
    (item,) = house.client.translate([page], "", "de", decoding=SHORT, handling=handling).items
    assert item.detected == ("ko", 1.0)


def translate_with(house: Any, text: str, **handling: Any) -> Any:
    return house.client.translate(
        [text], "en", "ko", decoding=Decoding(max_output_tokens=24), handling=Handling(**handling)
    ).items[0]


def test_terms_are_forced_or_checked(house: Any) -> None:
    terms = {"Monday": ["월요일", "월"], "euro": ["유로화"]}
    text = "Monday and euro. Nothing here."
    plain = translate_with(house, text)
    assert "유로화" not in plain.text
    checked = translate_with(house, text, terms=terms, check_terms=True)
    assert checked.text == plain.text
    assert "GLOSSARY_MISS" in checked.warnings
    assert "euro \u2192 유로화" in dict(checked.details)["GLOSSARY_MISS"]
    forced = translate_with(house, text, terms=terms)
    assert "GLOSSARY_MISS" not in forced.warnings
    assert "유로화" in forced.text
    assert "월요일" in forced.text or "월" in forced.text
    # What has no term is left alone.
    assert forced.text.endswith(plain.text[-8:])
    *_, end = house.client.stream(
        text, "en", "ko", decoding=Decoding(max_output_tokens=24), handling=Handling(terms=terms)
    )
    assert end.text == forced.text


def test_a_stored_glossary_is_used_and_refused_for_another_pair(house: Any) -> None:
    with grpc.insecure_channel(house.target) as channel:
        stub = glossary_grpc.GlossaryServiceStub(channel)
        put = glossary_pb.PutGlossaryRequest(
            name="money", source_language_code="en", target_language_code="ko"
        )
        put.terms.add(source="euro", targets=["유로화"])
        assert stub.PutGlossary(put).glossary.version == 1
        assert stub.PutGlossary(put).glossary.version == 1
        found = stub.GetGlossary(glossary_pb.GetGlossaryRequest(glossary="money:1")).glossary
        assert [(one.source, list(one.targets)) for one in found.terms] == [("euro", ["유로화"])]
        listed = stub.ListGlossaries(glossary_pb.ListGlossariesRequest()).glossaries
        assert ("money", 1, 1) in [(one.name, one.version, one.term_count) for one in listed]
        assert "유로화" in translate_with(house, "one euro", glossary="money").text
        with pytest.raises(InputError, match="money:1 is for en-ko, not en-de"):
            house.client.translate(["a"], "en", "de", handling=Handling(glossary="money"))
        with pytest.raises(NotFoundError, match="no glossary is named 'none'"):
            translate_with(house, "a", glossary="none")
        stub.DeleteGlossary(glossary_pb.DeleteGlossaryRequest(name="money"))
        with pytest.raises(grpc.RpcError, match="no glossary is named"):
            stub.GetGlossary(glossary_pb.GetGlossaryRequest(glossary="money"))


def test_an_alias_is_moved_over_the_wire_and_counts_at_once(routed: Any) -> None:
    for seed in (21, 22):
        routed.publisher.lora("wired", pair="en-de", seed=seed)
    with grpc.insecure_channel(routed.target) as channel:
        stub = adapter_grpc.AdapterServiceStub(channel)

        def move(version: int, expected: int) -> Any:
            return stub.SetAlias(
                adapter_pb.SetAliasRequest(
                    name="wired", alias="prod", version=version, expected_version=expected
                )
            )

        assert (move(1, 0).version, move(2, 1).generation) == (2 - 1, 2)
        (item,) = routed.client.translate(["Monday"], "en", "de", decoding=SHORT).items
        assert item.adapter_version == "wired:2"
        for version, expected, code in (
            (1, 1, grpc.StatusCode.ABORTED),
            (9, 2, grpc.StatusCode.NOT_FOUND),
            (0, 2, grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                move(version, expected)
            assert caught.value.code() is code
