"""The page's parts without a server: its files, its catalogues, its arithmetic."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from babel import Locale

import server.web
from hub.errors import InputError
from server.http.bodies import Fields
from server.telemetry.steps import StepTrail
from server.web.canaries import arms_of
from server.web.events import Event
from server.web.files import StaticFiles
from server.web.live import quantile
from server.web.requests import AskedColumns, read
from server.web.translate_messages import IN_CLDR

STATIC = Path(server.web.__file__).parent / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
MAX_BYTES = 150_000


class Markup(HTMLParser):
    """Collects what a strict content policy forbids, and what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.messages: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        self.inline += [name for name in found if name == "style" or name.startswith("on")]
        self.links += [
            link for name in ("src", "href") if (link := found.get(name)) and link.startswith("/")
        ]
        self.ids += [one for name, one in attrs if name == "id" and one]
        self.messages += [one for name, one in attrs if name.startswith("data-t") and one]


@pytest.fixture(scope="module")
def index() -> Markup:
    markup = Markup()
    markup.feed((STATIC / "index.html").read_text())
    return markup


def messages(language: str) -> dict[str, str]:
    found = json.loads((STATIC / "messages" / f"{language}.json").read_text())["messages"]
    return dict(found)


def test_the_page_is_small() -> None:
    sizes = {path: len(file.body) for path, file in StaticFiles.read().files.items()}
    others = sum(size for path, size in sizes.items() if re.fullmatch(r"messages/..\.json", path))
    english = sizes["messages/en.json"]
    assert 50_000 < sum(sizes.values()) - others + english < MAX_BYTES


def test_nothing_of_the_page_is_inline(index: Markup) -> None:
    assert index.inline == []
    assert len(index.ids) == len(set(index.ids))


def test_every_file_that_is_named_exists_and_every_script_is_preloaded(index: Markup) -> None:
    files = StaticFiles.read().files
    named = [link.removeprefix("/static/") for link in index.links if link != "/"]
    assert set(named) <= set(files)
    imported = {
        one for script in SCRIPTS for one in re.findall(r'from "\./(\w+\.js)"', script.read_text())
    }
    assert imported <= set(named)
    assert {script.name for script in SCRIPTS} == imported | {"app.js", "theme.js"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda one: one.name)
def test_no_script_parses_markup(script: Path) -> None:
    """Texts, names and errors come from strangers; as text they can do nothing."""
    forbidden = (
        r"\b(innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|DOMParser|srcdoc|"
        r"eval|Function|setAttributeNS|document\.write|setHTMLUnsafe)\b|https?://(?!www\.w3\.org)"
    )
    assert re.findall(forbidden, script.read_text()) == []


def test_every_message_is_there_and_used(index: Markup) -> None:
    code = "\n".join(script.read_text() for script in SCRIPTS)
    known = set(messages("en"))
    named = set(re.findall(r'\bt\("(\w+)"', code)) | set(index.messages)
    assert named <= known
    built = ("fallback_", "warn_", "col_", "fig_", "th_", "sample_")  # t(`warn_${flag}`)
    quoted = set(re.findall(r'"(\w+)"', code)) | named
    assert {one for one in known - quoted if not one.startswith(built)} == set()


@pytest.mark.parametrize(
    "language", sorted(path.stem for path in (STATIC / "messages").glob("??.json"))
)
def test_a_translated_catalogue_says_what_cldr_says(language: str) -> None:
    english, own = messages("en"), messages(language)
    assert set(own) <= set(english)
    expected = {name: say(Locale.parse(language)) for name, say in IN_CLDR.items()}
    assert {name: own[name] for name in expected} == expected
    if language != "en":
        told = json.loads((STATIC / "messages" / f"{language}.json").read_text())
        assert sorted(told["hub"] + told["cldr"]) == sorted(own) == sorted(expected)
        assert "machine translation" in told["translated_by"]


def test_a_quantile_is_between_the_bounds_of_its_bucket() -> None:
    values = np.arange(0.5, 100)  # 100 values, evenly spread: interpolation is exact
    bounds = [10.0, 20.0, 50.0, 100.0, math.inf]
    counts = {bound: float((values <= bound).sum()) for bound in bounds}
    for share in (0.1, 0.5, 0.95):
        found = quantile(share, counts)
        assert found == pytest.approx(np.quantile(np.arange(101), share))
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {1.0: 0.0, math.inf: 0.0}) is None
    assert quantile(0.5, {1.0: 1.0, math.inf: 10.0}) == 1.0  # more cannot be said
    assert quantile(0.5, {-2.0: 0.0, -1.0: 2.0, 0.0: 2.0}) == -1.5


def test_steps_are_kept_while_somebody_watches() -> None:
    trail = StepTrail(kept=2)
    trail.note([("a", 1)], 0.1)
    assert trail.since(0) == []
    with trail.watched():
        for digest in ("", "a", "b"):
            trail.note([(digest, 2), ("a", 1)], 0.1)
        assert [dict(step.rows) for step in trail.since(0)] == [{"a": 3}, {"b": 2, "a": 1}]
        assert [step.number for step in trail.since(2)] == [3]
        with trail.watched():
            pass
        assert trail.since(0)
    assert trail.since(0) == []


def test_an_event_is_one_block_whatever_is_in_it() -> None:
    sent = Event("item", {"text": "a\n\nevent: end\ndata: {}\r\n</script>"}).encode().decode()
    assert sent.count("\n") == 3
    assert sent.endswith("\n\n")
    name, data = sent.strip().split("\n")
    assert name == "event: item"
    assert json.loads(data.removeprefix("data: "))["text"].startswith("a\n\nevent")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"text": "a", "target": "ko", "adapters": ["base"] * 5}, "adapters"),
        ({"text": "a", "target": "ko", "adapters": []}, "adapters"),
        ({"text": "a", "target": "ko", "adapters": ["base"], "beam": 3}, "beam"),
        ({"text": 1, "target": "ko", "adapters": ["base"]}, "text"),
        ({"text": "a", "target": "ko", "adapters": ["x" * 201]}, "adapters.0"),
        ({"text": "a", "target": "k", "adapters": ["base"], "keep": ["x"] * 101}, "keep"),
        ({"text": "a", "target": "k", "adapters": ["b"], "glossary": {"terms": [{}]}}, "glossary"),
    ],
)
def test_what_a_request_may_not_say_is_named(values: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        read(AskedColumns, Fields(MappingProxyType(values), from_json=True))
    assert caught.value.message.startswith(told)


def test_a_form_of_another_site_is_no_request() -> None:
    """A form needs no leave to be sent anywhere, JSON does (the browser asks first)."""
    values = {"text": "a", "target": "ko", "adapters": ["base"]}
    assert read(AskedColumns, Fields(values, from_json=True)).text == "a"
    with pytest.raises(InputError, match="application/json"):
        read(AskedColumns, Fields(values))


@dataclass(frozen=True)
class Tried:
    """As the registry has a canary."""

    name: str = "en-ko"
    alias: str = "prod"
    stable: int = 1
    canary: int = 2
    fraction: float = 0.25


@dataclass(frozen=True)
class Version:
    name: str
    version: int


def test_two_versions_share_an_alias() -> None:
    def arms(name: str, number: int) -> list[dict[str, object]]:
        return arms_of(Version(name, number), [Tried()])  # type: ignore[arg-type]

    assert arms("en-ko", 2) == [{"alias": "prod", "share": 0.25, "tried": True}]
    assert arms("en-ko", 1) == [{"alias": "prod", "share": 0.75, "tried": False}]
    assert arms("en-ko", 3) == arms("en-de", 1) == []
