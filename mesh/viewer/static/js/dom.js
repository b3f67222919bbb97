// Builds elements. Rule kept here: whatever comes from a trace becomes a text node, never markup, and what it could
// do to the text around it (control characters, changes of direction) is made visible instead.

const SVG = "http://www.w3.org/2000/svg";
const READ_OUT = ["title", "aria-label", "aria-valuetext", "placeholder", "label"];

/** An HTML element. `on…` attributes are listeners; false and null leave an attribute out. */
export function h(tag, attributes = {}, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** An SVG element, as `h`. */
export function s(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else element.setAttribute(name, READ_OUT.includes(name) ? visible(value) : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(child)));
  }
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

const DIRECTIONS = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;
const CONTROLS = /[\u0000-\u0008\u000b-\u001f]/g;

/** Text of a trace as it can be shown: what is invisible is named. */
export function visible(text) {
  return String(text)
    .replace(CONTROLS, (one) => String.fromCharCode(0x2400 + one.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, named)
    .replace(DIRECTIONS, named)
    .replace(LONE, "\ufffd");
}

function named(one) {
  return `⟨U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

const SHOWN_MAX = 20_000;

/** Text of a trace, apart from the text around it; only the beginning of what is very long. `h` makes it visible. */
export function data(text, kind = "") {
  const all = text === null || text === undefined ? "" : String(text);
  const shown = all.length > SHOWN_MAX ? `${all.slice(0, SHOWN_MAX)}…` : all;
  return h("bdi", { class: `data ${kind}`.trim() }, shown);
}

/** A link inside the viewer. */
export function link(address, ...children) {
  return h("a", { href: address }, ...children);
}

/** Sets a property that only scripts may set: the policy allows no style attributes. */
export function style(element, properties) {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(name, value);
  return element;
}

/** Tells a screen reader. */
export function say(text) {
  const said = document.getElementById("said");
  if (said.textContent !== text) said.textContent = text;
}
