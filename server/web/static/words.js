// What the page says: its message catalogue, and what Intl knows of a language.

import { store } from "./dom.js";

const RTL = new Set(["ar", "arc", "ckb", "dv", "fa", "he", "ks", "ps", "sd", "ug", "ur", "yi"]);
const CHARACTERS = new Set(["zh", "ja", "ko", "th", "lo", "km", "my", "yue", "bo"]);

let english = {};
let own = {};
let language = "en";

/** Load the messages of a language over the English ones. */
export async function speak(code) {
  const [first, second] = await Promise.all([catalogue("en"), code === "en" ? {} : catalogue(code)]);
  english = first.messages;
  own = second.messages ?? {};
  language = code;
  store(() => localStorage, "page-language", code);
  // A page that is mostly in English says so; what is in the other language is marked, see `mark`.
  const mostly = 2 * Object.keys(own).length > Object.keys(english).length ? code : "en";
  document.documentElement.lang = mostly;
  document.documentElement.dir = direction(mostly);
  for (const element of document.querySelectorAll("[data-t]")) {
    element.textContent = t(element.dataset.t);
    mark(element, element.dataset.t);
  }
  for (const element of document.querySelectorAll("[data-t-label]")) {
    element.setAttribute("aria-label", t(element.dataset.tLabel));
  }
  for (const element of document.querySelectorAll("[data-t-placeholder]")) {
    element.placeholder = t(element.dataset.tPlaceholder);
  }
}

async function catalogue(code) {
  const response = await fetch(`/static/messages/${code}.json`, { credentials: "same-origin" });
  return response.ok ? response.json() : { messages: {} };
}

/** Say in the markup that an element's message is in another language than most of the page. */
export function mark(element, name) {
  const its = own[name] === undefined ? "en" : language;
  if (its === document.documentElement.lang) return element;
  element.lang = its;
  element.dir = direction(its);
  return element;
}

/** Return a message with its values filled in. */
export function t(name, values = {}) {
  const text = own[name] ?? english[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (all, key) => (key in values ? String(values[key]) : all));
}

export const pageLanguage = () => language;

/** Return the name of a language in the page's language, or in its own. */
export function languageName(code, inIts = language) {
  if (!code || code === "und") return t("unknownLanguage");
  try {
    return new Intl.DisplayNames([inIts, "en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

export const direction = (code) => (RTL.has(code.split("-")[0]) || /-(Arab|Hebr)\b/.test(code) ? "rtl" : "ltr");
export const byCharacter = (code) => CHARACTERS.has(code.split("-")[0]);

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);

export const percent = (value, digits = 0) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(value);

export const signed = (value, digits = 1) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits, minimumFractionDigits: digits, signDisplay: "exceptZero" }).format(value);

export const milliseconds = (seconds) => `${number(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;

export const bytes = (value) => {
  const [unit, size] = value >= 1e9 ? ["gigabyte", 1e9] : value >= 1e6 ? ["megabyte", 1e6] : ["kilobyte", 1e3];
  return new Intl.NumberFormat(language, { style: "unit", unit, maximumFractionDigits: 1 }).format(value / size);
};

export const day = (iso) => new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(iso));
