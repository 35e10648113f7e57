"""The log: what a line says, what it never says, and that no text can forge one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import AdapterNotFoundError, EngineError
from server.messages import (
    Fallback,
    Flag,
    ItemResult,
    Timings,
    TranslateCommand,
    TranslateResult,
)
from server.telemetry.access import AccessLog, AccessPolicy
from server.telemetry.calls import note_command, note_error, note_result, note_tenant
from server.telemetry.logs import JsonFormatter, TextFormatter, configure_logging, fields

TEXT, OUTPUT = "zq9 source", "zq9 output"
COMMAND = TranslateCommand(
    (TEXT, "two"), "en", "ko", "en-ko@prod", tenant="acme", labels={"team": "docs", "x": "hidden"}
)
RESULT = TranslateResult(
    items=(
        ItemResult(
            OUTPUT,
            flags=(Flag.REPETITION,),
            timings=Timings(0.5, 0.25, 0.125),
            input_tokens=3,
            output_tokens=4,
            adapter_version="en-ko:3",
            adapter_digest="sha256:3",
        ),
        ItemResult(
            error=EngineError("no"),
            input_tokens=2,
            adapter_version="en-ko:2",
            adapter_digest="sha256:2",
            fallback=Fallback.OVERLOAD,
        ),
    ),
    source="en",
    target="ko",
    input_characters=13,
    stage_seconds={"route": 0.001, "tokenize": 0.002, "total": 0.9},
)


@pytest.fixture
def lines() -> Iterator[Any]:
    """Log as JSON into memory; call it for the lines so far."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_call_has_one_line_with_what_it_took(lines: Any) -> None:
    metadata = {
        "x-request-id": "r-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "authorization": "Bearer zq9secret",
    }
    with AccessLog().call("Service/Method", metadata):
        note_command(COMMAND)
        note_result(RESULT)
    (line,) = lines()
    assert datetime.fromisoformat(line["time"]).tzinfo is not None
    assert 0 <= line.pop("duration_ms") < 1000
    assert line.pop("time")
    assert line == {
        "level": "info",
        "logger": "adapterhub.access",
        "message": "request",
        "method": "Service/Method",
        "code": "OK",
        "request_id": "r-1",
        "traceparent": metadata["traceparent"],
        "tenant": "acme",
        "pair": "en-ko",
        "adapter_requested": "en-ko@prod",
        "items": 2,
        "characters": 13,
        "adapter": ["en-ko:3", "en-ko:2"],
        "adapter_digest": ["sha256:3", "sha256:2"],
        "items_failed": 1,
        "input_tokens": 5,
        "output_tokens": 4,
        "stages_ms": {"route": 1, "tokenize": 2, "queue": 500, "encode": 250, "decode": 125},
        "item_reasons": ["ENGINE_FAILED"],
        "fallbacks": ["overload"],
        "warnings": ["repetition"],
    }


def test_texts_and_labels_are_told_only_where_they_are_asked_for(lines: Any) -> None:
    log = AccessLog()
    for policy in (AccessPolicy(), AccessPolicy(texts=True, labels=("team", "absent"))):
        log.policy = policy
        with log.call("Service/Method", {"authorization": "Bearer zq9secret"}):
            note_command(COMMAND)
            note_result(RESULT)
    silent, open_ = lines()
    assert "zq9" not in json.dumps(silent)
    assert "labels" not in silent
    assert (open_["texts"], open_["translations"]) == ([TEXT, "two"], [OUTPUT, ""])
    assert open_["labels"] == {"team": "docs"}
    assert "zq9secret" not in json.dumps(open_)


def test_what_a_caller_wrote_is_cut_short(lines: Any) -> None:
    """A name may have as many characters as a message; a line of the log may not."""
    long, log = "x" * 10_000, AccessLog(AccessPolicy(labels=("team",)))
    with log.call("Service/Method", {}):
        note_command(
            replace(
                COMMAND, source=long, target=long, adapter=long, domain=long, labels={"team": long}
            )
        )
    (line,) = lines()
    assert len(json.dumps(line)) < 2000
    assert line["adapter_requested"] == "x" * 199 + "…"


def test_a_failed_call_names_the_reason_and_a_fault_of_ours_is_an_error(lines: Any) -> None:
    log = AccessLog()
    for error in (AdapterNotFoundError("no such zq9"), EngineError("incident 5")):
        with log.call("Service/Method", {}):
            note_tenant("acme")
            note_error(error)
    first, second = lines()
    assert (first["level"], first["code"]) == ("info", "NOT_FOUND")
    assert (first["reason"], first["tenant"]) == ("ADAPTER_NOT_FOUND", "acme")
    assert "zq9" not in json.dumps(first)
    assert (second["level"], second["code"]) == ("error", "INTERNAL")


def test_a_higher_level_leaves_calls_out(lines: Any) -> None:
    logging.getLogger().setLevel("WARNING")
    log = AccessLog()
    with log.call("Service/Method", {}):
        note_command(COMMAND)
    with log.call("Service/Method", {}):
        note_error(EngineError("incident 5"))
    (line,) = lines()
    assert line["code"] == "INTERNAL"


def test_probes_of_the_health_service_are_not_logged(lines: Any) -> None:
    with AccessLog().call("grpc.health.v1.Health/Check", {}):
        pass
    assert lines() == []


def test_lines_of_a_call_carry_its_id_and_others_do_not(lines: Any) -> None:
    import contextvars

    def serve() -> None:
        with AccessLog().call("Service/Method", {"x-request-id": "r-7"}):
            logging.getLogger("adapterhub.server").error("incident %s", "abc")

    contextvars.copy_context().run(serve)
    logging.getLogger("adapterhub.server").info("alone", extra=fields(event="ready"))
    inside, call, alone = lines()
    assert inside["request_id"] == call["request_id"] == "r-7"
    assert alone["event"] == "ready"
    assert "request_id" not in alone


@pytest.mark.parametrize("bad", ["", "two words", "a\nb", "x" * 129, "é"])
def test_an_id_that_could_forge_a_line_is_replaced(lines: Any, bad: str) -> None:
    with AccessLog().call("Service/Method", {"x-request-id": bad, "traceparent": "00-zz-1-01"}):
        pass
    (line,) = lines()
    assert line["request_id"] != bad
    assert len(line["request_id"]) == 16
    assert "traceparent" not in line


def test_an_exception_is_in_its_line(lines: Any) -> None:
    try:
        raise ValueError("deep")
    except ValueError:
        logging.getLogger("adapterhub.server").exception("it failed")
    (line,) = lines()
    assert line["exception"].endswith("ValueError: deep")


@given(st.text(), st.text())
def test_whatever_the_texts_a_record_is_one_line(message: str, value: str) -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s", (message,), None)
    record.__dict__.update(fields(value=value, more=[value]))
    line = JsonFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["value"] == value
    assert json.loads(line)["message"] == message
    told = TextFormatter().format(record)
    assert "\x1b" not in told
    assert "\r" not in told


def test_for_people_values_with_blanks_are_quoted() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "request", (), None)
    record.__dict__.update(fields(code="OK", text="a b", empty="", n=3, forged="x code=NO"))
    line = TextFormatter().format(record)
    assert line.endswith('INFO request code=OK text="a b" empty="" n=3 forged="x code=NO"')
