"""What the server and its engine's process say to each other, there and back."""

from __future__ import annotations

import pickle
import subprocess
import sys

from hub.engine.requests import (
    DecodeRequest,
    DecodingOptions,
    Finished,
    Hypothesis,
    StepReport,
)
from hub.engine.shortlists import Shortlist
from hub.errors import NonFiniteRowError
from server.engine_process.wire import pack_report, pack_request, unpack_report, unpack_requests


def test_requests_come_back_as_they_were() -> None:
    listed = Shortlist([3, 1, 2])
    options = DecodingOptions(4, 7, 2, 0.5, 3, 2, 1.5, (9,), True, "never")
    whole = DecodeRequest(
        5, (1, 2), (3,), 2, options, True, True, (((4,), (5, 6)),), frozenset({8}), listed
    )
    plain = DecodeRequest(6, (7,))
    packed = pickle.dumps([pack_request(whole, 1), pack_request(plain, None)])
    assert unpack_requests(pickle.loads(packed), [Shortlist([0]), listed]) == [whole, plain]


def test_reports_come_back_as_they_were() -> None:
    error = NonFiniteRowError("row became NaN", field="f", metadata={"a": "b"})
    report = StepReport(
        finished=[
            Finished(
                1, (Hypothesis((1, 2), -1.5, -3.0, True, (0, 1), (-1.0, -2.0)),), None, 1.0, 2.0, 3
            ),
            Finished(2, (), error),
        ],
        rows=2, distinct_adapters=1, tokens=3, encoded=4, unencoded=5,
        encoder_tokens=6.5, encode_seconds=7.5, decode_seconds=8.5,
    )  # fmt: skip
    found = unpack_report(pickle.loads(pickle.dumps(pack_report(report))))
    told = found.finished[1].error
    assert isinstance(told, NonFiniteRowError)
    assert (told.message, told.field, dict(told.metadata)) == ("row became NaN", "f", {"a": "b"})
    assert found.finished[0] == report.finished[0]
    assert [getattr(found, name) for name in StepReport.__slots__ if name != "finished"] == [
        2, 1, 3, 4, 5, 6.5, 7.5, 8.5,
    ]  # fmt: skip


def test_a_shortlist_is_the_same_in_a_process_that_hashes_otherwise() -> None:
    program = (
        "import sys, pickle; from hub.engine.shortlists import Shortlist; "
        "found = pickle.loads(sys.stdin.buffer.read()); own = Shortlist([5, 9]); "
        "print(found == own, {found: 1}.get(own))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=pickle.dumps(Shortlist([9, 5])),
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert done.stdout.decode().split() == ["True", "1"]
