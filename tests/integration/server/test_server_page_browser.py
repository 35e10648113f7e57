"""The page in a real browser, against a real server with the embedded base and two adapters."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from hub.bases import open_base
from hub.feedback.location import feedback_url
from hub.feedback.store import FeedbackStore
from hub.keys import KeyFile
from hub.manifest import (
    AdapterManifest,
    BaseReference,
    ComparisonRecord,
    CorpusReference,
    ScoreRecord,
)
from hub.registry import Registry

from ...support.waiting import until

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.base", reason="axe-core is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    # Playwright's own event loop and pipes.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TEXT = "Wednesday, May 5, 2027\n\n12 kilometers per hour"
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
PATIENCE = 30_000
WIDE, PHONE = (1440, 900), (390, 844)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((one) => window.shifts.push(one.value)))
  .observe({type: "layout-shift", buffered: true});"""


def publish_lora(registry: Registry, scratch: Path, name: str, seed: int) -> Any:
    """Publish an adapter of the embedded base that changes what it says, and states scores."""
    base = open_base()
    architecture, chance = base.architecture, np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    for layer in range(architecture.decoder_layers):
        site = f"base_model.model.model.decoder.layers.{layer}.self_attn.v_proj"
        wide = architecture.d_model
        weights[f"{site}.lora_A.weight"] = chance.normal(0, 0.3, (4, wide)).astype(np.float32)
        weights[f"{site}.lora_B.weight"] = chance.normal(0, 0.3, (wide, 4)).astype(np.float32)
    folder = scratch / name
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA", "task_type": "SEQ_2_SEQ_LM", "r": 4, "lora_alpha": 4, "bias": "none",
        "target_modules": r".*decoder.*self_attn\.v_proj",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text(f"# {name}\n")
    save_file(weights, folder / "adapter_model.safetensors")
    manifest = AdapterManifest(
        pair="en-ko",
        method="lora",
        size=4,
        budget=0.01,
        trainable_parameters=sum(one.size for one in weights.values()),
        base=BaseReference(name=base.name, digest=base.digest, parameters=base.parameters),
        corpus=CorpusReference(
            name="none", fingerprint="none", licence="CC0-1.0", train=0, dev=0, test=0
        ),
        recipe_digest="sha256:" + f"{seed:064x}",
        seed=seed,
        scores=(
            ScoreRecord(metric="chrf++", system="base", value=48.6, signature="test", items=9),
            ScoreRecord(metric="chrf++", system="adapter", value=54.9, signature="test", items=9),
        ),
        comparisons=(
            ComparisonRecord(
                metric="chrf++", against="base", delta=6.3, low=3.8, high=8.7, p_value=0.001,
                p_worse=0.0, signature="a test",
            ),
        ),
    )  # fmt: skip
    (folder / "hub.json").write_text(manifest.to_json(), encoding="utf-8")
    return registry.publish(folder, name)


