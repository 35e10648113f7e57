// What is known of one sentence: how sure the model was, and what else it would say.

import { ask } from "./api.js";
import { $, h } from "./dom.js";
import { percent, t } from "./words.js";

const SURE = 0.8;
const FAIR = 0.5;
const HOVER = 350;

/** Return the class of a confidence, "" where it is high. */
export const grade = (confidence) => (confidence >= SURE ? "" : confidence >= FAIR ? "fair" : "low");

let opened = null;
let timer = 0;
let asking = null;

/** Let a sentence's element open its popover, by pointer and by keyboard. */
export function attach(element, describe) {
  element.addEventListener("mouseenter", (event) => {
    if (event.buttons) return;
    clearTimeout(timer);
    timer = setTimeout(() => open(element, describe()), HOVER);
  });
  element.addEventListener("mouseleave", () => leave());
  element.addEventListener("click", () => {
    if (getSelection().isCollapsed) open(element, describe());
  });
}

function leave() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!$("pop").contains(document.activeElement)) close();
  }, 300);
}

/** Close the popover; the focus goes back to the sentence it came from. */
export function close() {
  clearTimeout(timer);
  asking?.abort();
  const pop = $("pop");
  const inside = pop.contains(document.activeElement);
  pop.hidden = true;
  if (!opened) return false;
  opened.setAttribute("aria-expanded", "false");
  if (inside) opened.focus();
  opened = null;
  return true;
}

/** Show the popover of a sentence; `enter` moves the focus into it. */
export async function open(element, about, enter = false) {
  if (opened === element && !enter) return;
  close();
  opened = element;
  element.setAttribute("aria-expanded", "true");
  const list = h("ul", {}, h("li", { class: "fine" }, t("searching")));
  const shade = h("i", { class: grade(about.confidence) });
  shade.style.width = `${Math.round(100 * about.confidence)}%`;
  const pop = $("pop");
  pop.replaceChildren(
    h("h2", { id: "pop-title", tabindex: "-1" }, h("span", {}, t("confidence")), h("span", {}, percent(about.confidence))),
    h("div", { class: "meter", "aria-hidden": "true" }, shade),
    h("p", { class: "fine", id: "pop-list" }, t("alternatives")),
    list,
  );
  pop.hidden = false;
  place(pop, element);
  if (enter) pop.querySelector("h2").focus();
  await suggest(element, about, list, enter);
}

async function suggest(element, about, list, enter) {
  asking = new AbortController();
  try {
    const found = await ask("/api/alternatives", about.request, asking.signal);
    if (opened !== element) return;
    const others = found.alternatives.filter((one) => one.text.trim() !== about.text.trim());
    list.setAttribute("aria-labelledby", "pop-list");
    list.replaceChildren(...others.map((one) => item(one, about)));
    if (!others.length) list.append(h("li", { class: "fine" }, t("noAlternatives")));
  } catch (error) {
    if (error.name === "AbortError") return;
    list.replaceChildren(h("li", { class: "fine" }, error.message));
  }
  if (opened !== element) return;
  place($("pop"), element);
  if (enter) list.querySelector("button")?.focus();
}

function item(one, about) {
  const take = () => {
    close();
    about.take(one.text);
  };
  return h("li", {}, h("button", { type: "button", lang: about.language, dir: about.direction, onclick: take }, h("span", {}, one.text), h("span", {}, percent(one.confidence))));
}

/** Put the popover under the sentence, or above it where there is no room, in the window. */
function place(pop, element) {
  const lines = element.getClientRects();
  const line = lines[lines.length - 1] ?? element.getBoundingClientRect();
  const first = lines[0] ?? line;
  const below = line.bottom + 6;
  const fits = below + pop.offsetHeight < innerHeight - 8;
  const top = fits ? below : Math.max(8, first.top - pop.offsetHeight - 6);
  const left = Math.min(Math.max(8, line.left), innerWidth - pop.offsetWidth - 8);
  pop.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

/** Keep the popover at its sentence, and close it when the sentence leaves the window. */
function follow() {
  if (!opened) return;
  const box = opened.getBoundingClientRect();
  if (!opened.isConnected || box.bottom < 0 || box.top > innerHeight) close();
  else place($("pop"), opened);
}

/** Watch for what moves and closes it. */
export function start() {
  const pop = $("pop");
  pop.addEventListener("mouseenter", () => clearTimeout(timer));
  pop.addEventListener("mouseleave", () => leave());
  pop.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !pop.contains(event.relatedTarget) && event.relatedTarget !== opened) close();
  });
  pop.addEventListener("keydown", (event) => {
    const buttons = [...pop.querySelectorAll("li button")];
    const at = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !buttons.length) return;
    event.preventDefault();
    buttons[(at + step + buttons.length) % buttons.length].focus();
  });
  addEventListener("pointerdown", (event) => {
    if (opened && !pop.contains(event.target) && !opened.contains(event.target)) close();
  });
  addEventListener("resize", follow);
  addEventListener("scroll", (event) => {
    if (!pop.contains(event.target)) follow();
  }, true);
}
