// The translate view: what is typed goes to the server, what comes back goes to the columns.

import { listen } from "./api.js";
import { adaptersFor, BASE, choose, languageOptions, ROUTE } from "./choices.js";
import { Column } from "./column.js";
import { $, debounce, h, say, store, trouble } from "./dom.js";
import { Terms } from "./terms.js";
import { direction, languageName, mark, number, pageLanguage, percent, t } from "./words.js";

const PAUSE = 110;
const MOST = 4;
const TONES = ["var(--base)", "var(--hue1)", "var(--hue2)", "var(--hue3)"];

export class Desk {
  constructor(page) {
    this.page = page;
    this.detected = "";
    this.asked = null;
    this.columns = [];
    this.terms = new Terms(() => this.later(PAUSE));
    this.later = debounce(() => this.run());
    this.listenToFields();
    this.offerLanguages();
    this.add(ROUTE);
    this.showSamples();
    this.onInput();
  }

  get source() {
    return $("from").value;
  }

  get target() {
    return $("to").value;
  }

  listenToFields() {
    $("source").addEventListener("input", (event) => this.onInput(event));
    $("source").addEventListener("scroll", () => this.echoScroll());
    document.addEventListener("selectionchange", () => this.onCaret());
    $("from").addEventListener("change", () => this.onPair());
    $("to").addEventListener("change", () => this.onPair());
    $("swap").addEventListener("click", () => this.swap());
    $("compare").addEventListener("click", () => this.compare());
    $("clear").addEventListener("click", () => this.write(""));
    $("terms-toggle").addEventListener("click", () => this.toggleTerms());
  }

  /** Take what the server has now. */
  update(page) {
    this.page = page;
    this.offerColumns();
  }

  offerLanguages() {
    const options = languageOptions(this.page.languages.map((one) => one.code));
    const source = this.source || store(() => localStorage, "from") || "";
    const target = this.target || store(() => localStorage, "to") || this.firstTarget();
    for (const select of [$("from"), $("to")]) select.lang = pageLanguage();
    choose($("from"), [["", t("detect")], ...options], source);
    choose($("to"), options, target);
    this.offerColumns();
  }

  firstTarget() {
    const counts = new Map();
    for (const { target } of this.page.adapters) counts.set(target, (counts.get(target) ?? 0) + 1);
    if (counts.size) return [...counts].sort((one, other) => other[1] - one[1])[0][0];
    const wanted = navigator.languages.map((one) => one.split("-")[0]);
    const codes = this.page.languages.map((one) => one.code);
    return wanted.find((code) => code !== "en" && codes.includes(code)) ?? codes.find((code) => code !== "en") ?? "";
  }

  offerColumns() {
    const source = this.source || this.detected;
    for (const column of this.columns) column.offer(this.page, source, this.target);
    this.terms.offer(this.page.glossaries, source, this.target);
  }

  showSamples() {
    const samples = this.page.samples.map((name) =>
      mark(h("button", { type: "button", class: "sample", onclick: () => this.write(t(name)) }, t(name)), name));
    $("samples").replaceChildren(...samples);
  }

  /** Put a text into the source field. */
  write(text) {
    const field = $("source");
    field.value = text;
    field.focus();
    this.onInput();
  }

  onInput(event) {
    const text = $("source").value;
    const empty = !text.trim();
    $("samples").hidden = !empty;
    $("clear").hidden = $("length").hidden = empty;
    const most = this.page.limits.characters;
    $("length").textContent = empty ? "" : `${number(Array.from(text).length)} / ${number(most)}`;
    this.echo(null);
    const pasted = !event || (event.inputType ?? "").startsWith("insertFromPaste");
    this.later(pasted || empty ? 0 : PAUSE);
  }

  onPair() {
    store(() => localStorage, "from", this.source);
    store(() => localStorage, "to", this.target);
    this.detected = this.source ? "" : this.detected;
    this.showDetected(null);
    this.offerColumns();
    this.clearColumns();
    this.later(0);
  }

  swap() {
    const source = this.source || this.detected;
    if (!source) return trouble(t("nothingToSwap"));
    const text = this.columns[0].text.trim();
    const target = this.target;
    $("to").value = source;
    $("from").value = target;
    this.onPair();
    if (text) this.write(text);
    return undefined;
  }

  toggleTerms() {
    const panel = $("terms");
    panel.hidden = !panel.hidden;
    $("terms-toggle").setAttribute("aria-expanded", String(!panel.hidden));
    if (!panel.hidden) panel.querySelector("input").focus();
  }

  /** Leave what is selected in the source as it is. */
  keepSelection() {
    const field = $("source");
    const span = field.value.slice(field.selectionStart, field.selectionEnd);
    if (!span.trim()) return trouble(t("selectFirst"));
    this.terms.leaveAlone(span);
    say(t("keeps", { span: span.trim() }));
    return undefined;
  }

  // Columns.

  add(value, first = false) {
    const column = new Column(this, value);
    if (first) this.columns.unshift(column);
    else this.columns.push(column);
    this.columnsChanged();
    return column;
  }

  drop(column) {
    if (this.columns.length === 1) return;
    const at = this.columns.indexOf(column);
    this.columns.splice(at, 1);
    column.clear();
    this.columnsChanged();
    this.columns[Math.max(0, at - 1)].select.focus();
  }

