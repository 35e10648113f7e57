// Starts the page: its language, its views, its keys.

import { showAdapters } from "./adapters.js";
import { ask, useKey } from "./api.js";
import { $, debounce, h, store, trouble } from "./dom.js";
import { Live } from "./live.js";
import { close, start as startSentences } from "./sentence.js";
import { Desk } from "./translate.js";
import { languageName, number, pageLanguage, speak, t } from "./words.js";

const VIEWS = ["translate", "adapters", "live"];
const REFRESH = 15000;
const live = new Live();
let page = null;
let desk = null;

async function boot() {
  await speak(store(() => localStorage, "page-language") ?? "en");
  try {
    page = await ask("/api/page");
  } catch (error) {
    if (error.status === 401) wantKey(store(() => sessionStorage, "hub-key") ? error.message : "");
    else trouble(error.status ? error.message : t("unreachable"));
    if (error.status === 503 || !error.status) setTimeout(boot, 2000);
    return;
  }
  desk = new Desk(page);
  offerPageLanguages();
  show();
}

// Views.

function show() {
  const name = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : VIEWS[0];
  close();
  for (const view of VIEWS) {
    $(view).hidden = view !== name;
    if (view === name) $(`go-${view}`).setAttribute("aria-current", "page");
    else $(`go-${view}`).removeAttribute("aria-current");
  }
  document.title = name === VIEWS[0] ? "adapterhub" : `${t(name)} · adapterhub`;
  if (name === "live") live.start();
  else live.stop();
  if (name === "adapters" && page) refresh();
}

/** Ask again what there is: adapters are published, moved and evicted while the page is open. */
async function refresh() {
  if (document.hidden || !page) return;
  try {
    page = await ask("/api/page");
  } catch {
    return; // the next time will tell
  }
  desk.update(page);
  if ($("adapters").hidden) return;
  try {
    showAdapters({ ...page, ...(await ask("/api/adapters")) });
  } catch (error) {
    trouble(error.message);
  }
}

// Theme and language.

const dark = () => (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

function switchTheme() {
  const wanted = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = wanted;
  store(() => localStorage, "theme", wanted);
  $("theme").setAttribute("aria-pressed", String(dark()));
  live.loom.draw();
}

function offerPageLanguages() {
  const select = $("page-language");
  const codes = ["en", ...Object.keys(page.messages).sort()];
  select.replaceChildren(...codes.map((code) => h("option", { value: code, lang: code }, languageName(code, code))));
  select.value = pageLanguage();
  select.onchange = async () => {
    await speak(select.value);
    location.reload();
  };
  const found = page.messages[pageLanguage()];
  $("translated-note").textContent = found ? t("translatedNote", { hub: number(found.hub), cldr: number(found.cldr), all: number(found.all) }) : "";
  $("translated-note").lang = "en";
}

// Keys.

function wantKey(wrong) {
  $("key-wrong").textContent = wrong;
  if (!$("key-dialog").open) $("key-dialog").showModal();
  $("key").focus();
}

function takeKey() {
  const text = $("key").value.trim();
  if (!text) return;
  $("key").value = "";
  useKey(text);
  $("key-dialog").close();
  if (page) desk.later(0);
  else boot();
}

const MAC = /mac|iphone|ipad/i.test(navigator.platform);
const SHORTCUTS = [
  ["KeyT", "T", "toText", () => go("translate", () => $("source").focus())],
  ["KeyR", "R", "toResult", () => desk?.columns[0].focusSentence(0)],
  ["KeyS", "S", "swap", () => desk?.swap()],
  ["KeyC", "C", "compare", () => desk?.compare()],
  ["KeyG", "G", "terms", () => desk?.toggleTerms()],
  ["KeyK", "K", "keepSelection", () => desk?.keepSelection()],
  ["KeyE", "E", "edit", () => (desk?.columns.find((one) => one.element.contains(document.activeElement)) ?? desk?.columns[0])?.onEdit()],
  ["KeyD", "D", "darkMode", () => switchTheme()],
  ["Digit1", "1", "translate", () => go("translate")],
  ["Digit2", "2", "adapters", () => go("adapters")],
  ["Digit3", "3", "live", () => go("live")],
  ["KeyH", "H", "shortcuts", () => help()],
];

function go(view, then = () => {}) {
  location.hash = view;
  show();
  then();
}

function onKey(event) {
  if (event.key === "Escape" && close()) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter" && desk) {
    event.preventDefault();
    desk.later(0);
    return;
  }
  if (!event.altKey || !event.shiftKey || event.ctrlKey || event.metaKey) return;
  if (document.querySelector("dialog[open]")) return;
  const found = SHORTCUTS.find(([code]) => code === event.code);
  if (!found) return;
  event.preventDefault();
  found[3]();
}

function help() {
  const held = MAC ? "⌥ ⇧" : "Alt Shift";
  const rows = [
    [`${MAC ? "⌘" : "Ctrl"} Enter`, t("translateNow")],
    ...SHORTCUTS.map(([, letter, name]) => [`${held} ${letter}`, t(name)]),
    ["← →", t("betweenSentences")],
    ["Enter", t("openSentence")],
    ["Esc", t("leave")],
  ];
  $("shortcut-list").replaceChildren(...rows.flatMap(([keys, text]) => [
    h("dt", {}, ...keys.split(" ").flatMap((key) => [h("kbd", {}, key), " "])),
    h("dd", {}, text),
  ]));
  $("shortcuts").showModal();
}

const refreshSoon = debounce(() => refresh());
addEventListener("residency-changed", () => refreshSoon(1000));
addEventListener("hashchange", show);
addEventListener("keydown", onKey);
addEventListener("key-wanted", (event) => wantKey(event.detail));
document.addEventListener("visibilitychange", () => {
  if ($("live").hidden) return;
  if (document.hidden) live.stop();
  else live.start();
});
$("theme").addEventListener("click", switchTheme);
$("theme").setAttribute("aria-pressed", String(dark()));
$("help").addEventListener("click", help);
$("shortcuts-close").addEventListener("click", () => $("shortcuts").close());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  takeKey();
});
setInterval(refresh, REFRESH);
startSentences();
boot();
