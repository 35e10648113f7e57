// One translation beside the others: who makes it, its sentences, and what became of them.

import { ask } from "./api.js";
import { adapterOptions, choose, factsOf, ROUTE } from "./choices.js";
import { differences } from "./diff.js";
import { h, say, trouble } from "./dom.js";
import { attach, close, grade, open } from "./sentence.js";
import { byCharacter, direction, milliseconds, number, percent, t } from "./words.js";

/** A column; `desk` is the translate view that it stands in. */
export class Column {
  constructor(desk, value, tone) {
    this.desk = desk;
    this.value = value;
    this.sentences = [];
    this.references = [];
    this.item = null;
    this.edited = false;
    this.build(tone);
  }

  build(tone) {
    this.select = h("select", { "aria-label": t("translatedBy"), onchange: () => this.pick() });
    this.remove = h("button", { type: "button", class: "icon", "aria-label": t("removeColumn"), onclick: () => this.desk.drop(this) }, "×");
    this.facts = h("p", { class: "facts" });
    this.result = h("div", { class: "result", role: "group" });
    this.result.addEventListener("keydown", (event) => this.onKey(event));
    this.made = h("p", { class: "made" });
    this.copy = this.button("copy", () => this.onCopy());
    this.edit = this.button("edit", () => this.onEdit());
    this.submit = this.button("submit", () => this.onSubmit());
    this.cancel = this.button("cancel", () => this.endEdit());
    this.element = h("section", { class: "pane column" },
      h("div", { class: "head" }, h("div", { class: "head-row" }, this.select, this.remove), this.facts),
      this.result,
      h("div", { class: "foot" }, this.made, this.copy, this.edit, this.submit, this.cancel));
    this.element.style.setProperty("--tone", tone);
    this.showButtons();
  }

  /** Name the column for screen readers. */
  call(name) {
    this.element.setAttribute("aria-label", name);
    this.result.setAttribute("aria-label", name);
  }

  button(name, action) {
    return h("button", { type: "button", class: "plain small", "data-t": name, onclick: action }, t(name));
  }

  pick() {
    this.value = this.select.value;
    this.item = null;
    this.desk.columnsChanged();
  }

  /** Offer what there is for a pair. */
  offer(page, source, target) {
    choose(this.select, adapterOptions(page, source, target), this.value);
    this.value = this.select.value;
    this.showFacts(page);
    this.result.lang = target;
    this.result.dir = direction(target);
    this.target = target;
  }

  showFacts(page) {
    const made = this.item && this.value === ROUTE ? this.item.adapter_version : undefined;
    const facts = factsOf(page, this.value, made);
    this.facts.textContent = facts.join(" · ");
    this.facts.title = this.facts.textContent;
  }

