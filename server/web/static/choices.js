// What can be chosen: languages, and what translates a pair.

import { h } from "./dom.js";
import { languageName, number, pageLanguage, percent, signed, t } from "./words.js";

export const ROUTE = "";
export const BASE = "base";

/** Fill a select and keep its choice where it is still there. */
export function choose(select, options, value) {
  select.replaceChildren(...options.map(([key, label]) => h("option", { value: key }, label)));
  select.value = options.some(([key]) => key === value) ? value : (options[0]?.[0] ?? "");
}

/** Return [code, name] of languages, sorted by name in the page's language. */
export function languageOptions(codes) {
  const order = new Intl.Collator(pageLanguage());
  return codes.map((code) => [code, languageName(code)]).sort((one, other) => order.compare(one[1], other[1]));
}

/** Return the adapters of a pair; a source that is not known yet goes with every adapter. */
export function adaptersFor(page, source, target) {
  return page.adapters.filter(
    (adapter) => related(adapter.target, target) && (!source || related(adapter.source, source)),
  );
}

const related = (one, other) => one === other || one.split("-")[0] === other || one === other.split("-")[0];

/** Return [value, label] of what may translate a pair. */
export function adapterOptions(page, source, target) {
  const options = [
    [ROUTE, t("byRoute", { name: routeName(page, source, target) })],
    [BASE, t("baseAlone")],
  ];
  for (const adapter of adaptersFor(page, source, target)) {
    options.push([adapter.ref, [label(adapter), ...brief(adapter)].join(" · ")]);
  }
  return options;
}

function routeName(page, source, target) {
  const route = page.routes.find(
    (one) => !one.domain && one.target === target && (!source || one.source === source),
  );
  return route ? route.adapter : t("baseAlone");
}

const label = (adapter) => [adapter.ref, ...adapter.aliases.filter((alias) => alias !== "latest").map((alias) => `@${alias}`)].join(" ");

function brief(adapter) {
  const facts = [percent(adapter.fraction, 2)];
  if (adapter.score) facts.push(`${metricName(adapter.score.metric)} ${number(adapter.score.adapter, 1)}`);
  if (adapter.residency) facts.push(residency(adapter));
  return facts;
}

export const metricName = (metric) => ({ "chrf++": "chrF++", bleu: "BLEU", ter: "TER", comet: "COMET" })[metric] ?? metric;

/** Say where an adapter is. */
export function residency(adapter) {
  const found = adapter.residency;
  if (!found) return "";
  if (found.tier === "device") return t("inSlot", { slot: found.slot });
  return found.tier === "host" ? t("inMemory") : t("onDisk");
}

/** Return a delta with its interval, as "+12.1 [10.2, 14.0]". */
export const interval = (score) => `${signed(score.delta)} [${signed(score.low)}, ${signed(score.high)}]`;

/** Return the facts of what translates, as texts for one line. */
export function factsOf(page, value, made) {
  const adapter = page.adapters.find((one) => one.ref === (made || value));
  if (!adapter) return made === undefined && value === ROUTE ? [] : [page.base.name, page.base.quantization, page.base.device];
  const facts = [];
  if (value === ROUTE) facts.push(adapter.ref);
  facts.push(adapter.method, adapter.budget ? t("ofBudget", { share: percent(adapter.fraction, 2), budget: percent(adapter.budget, 2) }) : t("ofBase", { share: percent(adapter.fraction, 2) }));
  const score = adapter.score;
  if (score) {
    facts.push(`${metricName(score.metric)} ${number(score.adapter, 1)}${score.low === null ? "" : ` (${interval(score)})`}`);
  }
  if (adapter.residency) facts.push(residency(adapter));
  return facts;
}
