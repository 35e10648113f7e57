// The adapters view: what there is, how good it is, where it comes from, what it serves.

import { $, h, svg } from "./dom.js";
import { interval, metricName, residency } from "./choices.js";
import { bytes, day, languageName, number, percent, signed, t } from "./words.js";

const WIDTH = 176;
const HEIGHT = 24;
const NUMBERS = new Set(["size", "score"]);

/** Draw the table. */
export function showAdapters(page) {
  $("adapters-note").textContent = t("adaptersNote", { base: page.base.name, digest: page.base.digest.slice(0, 19), count: number(page.adapters.length) });
  const place = $("adapters-list");
  if (!page.adapters.length) {
    place.replaceChildren(h("p", { class: "fine" }, t("noAdapters")));
    return;
  }
  const wide = new Set([...place.querySelectorAll(".name[aria-expanded=true]")].map((one) => one.dataset.ref));
  const scale = scaleOf(page.adapters);
  const names = ["adapter", "pair", "method", "size", "score", "overBase", "memory", "serves"];
  place.replaceChildren(
    h("table", { class: "stack" },
      h("caption", { class: "hidden" }, t("adapters")),
      h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col", class: NUMBERS.has(name) ? "number" : null }, t(`col_${name}`))))),
      h("tbody", {}, ...page.adapters.flatMap((adapter) => rowsOf(page, adapter, scale, wide)))));
}

/** Return how a delta becomes a place: zero and every interval are in the picture. */
function scaleOf(adapters) {
  const ends = adapters.flatMap(({ score }) => (score?.low == null ? [] : [score.low, score.high, score.delta]));
  const low = Math.min(0, ...ends);
  const high = Math.max(0, ...ends);
  const span = high - low || 1;
  return (value) => 6 + ((value - low) / span) * (WIDTH - 12);
}

function rowsOf(page, adapter, scale, wide) {
  const detail = h("tr", { class: "detail", id: `of-${adapter.ref}` }, h("td", { colspan: "8" }, factsList(adapter)));
  const open = wide.has(adapter.ref);
  const name = h("button", { type: "button", class: "name", "aria-expanded": String(open), "aria-controls": detail.id, "data-ref": adapter.ref }, adapter.ref);
  const fine = (text) => h("div", { class: "fine" }, text);
  const cell = (label, ...content) => h("td", { "data-label": t(`col_${label}`), class: NUMBERS.has(label) ? "number" : null }, h("div", {}, ...content));
  const row = h("tr", {},
    h("td", {}, name, h("div", {}, ...adapter.aliases.map((alias) => h("span", { class: "tag alias" }, `@${alias}`)), adapter.domain ? h("span", { class: "tag" }, adapter.domain) : "")),
    cell("pair", `${languageName(adapter.source)} → ${languageName(adapter.target)}`),
    cell("method", adapter.method, adapter.size ? h("span", { class: "fine" }, ` ${number(adapter.size)}`) : ""),
    cell("size", percent(adapter.fraction, 2), adapter.budget ? fine(t("asked", { budget: percent(adapter.budget, 2) })) : ""),
    cell("score", adapter.score ? number(adapter.score.adapter, 1) : "–", adapter.score ? fine(metricName(adapter.score.metric)) : ""),
    cell("overBase", ...overBase(adapter.score, scale)),
    cell("memory", adapter.residency ? residency(adapter) : "–", adapter.residency?.running ? fine(t("runningNow", { count: number(adapter.residency.running) })) : ""),
    cell("serves", ...servesOf(page, adapter)));
  const show = (wanted) => {
    name.setAttribute("aria-expanded", String(wanted));
    row.classList.toggle("open", wanted);
    detail.hidden = !wanted;
  };
  name.addEventListener("click", () => show(name.getAttribute("aria-expanded") !== "true"));
  show(open);
  return [row, detail];
}

function overBase(score, scale) {
  if (!score) return ["–"];
  if (score.low === null) return [score.base === null ? "–" : signed(score.adapter - score.base)];
  const middle = HEIGHT / 2;
  const worse = score.better ? score.high < 0 : score.low > 0;
  return [
    svg("svg", { class: worse ? "interval worse" : "interval", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" },
      svg("line", { class: "zero", x1: scale(0), x2: scale(0), y1: 2, y2: HEIGHT - 2 }),
      svg("line", { class: "whisker", x1: scale(score.low), x2: scale(score.high), y1: middle, y2: middle }),
      svg("circle", { class: "point", cx: scale(score.delta), cy: middle, r: 4 })),
    h("span", { class: "fine" }, interval(score)),
  ];
}

function servesOf(page, adapter) {
  const routes = page.routes.filter((route) => route.adapter_version === adapter.ref);
  const served = routes.map((route) => h("div", {}, `${route.source} → ${route.target}${route.domain ? ` · ${route.domain}` : ""}`));
  const arms = (adapter.arms ?? []).map((arm) => h("div", {}, h("span", { class: "tag" }, t(arm.tried ? "canary" : "stable")), ` @${arm.alias} ${percent(arm.share)}`));
  return served.length + arms.length ? [...served, ...arms] : [h("span", { class: "fine" }, t("byName"))];
}

function factsList(adapter) {
  const lineage = adapter.lineage;
  const facts = [
    [t("digest"), adapter.digest],
    [t("published"), day(adapter.created)],
    [t("parameters"), `${number(adapter.parameters)} · ${bytes(adapter.bytes)}`],
    [t("madeFrom"), [lineage.corpus, lineage.items && t("items", { count: number(lineage.items) }), lineage.licence].filter(Boolean).join(" · ") || "–"],
    [t("recipe"), lineage.recipe ? `${lineage.recipe.slice(0, 19)} · ${t("seed", { seed: lineage.seed })}` : "–"],
    ...lineage.parents.map((parent) => [t("parent"), [parent.ref, parent.digest.slice(0, 19), parent.weight].filter(Boolean).join(" · ")]),
    ...(lineage.origin ? [[t("origin"), lineage.origin]] : []),
    ...scoresOf(adapter.scores),
  ];
  return h("dl", { class: "facts-list" }, ...facts.map(([name, ...values]) => h("div", {}, h("dt", {}, name), h("dd", {}, ...values))));
}

/** Return one fact for each metric: the base's value, the adapter's, and what makes them comparable. */
function scoresOf(scores) {
  const metrics = [...new Set(scores.map((score) => score.metric))];
  return metrics.map((metric) => {
    const own = scores.filter((score) => score.metric === metric);
    const value = (system) => own.find((score) => score.system === system);
    const [base, adapter] = [value("base"), value("adapter")];
    const values = [base && number(base.value, 2), adapter && number(adapter.value, 2)].filter(Boolean).join(" → ");
    return [metricName(metric), `${values} · ${t("items", { count: number(own[0].items) })}`, h("div", { class: "fine" }, own[0].signature)];
  });
}