  /** A new translation begins; what there is stays until it is replaced. */
  begin() {
    this.endEdit();
    this.fresh = 0;
    this.edited = false;
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.result.classList.add("stale"), 250);
  }

  arrive() {
    clearTimeout(this.waiting);
    this.result.classList.remove("stale");
  }

  /** Show a sentence that has been translated. */
  take(segment) {
    this.arrive();
    const known = this.sentences[segment.index];
    const sentence = { ...segment, element: known?.element, gap: known?.gap };
    this.sentences[segment.index] = sentence;
    this.fresh = segment.index + 1;
    this.draw(sentence);
    this.desk.compared(segment.index);
  }

  draw(sentence) {
    const text = sentence.text.trim();
    const at = sentence.text.indexOf(text);
    if (!sentence.element) {
      if (!this.sentences.some((one) => one?.element)) this.result.replaceChildren();
      sentence.gap = document.createTextNode("");
      sentence.element = this.makeSentence(sentence.index);
      this.result.append(sentence.gap, sentence.element);
    }
    sentence.gap.data = sentence.text.slice(0, at);
    const element = sentence.element;
    element.className = `sentence ${grade(sentence.confidence)}`;
    element.setAttribute("aria-description", `${t("confidence")} ${percent(sentence.confidence)}`);
    this.compare(sentence);
  }

  makeSentence(index) {
    const element = h("span", { role: "button", tabindex: index ? "-1" : "0", "aria-expanded": "false", "aria-haspopup": "dialog" });
    attach(element, () => this.about(index));
    element.addEventListener("mouseenter", () => this.desk.point(this.sentences[index]));
    element.addEventListener("focus", () => this.desk.point(this.sentences[index]));
    element.addEventListener("mouseleave", () => this.desk.point(null));
    element.addEventListener("blur", () => this.desk.point(null));
    return element;
  }

  /** Write a sentence, with what other columns have otherwise marked. */
  compare(sentence) {
    const text = sentence.text.trim();
    const others = this.references.map((one) => one.sentences[sentence.index]?.text.trim()).filter(Boolean);
    if (!others.length) return sentence.element.replaceChildren(text);
    const pieces = differences(text, others, byCharacter(this.target));
    return sentence.element.replaceChildren(...pieces.map(([piece, differs]) => (differs ? h("mark", {}, piece) : piece)));
  }

  about(index) {
    const sentence = this.sentences[index];
    return {
      text: sentence.text,
      confidence: sentence.confidence,
      language: this.target,
      direction: direction(this.target),
      request: this.desk.alternativesOf(this, sentence),
      take: (text) => this.replace(index, text),
    };
  }

  replace(index, text) {
    const sentence = this.sentences[index];
    sentence.text = sentence.text.replace(sentence.text.trim(), () => text.trim());
    sentence.confidence = 1;
    this.draw(sentence);
    this.edited = true;
    this.showButtons();
    sentence.element.focus();
  }

  /** All of the text is translated. */
  finish(item, page) {
    this.arrive();
    this.item = item;
    this.item.shown = this.text;
    for (const old of this.sentences.splice(this.fresh)) {
      old?.gap?.remove();
      old?.element?.remove();
    }
    if (!this.sentences.length) this.result.replaceChildren(item.text);
    this.showFacts(page);
    this.made.replaceChildren(...this.madeOf(item));
    this.showButtons();
  }

  madeOf(item) {
    const facts = [milliseconds(item.milliseconds / 1000)];
    if (item.batch_adapters > 1) facts.push(t("besideOthers", { adapters: number(item.batch_adapters), rows: number(item.batch_rows) }));
    if (item.fallback) facts.push(t(`fallback_${item.fallback}`));
    const parts = [facts.join(" · ")];
    if (item.warnings.length) {
      const named = item.warnings.map((one) => (one.subjects.length ? `${t(`warn_${one.flag}`)} (${one.subjects.join(", ")})` : t(`warn_${one.flag}`)));
      parts.push(" · ", h("span", { class: "warnings" }, named.join(", ")));
    }
    return parts;
  }

  /** It could not be translated. */
  fail(message) {
    this.clear();
    this.result.replaceChildren(h("p", { class: "problem" }, message));
  }

  clear() {
    this.arrive();
    this.endEdit();
    this.sentences = [];
    this.item = null;
    this.made.textContent = "";
    this.result.replaceChildren();
    this.showButtons();
  }

  get text() {
    return this.sentences.map((one) => one.text).join("");
  }

  // Keyboard: one tab stop, arrows between sentences, Enter for what is known of one.

  onKey(event) {
    const at = this.sentences.findIndex((one) => one.element === document.activeElement);
    if (at < 0) return;
    const forward = this.result.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    const backward = this.result.dir === "rtl" ? "ArrowRight" : "ArrowLeft";
    const last = this.sentences.length - 1;
    const to = { [forward]: at + 1, ArrowDown: at + 1, [backward]: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(this.sentences[at].element, this.about(at), true);
    } else if (to !== undefined) {
      event.preventDefault();
      this.focusSentence(Math.min(last, Math.max(0, to)));
    }
  }

  focusSentence(index) {
    if (!this.sentences.length) return;
    this.sentences.forEach((one, place) => one.element.setAttribute("tabindex", place === index ? "0" : "-1"));
    this.sentences[index].element.focus();
  }

  // Copying, and correcting what the model said.

  async onCopy() {
    try {
      await navigator.clipboard.writeText(this.field ? this.field.value : this.text);
      say(t("copied"));
    } catch {
      trouble(t("notCopied"));
    }
  }

  onEdit() {
    if (!this.item || this.field) return;
    close();
    this.field = h("textarea", { class: "edit", lang: this.target, dir: direction(this.target), "aria-label": t("correction"), value: this.text });
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.endEdit();
        this.edit.focus();
      }
    });
    this.result.hidden = true;
    this.result.after(this.field);
    this.showButtons();
    this.field.focus();
  }

  endEdit() {
    this.field?.remove();
    this.field = null;
    this.result.hidden = false;
    this.showButtons();
  }

  async onSubmit() {
    const corrected = this.field ? this.field.value : this.text;
    try {
      await ask("/api/feedback", this.desk.correctionOf(this, corrected));
      this.endEdit();
      this.edited = false;
      this.showButtons();
      say(t("thanks"));
      this.made.textContent = t("thanks");
    } catch (error) {
      trouble(error.message);
    }
  }

  showButtons() {
    const may = this.desk.page?.feedback;
    this.copy.hidden = !this.item;
    this.edit.hidden = !this.item || Boolean(this.field);
    this.submit.hidden = !may || !(this.field || this.edited);
    this.cancel.hidden = !this.field;
  }
}