@pytest.fixture(scope="module")
def front(
    open_house: Callable[..., Iterator[Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    for house in open_house(base="embedded", http_port=0):
        registry, scratch = house.publisher.registry, tmp_path_factory.mktemp("page-adapters")
        for seed, name in enumerate(("one-lora", "two-lora"), 1):
            publish_lora(registry, scratch, name, seed)
        registry.set_alias("one-lora", "prod", 1, None)
        yield house


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """Opens pages of one server, and remembers what they complained about."""

    def __init__(self, chromium: Any, house: Any) -> None:
        self.complaints: list[str] = []
        self._chromium = chromium
        self._url = f"http://{house.application.ports.http}/"
        self._contexts: list[Any] = []

    def open(self, view: str = "", size: tuple[int, int] = WIDE, **options: Any) -> Any:
        context = self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, **options
        )
        context.set_default_timeout(PATIENCE)
        context.add_init_script(SHIFTS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.goto(self._url + view)
        return page

    def _listen(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def typed(self, text: str = TEXT, target: str = "ko", **options: Any) -> Any:
        page = self.open(**options)
        page.wait_for_selector("#to option", state="attached")
        page.select_option("#to", target)
        page.fill("#source", text)
        finished(page)
        return page

    def close(self) -> None:
        for context in self._contexts:
            for page in context.pages:
                page.unroute_all(behavior="ignoreErrors")  # a request may be on its way
            context.close()


@pytest.fixture
def visit(chromium: Any, front: Any) -> Iterator[Visit]:
    made = Visit(chromium, front)
    yield made
    made.close()
    assert made.complaints == []


def finished(page: Any, columns: int = 1) -> None:
    """Wait until every column has been translated."""
    page.wait_for_function(
        """(columns) => document.querySelectorAll(".column").length === columns &&
        [...document.querySelectorAll(".column .made")].every((one) => one.textContent)""",
        arg=columns,
    )


def compare(page: Any, columns: int) -> None:
    for number in range(2, columns + 1):
        page.click("#compare")
        finished(page, number)


def violations(page: Any) -> list[str]:
    page.evaluate(Path(axe.AXE_FILE_PATH).read_text())
    found = page.evaluate("(tags) => axe.run({runOnly: tags})", RULES)["violations"]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]


def test_what_is_typed_is_translated_as_the_other_door_translates_it(
    visit: Visit, front: Any
) -> None:
    page = visit.typed()
    said = page.inner_text(".result").strip()
    reply = front.client.translate([TEXT], "en", "ko").items[0]
    assert said == reply.text
    assert reply.adapter_version == "one-lora:1"
    assert "English" in page.inner_text("#detected")
    facts = page.inner_text(".facts")
    assert all(part in facts for part in ("one-lora:1", "(budget 1%)", "54.9", "+6.3 [+3.8, +8.7]"))
    page.reload()
    page.wait_for_selector("#to option", state="attached")
    assert page.input_value("#to") == "ko"  # remembered


def test_alternatives_are_those_of_the_version_that_translated(visit: Visit) -> None:
    """A route, or a canary behind it, may choose another version for one sentence alone."""
    page = visit.typed()
    assert page.input_value(".column select") == ""
    with page.expect_request("**/api/alternatives") as asked:
        page.click(".sentence")
    assert asked.value.post_data_json["adapter"] == "one-lora:1"


def test_an_earlier_request_is_withdrawn_on_the_server(visit: Visit, front: Any) -> None:
    labels = {"grpc_type": "unary", "grpc_service": "http.Page", "grpc_method": "Translate"}

    def cancelled() -> float:
        return float(front.metric("grpc_server_handled_total", **labels, grpc_code="CANCELLED"))

    page, before = visit.typed(), cancelled()
    long = "\n\n".join(f"{number} kilometers per hour" for number in range(1000))
    with page.expect_request("**/api/translate"):
        page.fill("#source", long)
    page.wait_for_selector(".sentence >> nth=2")
    page.fill("#source", "in 3 weeks")
    page.wait_for_function("() => document.querySelectorAll('.sentence').length === 1")
    finished(page)
    until(lambda: cancelled() >= before + 1)
    assert page.inner_text(".result").strip() == (
        front.client.translate(["in 3 weeks"], "en", "ko").items[0].text
    )


def test_columns_show_what_differs(visit: Visit) -> None:
    page = visit.typed()
    compare(page, 3)
    texts = page.locator(".column .result").all_inner_texts()
    assert len(set(texts)) == 3
    for number in range(3):
        column = page.locator(f".column >> nth={number}")
        assert column.locator("mark").count()
        plain = column.evaluate(
            """(column) => [...column.querySelectorAll(".sentence")].map((one) =>
            [...one.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data)
            .join("")).join("")"""
        )
        others = texts[:1] if number else texts[1:]
        assert all(set(plain) <= set(other) for other in others)  # what is not marked, all have
    options = page.locator(".column >> nth=1").locator("option").all_inner_texts()
    assert any("two-lora:1" in one and "chrF++ 54.9" in one for one in options)


def test_everything_works_by_keyboard(visit: Visit) -> None:
    page = visit.typed()
    page.keyboard.press("Alt+Shift+R")
    assert page.evaluate("document.activeElement.className").startswith("sentence")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.textContent") != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pop li button")
    page.wait_for_function("() => document.activeElement.closest('#pop li')")
    page.keyboard.press("Escape")
    assert page.is_hidden("#pop")
    assert page.evaluate("document.activeElement.textContent") == first
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.closest('#pop li')")
    wanted = page.evaluate("document.activeElement.firstChild.textContent")
    page.keyboard.press("Enter")  # takes the alternative
    assert page.inner_text(".sentence >> nth=0") == wanted
    page.keyboard.press("Alt+Shift+H")
    assert page.is_visible("#shortcuts")
    page.keyboard.press("Escape")
    assert page.is_hidden("#shortcuts")
    page.keyboard.press("Alt+Shift+2")
    page.wait_for_selector("#adapters table")


def test_the_tab_key_goes_round_and_never_sticks(visit: Visit) -> None:
    page = visit.typed()
    page.evaluate("document.activeElement.blur()")
    seen: list[str] = []
    describe = """() => { const one = document.activeElement;
      return one === document.body ? "" : one.id || one.className || one.textContent; }"""
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(describe))
        if seen.count(seen[0]) > 1:
            break
    assert seen.count(seen[0]) > 1, seen  # it came round
    for name in ("theme", "from", "swap", "to", "terms-toggle", "compare", "source", "clear"):
        assert name in seen
    assert sum(one.startswith("sentence") for one in seen) == 1  # arrows move inside
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_correction_reaches_the_store(visit: Visit, front: Any) -> None:
    page = visit.typed()
    page.keyboard.press("Alt+Shift+E")
    page.fill(".edit", "고친 글")
    with page.expect_response("**/api/feedback") as sent:
        page.get_by_role("button", name="Submit correction").click()
    assert sent.value.status == 200
    store = FeedbackStore(feedback_url(front.settings), create=False)
    (kept,) = store.edits(newest=1)
    store.close()
    assert (kept.edit.source, kept.edit.correction) == (TEXT, "고친 글")
    assert kept.edit.adapter == "one-lora:1"
    page.wait_for_selector(".made:has-text('Correction kept')")


def test_terms_and_selections(visit: Visit) -> None:
    page = visit.typed()
    page.click("#terms-toggle")
    fields = page.locator("#terms .term input")
    fields.nth(0).fill("Wednesday")
    fields.nth(1).fill("X1")
    page.wait_for_selector(".result:has-text('X1')")
    page.evaluate("document.getElementById('source').setSelectionRange(24, 37)")
    page.keyboard.press("Alt+Shift+K")
    page.wait_for_selector(".result:has-text('12 kilometers')")
    assert page.inner_text("#terms-count") == "2"


def test_strangers_texts_stay_texts(visit: Visit) -> None:
    page = visit.typed(f"5 {HOSTILE}")
    page.hover(".sentence >> nth=0")
    page.wait_for_selector("#pop li")

    def poison(route: Any) -> None:
        reply = route.fetch()
        told = json.loads(reply.text())
        for adapter in told["adapters"]:
            adapter.update(ref=HOSTILE, method=HOSTILE, domain=HOSTILE, aliases=[HOSTILE])
        for one in told["routes"]:
            one.update(adapter=HOSTILE, domain=HOSTILE, adapter_version=HOSTILE)
        route.fulfill(response=reply, body=json.dumps(told))

    def refuse(route: Any) -> None:
        route.fulfill(
            status=400,
            content_type="application/json",
            body=json.dumps({"error": {"reason": HOSTILE, "message": HOSTILE}}),
        )

    page.route(re.compile("/api/(page|adapters)"), poison)
    page.route("**/api/translate", refuse)
    page.evaluate("localStorage.setItem('from', '<b>')")
    page.reload()
    page.fill("#source", "Monday")
    page.wait_for_selector(".problem")
    assert page.inner_text(".problem") == HOSTILE
    page.keyboard.press("Alt+Shift+2")
    page.wait_for_selector("#adapters .name")
    assert page.inner_text("#adapters .name >> nth=0") == HOSTILE
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("script:not([src])").count() == 0


@pytest.mark.parametrize(
    ("size", "scheme"), [(WIDE, "light"), (WIDE, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
def test_it_is_accessible(visit: Visit, size: tuple[int, int], scheme: str) -> None:
    page = visit.typed(size=size, color_scheme=scheme)
    found = violations(page)
    compare(page, 2)
    page.click("#terms-toggle")
    found += violations(page)
    page.focus(".column >> nth=1 >> .sentence >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pop li")
    found += violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+Shift+H")
    found += violations(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+Shift+2")
    page.click("#adapters .name >> nth=0")
    found += violations(page)
    page.keyboard.press("Alt+Shift+3")
    page.wait_for_selector("#live-board tbody th")
    found += violations(page)
    assert found == []


def test_what_is_said_of_a_sentence_stays_with_it_and_leaves_with_it(visit: Visit) -> None:
    page = visit.typed("\n\n".join([TEXT] * 8), size=PHONE)
    page.focus(".sentence >> nth=2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#pop li button")
    gap = """() => document.getElementById("pop").getBoundingClientRect().top -
        document.querySelectorAll(".sentence")[2].getBoundingClientRect().top"""
    before = page.evaluate(gap)
    page.evaluate("scrollBy(0, 10)")
    page.wait_for_timeout(300)
    assert page.is_visible("#pop")
    assert page.evaluate(gap) == pytest.approx(before, abs=1)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.evaluate("scrollTo(0, 0)")
    page.evaluate("document.querySelectorAll('.sentence')[2].remove()")
    page.evaluate("scrollBy(0, 10)")
    page.wait_for_selector("#pop", state="hidden")


def test_nothing_moves_by_itself(visit: Visit) -> None:
    for size in (WIDE, PHONE):
        page = visit.open(size=size)
        page.wait_for_selector("#to option", state="attached")
        page.select_option("#to", "ko")
        page.wait_for_timeout(300)
        assert sum(page.evaluate("window.shifts")) == 0
        page.keyboard.type("in 3 weeks", delay=30)
        finished(page)
        page.wait_for_timeout(300)
        assert sum(page.evaluate("window.shifts")) == 0


def test_it_fits_a_phone(visit: Visit) -> None:
    page = visit.typed(size=PHONE, has_touch=True, is_mobile=True)
    compare(page, 2)
    for view in ("translate", "adapters", "live"):
        page.evaluate(f"location.hash = '{view}'")
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    page.evaluate("location.hash = 'translate'")
    page.tap(".sentence >> nth=0")
    page.wait_for_selector("#pop li")
    box = page.locator("#pop").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE[0]


def test_languages_of_the_page_and_their_direction(visit: Visit) -> None:
    page = visit.typed(target="ar")
    assert page.get_attribute(".result", "dir") == "rtl"
    assert page.get_attribute(".result", "lang") == "ar"
    assert page.evaluate("getComputedStyle(document.querySelector('.result')).direction") == "rtl"
    page.fill("#source", "")
    page.select_option("#page-language", "de")
    page.wait_for_function("() => document.querySelector('#translated-note').textContent")
    assert "by machine" in page.inner_text("#translated-note")
    assert page.locator(".sample").all_inner_texts()[0] == "Mittwoch, 5. Mai 2027"
    assert page.get_attribute(".sample >> nth=0", "lang") == "de"
    assert "Deutsch" in page.locator("#to option").all_inner_texts()
    assert page.get_attribute("html", "lang") == "en"  # what most of the page is in


def test_dark_mode_is_a_choice_that_lasts(visit: Visit) -> None:
    page = visit.open(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    dark = page.evaluate(colour)
    assert dark != light
    page.reload()
    assert page.evaluate(colour) == dark
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    assert visit.open(color_scheme="dark").evaluate(colour) == dark  # the system's, unasked


def test_live_steps_name_the_adapters_that_shared_them(visit: Visit) -> None:
    page = visit.typed()
    compare(page, 3)
    watching = visit.open("#live")
    watching.wait_for_function("() => document.querySelector('#live-note').textContent")
    page.fill("#source", TEXT + "\n\n" + TEXT)
    watching.wait_for_selector("#threads li")
    watching.wait_for_function("() => document.querySelectorAll('#threads li').length === 3")
    names = " ".join(watching.locator("#threads li").all_inner_texts())
    assert all(name in names for name in ("base model", "one-lora:1", "two-lora:1"))
    assert re.search(r"in [1-9]\d* of them", watching.inner_text("#loom-text"))


def test_a_key_is_asked_for_and_kept_in_the_tab(
    chromium: Any,
    open_house: Callable[..., Iterator[Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("page-keys") / "keys.json"
    file, _, key = KeyFile().added("team", ["translate", "feedback"])
    file.write(path)
    for house in open_house(http_port=0, keys=str(path), feedback_url="off"):
        visit = Visit(chromium, house)
        page = visit.open()
        page.wait_for_selector("#key-dialog[open]")
        assert violations(page) == []
        page.fill("#key", "hub_wrong")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#key-wrong').textContent")
        page.fill("#key", key)
        page.keyboard.press("Enter")
        page.wait_for_selector("#to option", state="attached")
        page.select_option("#to", "ko")
        page.fill("#source", "Monday")
        finished(page)
        assert page.get_by_role("button", name="Submit correction").count() == 0
        assert page.evaluate("sessionStorage.getItem('hub-key')") == key
        assert key not in page.evaluate("JSON.stringify(localStorage) + document.cookie")
        assert key not in page.url
        page.evaluate("location.hash = 'live'")
        page.wait_for_selector("#live-note:has-text('admin')")
        visit.close()
        assert visit.complaints == []
