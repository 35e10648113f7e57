// Prescribed translations, and what is left as it is.

import { $, h } from "./dom.js";
import { number, t } from "./words.js";

export class Terms {
  constructor(changed) {
    this.changed = changed;
    this.keep = [];
    this.rows = h("div", {});
    this.chips = h("div", { class: "chips", role: "list" });
    this.stored = h("select", { "aria-labelledby": "stored-label", onchange: () => this.onChange() });
    this.anyCase = h("input", { type: "checkbox", onchange: () => this.onChange() });
    this.keepField = h("input", { type: "text", "aria-labelledby": "keep-title", onkeydown: (event) => this.onKeepKey(event) });
    this.build();
  }

  build() {
    $("terms").append(
      h("div", {},
        h("h2", { id: "glossary-title", "data-t": "glossary" }, t("glossary")),
        this.rows,
        h("div", { class: "terms-row" },
          h("button", { type: "button", class: "plain small", onclick: () => this.addRow().focus() }, "+ ", h("span", { "data-t": "addTerm" }, t("addTerm"))),
          h("label", { class: "check" }, h("span", { id: "stored-label", "data-t": "storedGlossary" }, t("storedGlossary")), this.stored),
          h("label", { class: "check" }, this.anyCase, h("span", { "data-t": "anyCase" }, t("anyCase"))))),
      h("div", {},
        h("h2", { id: "keep-title", "data-t": "keepTitle" }, t("keepTitle")),
        h("div", { class: "keep" }, this.keepField, h("button", { type: "button", class: "plain small", onclick: () => this.addTyped() }, "+ ", h("span", { "data-t": "add" }, t("add")))),
        this.chips));
    this.addRow();
  }

  addRow() {
    const source = h("input", { type: "text", "aria-label": t("sourceTerm"), placeholder: t("sourceTerm"), oninput: () => this.onChange() });
    const target = h("input", { type: "text", "aria-label": t("targetTerm"), placeholder: t("targetTerm"), oninput: () => this.onChange() });
    const row = h("div", { class: "term" }, source, h("span", { "aria-hidden": "true" }, "→"), target,
      h("button", { type: "button", class: "icon", "aria-label": t("removeTerm"), onclick: () => this.dropRow(row) }, "×"));
    this.rows.append(row);
    return source;
  }

  dropRow(row) {
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    (next?.querySelector("input") ?? this.addRow()).focus();
    this.onChange();
  }

  onKeepKey(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    this.addTyped();
  }

  addTyped() {
    this.leaveAlone(this.keepField.value);
    this.keepField.value = "";
    this.keepField.focus();
  }

  /** Leave a span of the source as it is, wherever it stands. */
  leaveAlone(span) {
    const text = span.trim();
    if (!text || this.keep.includes(text)) return;
    this.keep.push(text);
    const chip = h("span", { class: "chip", role: "listitem" }, text,
      h("button", { type: "button", "aria-label": t("removeTerm"), onclick: () => this.dropChip(chip, text) }, "×"));
    this.chips.append(chip);
    this.onChange();
  }

  dropChip(chip, text) {
    this.keep = this.keep.filter((one) => one !== text);
    chip.remove();
    this.keepField.focus();
    this.onChange();
  }

  /** Offer the stored glossaries of a pair. */
  offer(glossaries, source, target) {
    const kept = this.stored.value;
    const fitting = glossaries.filter((one) => one.target === target && (!source || one.source === source));
    this.stored.replaceChildren(
      h("option", { value: "" }, t("none")),
      ...fitting.map((one) => h("option", { value: one.ref }, `${one.ref} · ${number(one.terms)}`)));
    this.stored.value = fitting.some((one) => one.ref === kept) ? kept : "";
  }

  onChange() {
    const count = this.terms.length + this.keep.length + (this.stored.value ? 1 : 0);
    $("terms-count").textContent = number(count);
    $("terms-count").hidden = !count;
    this.changed();
  }

  get terms() {
    return [...this.rows.children]
      .map((row) => [...row.querySelectorAll("input")].map((field) => field.value.trim()))
      .filter(([source, target]) => source && target)
      .map(([source, target]) => ({ source, targets: target.split("|").map((form) => form.trim()).filter(Boolean) }));
  }

  /** Return what a request says of terms. */
  get request() {
    return {
      keep: this.keep,
      glossary: { stored: this.stored.value, terms: this.terms, ignore_case: this.anyCase.checked },
    };
  }
}
