// Elements from data. Text only ever becomes text: nothing here or elsewhere parses markup.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** Make an element: h("p", {class: "fine", onclick: f}, "text", child). */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** Tell screen readers something, once it has been quiet for a moment. */
let saying = 0;
export function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    $("said").textContent = text;
  }, 900);
}

/** Show a message for a while. */
let shown = 0;
export function trouble(text) {
  const place = $("trouble");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(shown);
  shown = setTimeout(() => place.classList.remove("shown"), 8000);
}

/** Return a function that runs once calls have stopped coming for a time. */
export function debounce(action) {
  let timer = 0;
  return (delay) => {
    clearTimeout(timer);
    timer = setTimeout(action, delay);
  };
}

export function store(area, name, value) {
  try {
    if (value === undefined) return area().getItem(name);
    if (value === null) area().removeItem(name);
    else area().setItem(name, value);
  } catch {
    // Storage may be blocked; what was chosen lasts until the page is closed.
  }
  return null;
}