  /** Put one more beside what there is: the base first, then the pair's adapters. */
  compare() {
    const used = new Set(this.columns.map((column) => column.value));
    if (this.columns.length === 1 && !used.has(BASE)) return this.add(BASE, true);
    const made = this.columns.map((column) => column.item?.adapter_version);
    const free = adaptersFor(this.page, this.source || this.detected, this.target).filter(
      (adapter) => !used.has(adapter.ref) && !made.includes(adapter.ref));
    if (this.columns.length === MOST) return trouble(t("mostColumns"));
    const next = free[0]?.ref ?? (used.has(ROUTE) ? undefined : ROUTE);
    if (next === undefined) return trouble(t("noMoreAdapters"));
    return this.add(next).select.focus();
  }

  columnsChanged() {
    const place = $("columns");
    $("stage").dataset.columns = String(this.columns.length);
    this.columns.forEach((column, index) => {
      column.references = index ? [this.columns[0]] : this.columns.slice(1);
      column.element.style.setProperty("--tone", TONES[index]);
      column.remove.hidden = this.columns.length === 1;
      column.call(this.columns.length === 1 ? t("translation") : t("translationOf", { column: number(index + 1) }));
      if (place.children[index] !== column.element) place.insertBefore(column.element, place.children[index] ?? null);
    });
    while (place.children.length > this.columns.length) place.lastElementChild.remove();
    $("compare").disabled = this.columns.length === MOST;
    document.body.classList.toggle("comparing", this.columns.length > 1);
    this.offerColumns();
    this.later(0);
  }

  clearColumns() {
    for (const column of this.columns) column.clear();
  }

  /** Mark anew what differs in a sentence, once it has come in several columns. */
  compared(index) {
    for (const column of this.columns) {
      const sentence = column.sentences[index];
      if (sentence?.element) column.compare(sentence);
    }
  }

  // Requests.

  /** Translate what is in the field; an earlier request is given up, here and on the server. */
  async run() {
    this.asked?.abort();
    const text = $("source").value;
    if (!text.trim() || !this.target) return this.onEmpty();
    const asked = (this.asked = new AbortController());
    for (const column of this.columns) column.begin();
    try {
      for await (const [event, data] of listen("/api/translate", this.requestOf(text), asked.signal)) {
        if (asked.signal.aborted) return undefined;
        this.take(event, data);
      }
    } catch (error) {
      if (error.name !== "AbortError" && this.asked === asked) this.onFailure(error);
    }
    return undefined;
  }

  onEmpty() {
    this.detected = "";
    this.clearColumns();
    this.showDetected(null);
  }

  onFailure(error) {
    if (error.status === 401) dispatchEvent(new CustomEvent("key-wanted", { detail: error.message }));
    for (const column of this.columns) column.fail(error.status ? error.message : t("unreachable"));
  }

  requestOf(text) {
    return {
      text,
      source: this.source,
      target: this.target,
      adapters: this.columns.map((column) => column.value),
      ...this.terms.request,
    };
  }

  take(event, data) {
    const column = this.columns[data.column];
    if (event === "segment") column.take(data);
    else if (event === "item") this.finish(column, data);
    else if (event === "error") column.fail(data.message);
    else if (event === "end") this.announce();
  }

  finish(column, data) {
    column.finish(data, this.page);
    const adapter = this.page.adapters.find((one) => one.ref === data.adapter_version);
    if (adapter?.residency && adapter.residency.tier !== "device") dispatchEvent(new Event("residency-changed"));
    if (data.detected) this.showDetected(data.detected);
  }

  announce() {
    const unsure = this.columns[0].sentences.filter((one) => one.confidence < 0.5).length;
    say(t("done", { sentences: number(this.columns[0].sentences.length), unsure: number(unsure) }));
  }

  showDetected(detected) {
    $("detected").textContent = detected ? t("detectedAs", { language: languageName(detected.language), confidence: percent(detected.confidence) }) : "";
    const code = detected?.language ?? this.source;
    $("source").lang = code;
    $("source").dir = code ? direction(code) : "auto";
    $("echo").dir = $("source").dir;
    if (detected && detected.language !== this.detected) {
      this.detected = detected.language;
      this.offerColumns();
    }
  }

  /** Return the request for what else the same version could say: a route or a canary may choose another for a sentence alone. */
  alternativesOf(column, sentence) {
    const points = Array.from($("source").value);
    return {
      text: points.slice(sentence.start, sentence.end).join(""),
      source: this.source || this.detected,
      target: this.target,
      adapter: column.item ? column.item.adapter_version || BASE : column.value,
      ...this.terms.request,
    };
  }

  correctionOf(column, corrected) {
    return {
      source_text: $("source").value,
      translated_text: column.item.text,
      post_edited_text: corrected,
      source: column.item.source,
      target: this.target,
      adapter_version: column.item.adapter_version,
      adapter_digest: column.item.adapter_digest,
    };
  }

  // The source sentence that belongs to a translated one, and the other way round.

  point(sentence) {
    this.echo(sentence);
  }

  echo(sentence) {
    const place = $("echo");
    if (!sentence) return place.replaceChildren();
    const points = Array.from($("source").value);
    const part = (from, to) => points.slice(from, to).join("");
    place.replaceChildren(part(0, sentence.start), h("mark", {}, part(sentence.start, sentence.end)), part(sentence.end));
    return this.echoScroll();
  }

  echoScroll() {
    $("echo").scrollTop = $("source").scrollTop;
  }

  onCaret() {
    const field = $("source");
    if (document.activeElement !== field) return this.link(-1);
    return this.link(Array.from(field.value.slice(0, field.selectionStart)).length);
  }

  link(at) {
    for (const column of this.columns) {
      const several = column.sentences.length > 1;
      for (const one of column.sentences) {
        one.element?.classList.toggle("linked", several && one.start <= at && at <= one.end);
      }
    }
  }
}
