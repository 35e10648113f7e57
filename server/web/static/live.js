// The live view: what the server does now, as it counts it itself.

import { listen, Refusal } from "./api.js";
import { $, h, svg } from "./dom.js";
import { Loom } from "./loom.js";
import { bytes, milliseconds, number, percent, t } from "./words.js";

const KEPT = 60;
const FIGURES = [
  ["texts", (tick) => [number(tick.texts_per_second, 1), t("perSecond")]],
  ["tokens", (tick) => [number(tick.tokens_per_second), t("perSecond")]],
  ["p50", (tick) => (tick.p50 === null ? ["–", ""] : [milliseconds(tick.p50), ""])],
  ["p95", (tick) => (tick.p95 === null ? ["–", ""] : [milliseconds(tick.p95), ""])],
  ["rows", (tick) => [number(tick.rows, 1), t("rowsAStep")]],
  ["running", (tick) => [number(tick.running), ""]],
  ["waiting", (tick) => [number(tick.waiting), ""]],
];
const VALUE = { texts: "texts_per_second", tokens: "tokens_per_second", p50: "p50", p95: "p95", rows: "rows", running: "running", waiting: "waiting" };

export class Live {
  constructor() {
    this.loom = new Loom();
    this.ticks = [];
    this.listening = null;
  }

  /** Begin to watch. */
  async start() {
    this.build();
    if (this.listening) return;
    const listening = (this.listening = new AbortController());
    while (!listening.signal.aborted) {
      try {
        for await (const [event, data] of listen("/api/live", undefined, listening.signal)) {
          if (event === "tick") this.take(data);
        }
      } catch (error) {
        if (error.name === "AbortError") return;
        $("live-note").textContent = error instanceof Refusal ? error.message : t("unreachable");
        if (error instanceof Refusal && error.status < 500) return;
      }
      await new Promise((wake) => setTimeout(wake, 2000));
    }
  }

  stop() {
    this.listening?.abort();
    this.listening = null;
  }

  build() {
    this.values = {};
    this.lines = {};
    const figures = FIGURES.map(([name]) => {
      this.values[name] = h("dd", {}, "–");
      this.lines[name] = svg("path", { d: "" });
      return h("div", { class: "figure" }, h("dt", {}, t(`fig_${name}`)), this.values[name],
        svg("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }, this.lines[name]));
    });
    this.quality = h("tbody", {});
    this.memory = h("tbody", {});
    $("live-board").replaceChildren(
      h("dl", { class: "figures" }, ...figures),
      h("section", { class: "loom-block", "aria-labelledby": "loom-title" },
        h("h2", { id: "loom-title" }, t("loom")), h("p", { class: "fine", id: "loom-text" }, t("loomIdle")),
        h("canvas", { id: "loom", role: "img", "aria-labelledby": "loom-title loom-text" }), h("ul", { class: "threads", id: "threads" })),
      h("div", { class: "board" },
        this.table("qualityTitle", ["adapter", "texts", "confidence", "warnings"], this.quality),
        this.table("memoryTitle", ["adapter", "tier", "running", "bytes"], this.memory)));
    this.loom.take([]);
    this.draw();
  }

  table(title, names, body) {
    return h("section", {}, h("h2", {}, t(title)),
      h("table", {}, h("caption", { class: "hidden" }, t(title)),
        h("thead", {}, h("tr", {}, ...names.map((name, index) => h("th", { scope: "col", class: index ? "number" : null }, t(`th_${name}`))))), body));
  }

  take(tick) {
    $("live-note").textContent = t("liveNote", { seconds: number(tick.window) });
    this.ticks.push(tick);
    this.ticks.splice(0, this.ticks.length - KEPT);
    this.loom.take(tick.steps);
    this.draw();
  }

  draw() {
    const tick = this.ticks.at(-1);
    if (!tick) return;
    for (const [name, read] of FIGURES) {
      const [value, unit] = read(tick);
      this.values[name].replaceChildren(value, unit ? h("small", {}, unit) : "");
      this.lines[name].setAttribute("d", path(this.ticks.map((one) => one[VALUE[name]])));
    }
    this.quality.replaceChildren(...(tick.quality.length ? tick.quality.map((one) => row(nameOf(one), number(one.texts), one.confidence === null ? "–" : percent(one.confidence), number(one.warnings))) : [nothing(4)]));
    this.memory.replaceChildren(...(tick.memory.length ? tick.memory.map((one) => row(one.adapter, one.slot ? t("inSlot", { slot: number(one.slot) }) : t("inMemory"), number(one.running), bytes(one.bytes))) : [nothing(4)]));
  }
}

const nameOf = (one) => `${one.adapter === "base" ? t("baseAlone") : one.adapter} · ${one.pair}`;
const row = (name, ...cells) => h("tr", {}, h("th", { scope: "row" }, name), ...cells.map((cell) => h("td", { class: "number" }, cell)));
const nothing = (columns) => h("tr", {}, h("td", { colspan: String(columns), class: "fine" }, t("nothingYet")));

/** Return the line of values, the newest at the right. */
function path(values) {
  const known = values.map((value) => value ?? 0);
  const most = Math.max(...known, 1e-9);
  return known.map((value, index) => `${index ? "L" : "M"}${(100 - (known.length - 1 - index) * (100 / (KEPT - 1))).toFixed(1)} ${(26 - (value / most) * 24).toFixed(1)}`).join("");
}
