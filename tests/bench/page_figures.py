"""Measures the page in Chromium: bytes, layout shift, and how soon the first words are there.

    hub serve --http-port 8080 &
    python tests/bench/page_figures.py http://127.0.0.1:8080/

"From the request" begins where the browser starts its fetch; "from the key" where the last
character was typed, the page's pause included. Both end when a sentence is in the document, in the
frame that is painted next.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

TEXTS: Final = (
    "Wednesday, May 5, 2027", "in 3 weeks", "12 kilometers per hour", "5 days ago",
    "Monday, June 1, 2026", "40 minutes ago", "2 hours ago", "Friday, March 12, 2027",
    "7 square meters", "in 10 minutes", "Sunday, August 9, 2026",
)  # fmt: skip
GIVEN_UP_MS: Final = 15_000
SHIFTS: Final = """window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((one) => window.shifts.push(one.value)))
  .observe({type: "layout-shift", buffered: true});
const send = window.fetch;
window.fetch = (...asked) => {
  if (asked[0] === "/api/translate") window.sent = performance.now();
  return send(...asked);
};"""
WATCH: Final = """() => new Promise((told) => {
  const source = document.getElementById("source");
  source.addEventListener("input", () => { window.keyed = performance.now(); }, {once: true});
  const seen = new MutationObserver(() => {
    if (!document.querySelector(".column .sentence")?.textContent) return;
    seen.disconnect();
    const now = performance.now();
    told([now - window.sent, now - window.keyed]);
  });
  seen.observe(document.getElementById("columns"), {childList: true, subtree: true});
  setTimeout(() => told(null), GIVEN_UP);
})"""


def visit(browser: Browser, url: str, size: tuple[int, int]) -> Page:
    """Open the page afresh."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    context.add_init_script(SHIFTS)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#to option", state="attached")
    page.wait_for_timeout(1000)
    return page


def transferred(browser: Browser, url: str) -> dict[str, int]:
    """Return bytes of all that a first visit fetches, as sent and unpacked."""
    page = browser.new_context().new_page()
    sizes, urls = {"sent": 0, "unpacked": 0, "requests": 0}, set()

    def note(request: Any) -> None:
        found = request.sizes()
        sizes["sent"] += found["responseBodySize"] + found["responseHeadersSize"]
        sizes["requests"] += 1
        urls.add(request.url)

    page.on("requestfinished", note)
    page.goto(url)
    page.wait_for_selector("#to option", state="attached")
    page.wait_for_timeout(1000)
    sizes["unpacked"] = sum(len(page.request.get(each).body()) for each in urls)
    return sizes


def shift(browser: Browser, url: str, size: tuple[int, int], target: str) -> float:
    """Return the sum of all layout shifts while loading, typing and translating."""
    page = visit(browser, url, size)
    page.select_option("#to", target)
    page.focus("#source")
    page.keyboard.type("in 3 weeks", delay=40)
    page.wait_for_selector(".sentence")
    page.wait_for_timeout(500)
    return float(sum(page.evaluate("window.shifts")))


def first_words(browser: Browser, url: str, target: str) -> list[list[float]]:
    """Return milliseconds from the request and from the key, for each text."""
    page = visit(browser, url, (1440, 900))
    page.select_option("#to", target)
    found = []
    for text in TEXTS:
        page.fill("#source", "")
        page.wait_for_timeout(300)
        watch = WATCH.replace("GIVEN_UP", str(GIVEN_UP_MS))
        handle = page.evaluate_handle(f"() => ({{ told: ({watch})() }})")
        page.keyboard.insert_text(text)
        found.append(handle.evaluate("(one) => one.told"))
    return [one for one in found if one is not None]


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure the page.")
    parser.add_argument("url")
    parser.add_argument("--target", default="ko")
    options = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        words = first_words(browser, options.url, options.target)
        figures = {
            "browser": browser.version,
            "load_average": os.getloadavg()[0],
            "bytes": transferred(browser, options.url),
            "layout_shift": {
                "1440x900": shift(browser, options.url, (1440, 900), options.target),
                "390x844": shift(browser, options.url, (390, 844), options.target),
            },
            "texts": len(words),
            "first_words_ms": {
                name: {
                    "median": round(statistics.median(one[place] for one in words), 1),
                    "best": round(min(one[place] for one in words), 1),
                    "worst": round(max(one[place] for one in words), 1),
                }
                for place, name in enumerate(("from_request", "from_key"))
            },
        }
        browser.close()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
