// The engine's last steps, one thread for each adapter: which of them shared a step.

import { $, h } from "./dom.js";
import { number, t } from "./words.js";

const KEPT = 180;
const TONES = ["--hue1", "--hue2", "--hue3", "--hue4", "--hue5", "--hue6", "--hue7"];

export class Loom {
  constructor() {
    this.steps = [];
    this.tones = new Map([["base", "--base"]]);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  tone(name) {
    if (!this.tones.has(name)) this.tones.set(name, TONES[(this.tones.size - 1) % TONES.length]);
    return this.tones.get(name);
  }

  /** Take steps, each a list of [name, rows]. */
  take(steps) {
    for (const step of steps) {
      step.rows.sort((one, other) => (one[0] < other[0] ? -1 : 1));
      this.steps.push(step);
    }
    this.steps.splice(0, this.steps.length - KEPT);
    this.draw();
    this.name();
  }

  draw() {
    const canvas = $("loom");
    if (!canvas) return;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const most = Math.max(8, ...this.steps.map((step) => step.rows.reduce((sum, [, rows]) => sum + rows, 0)));
    const pitch = width / KEPT;
    this.steps.forEach((step, index) => {
      const x = width - (this.steps.length - index) * pitch;
      let y = height;
      for (const [name, rows] of step.rows) {
        const tall = (rows / most) * height;
        paint.fillStyle = style.getPropertyValue(this.tone(name));
        paint.fillRect(x, y - tall + 0.5, Math.max(1, pitch - 1), Math.max(1, tall - 1));
        y -= tall;
      }
    });
  }

  /** Name the threads: rows of the last step, and of how many of the kept steps each was part. */
  name() {
    const place = $("threads");
    if (!place) return;
    const seen = new Map();
    for (const step of this.steps) for (const [name] of step.rows) seen.set(name, (seen.get(name) ?? 0) + 1);
    const entries = [...seen].map(([name, count]) => {
      const swatch = h("i", { "aria-hidden": "true" });
      swatch.style.setProperty("--tone", `var(${this.tone(name)})`);
      return h("li", {}, swatch, name === "base" ? t("baseAlone") : name, h("span", { class: "fine" }, ` ${t("steps", { count: number(count) })}`));
    });
    const shared = this.steps.filter((step) => step.rows.filter(([name]) => name !== "base").length > 1).length;
    place.replaceChildren(...entries);
    $("loom-text").textContent = this.steps.length ? t("loomText", { steps: number(this.steps.length), shared: number(shared) }) : t("loomIdle");
  }
}
