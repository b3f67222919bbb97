// How a page comes to say only what is known: it asks, shows the share read so far until the server has read what the
// answers rest on, and is drawn again by itself when there is more: once all was read, and as long as the run goes on.

import { get, metaOf, ofTrace } from "./api.js";
import { h } from "./dom.js";
import { share } from "./format.js";
import { t } from "./words.js";

const POLL_MS = 300;
const GROW_MS = 2000;

/** What stands in the place of figures that are not known yet. */
export function reading(index, words = "reading.trace") {
  return advance(h("p", { class: "reading" }, h("span", {}, t(words), " ", h("output", { class: "figure" })),
    h("progress", { max: "1", "aria-label": t(words) })), index);
}

/** Show in an element, and wherever in it reading is shown, how far it is. */
export function advance(element, index) {
  for (const one of element.matches(".reading") ? [element] : element.querySelectorAll(".reading")) {
    one.querySelector("progress").value = index.share;
    const said = share(Math.floor(100 * index.share), 100);
    const output = one.querySelector("output");
    if (output.textContent !== said) output.textContent = said;
  }
  return element;
}

/** The answers that a page is drawn from, asked for until there is nothing more to come. */
export class Following {
  /** `asks(meta)` gives what is asked: name → `[path, query]`, and for what may go wrong on the page itself, `true`. */
  constructor({ trace, as, meta, asks, signal, draw }) {
    Object.assign(this, { trace, as, meta, asks, signal, draw, found: {} });
  }

  /** Draw what is known now; the rest comes by itself. */
  async begin() {
    await this.ask();
    const drawn = await this.tell();
    if (this.changes || !drawn) this.timer = setTimeout(() => this.again(), this.pause);
    this.signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  async ask() {
    const asked = Object.entries(this.asks(this.meta)).filter(([name]) => !this.found[name]?.index?.done);
    const answers = await Promise.all(asked.map(([, [path, query, forgiven]]) => get(ofTrace(this.trace, path), query, this.signal)
      .catch((error) => { if (!forgiven || error.name === "AbortError") throw error; return { error, index: { done: true, share: 1 } }; })));
    asked.forEach(([name], at) => { this.found[name] = answers[at]; });
  }

  /** What of the answers is read the least. */
  get index() {
    return Object.values(this.found).map((one) => one.index).reduce((least, one) => (!one.done && (least.done || one.share < least.share) ? one : least), { done: true, share: 1 });
  }

  get outdated() { return Object.values(this.found).some((one) => one.outdated); }
  get known() { return this.index.done && this.meta.index.done; }
  get changes() { return !this.known || !this.meta.complete || this.outdated; }
  get pause() { return this.known ? GROW_MS : POLL_MS; }

  tell() { return this.draw({ meta: this.meta, found: { ...this.found }, index: this.index }); }

  async again() {
    let drawn = false;
    try {
      const before = this.meta;
      this.meta = await metaOf(this.trace, this.as, this.signal);
      if (this.meta !== before || this.outdated) this.found = {};
      await this.ask();
      drawn = await this.tell();
    } catch (error) {
      if (error.name === "AbortError") return;
      // The next time tells.
    }
    if (!this.signal.aborted && (this.changes || !drawn)) this.timer = setTimeout(() => this.again(), this.pause);
  }
}
