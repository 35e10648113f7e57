"""Every error has a status of its own, and the tree is drawn as it is."""

from __future__ import annotations

import pickle
import re

import grpc
import pytest

from hub import errors
from hub.errors import HubError


def walk(root: type[HubError]) -> list[type[HubError]]:
    return [root, *(found for child in root.__subclasses__() for found in walk(child))]


# Only what the module defines: a test elsewhere may subclass for its own use.
ALL = [kind for kind in walk(HubError) if kind.__module__ == errors.__name__]
SYSEXITS = {*range(64, 79), 130}


def test_the_walk_finds_the_tree() -> None:
    assert len(ALL) > 30
    assert errors.TrainingDivergedError in ALL


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
class TestEveryError:
    def test_has_a_grpc_status_and_an_exit_code(self, kind: type[HubError]) -> None:
        assert kind.code in grpc.StatusCode.__members__
        assert kind.code != "OK"
        assert kind.exit_code in SYSEXITS

    def test_has_a_reason_of_its_own(self, kind: type[HubError]) -> None:
        assert "reason" in vars(kind)
        assert re.fullmatch(r"[A-Z][A-Z0-9_]{0,62}", kind.reason)

    def test_carries_message_field_and_metadata_through_pickle(self, kind: type[HubError]) -> None:
        error = kind("x is 3, at most 2; use less", field="a.b", metadata={"limit": "2"})
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (again.message, again.field, again.metadata) == (str(error), "a.b", {"limit": "2"})

    def test_is_drawn_in_the_module_docstring(self, kind: type[HubError]) -> None:
        assert errors.__doc__
        assert re.search(rf"\b{kind.__name__}\b", errors.__doc__)


def test_no_two_errors_share_a_reason() -> None:
    reasons = [kind.reason for kind in ALL]
    assert len(set(reasons)) == len(reasons)


def test_the_drawing_says_what_the_classes_say() -> None:
    assert errors.__doc__
    by_name = {kind.__name__: kind for kind in ALL}
    drawn = re.findall(r"^ *[│├└─ ]*(\w+Error)(?: +([A-Z_]+))?(?: +(\d+))?$", errors.__doc__, re.M)
    assert {name for name, _, _ in drawn} == set(by_name) - {"HubError"}
    for name, code, exit_code in drawn:
        assert code in ("", by_name[name].code)
        assert exit_code in ("", str(by_name[name].exit_code))


def test_the_drawing_shows_each_class_under_its_parent() -> None:
    assert errors.__doc__
    parent = ""
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│ ]*)[├└]── (\w+)", line)
        if not found:
            continue
        kind = getattr(errors, found[2])
        nested = bool(found[1])
        assert kind.__base__.__name__ == (parent if nested else "HubError")
        parent = parent if nested else found[2]
