// The whole run on one line in true time: where much happened, where nothing did, and what the screen shows of it.

import { get, ofTrace } from "./api.js";
import { h, replace, s } from "./dom.js";
import { dateAndClock, span } from "./format.js";
import { t } from "./words.js";

const BINS = 240;
const TALL = 26;

export class Strip {
  /** `go(offset)` is told where to go in the list. */
  constructor(trace, start_us, go, signal) {
    Object.assign(this, { trace, start_us, go, signal, bins: [], starts: [], to_us: 0, bin: 0 });
    this.now = h("output", { class: "now mono" });
    this.length = h("span", { class: "quiet" });
    this.svg = s("svg", { viewBox: `0 0 ${BINS} ${TALL}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.track = h("div", {
      class: "track", role: "slider", tabindex: "0", "aria-label": t("strip.label"), "aria-valuemin": "0", "aria-valuenow": "0", "aria-valuemax": String(BINS - 1),
      onpointerdown: (event) => { this.track.setPointerCapture(event.pointerId); this.point(event); },
      onpointermove: (event) => { if (event.buttons) this.point(event); }, onkeydown: (event) => this.key(event),
    }, this.svg);
    this.element = h("div", { class: "strip" }, this.now, this.track, this.length);
  }

  async load(asked) {
    try {
      const found = await get(ofTrace(this.trace, "/timeline"), { ...asked, bins: BINS }, this.signal);
      if (!found.bins) return; // It is not known yet.
      this.bins = found.bins;
      this.to_us = found.to_us;
    } catch { return; } // The list itself says what is wrong.
    let count = 0;
    this.starts = this.bins.map((one) => { count += one.messages; return count - one.messages; });
    const max = Math.max(1, ...this.bins.map((one) => one.messages));
    const tall = (many) => Math.max(2, (TALL - 2) * Math.sqrt(many / max));
    const bar = (at, many, kind) => (many ? s("rect", { class: kind, x: at + 0.1, y: TALL - tall(many), width: 0.8, height: tall(many) }) : null);
    this.frame = s("rect", { class: "frame", y: 0.5, height: TALL - 1 });
    replace(this.svg, s("path", { class: "ground", d: `M 0 ${TALL - 0.5} H ${BINS}` }), this.frame,
      this.bins.flatMap((one, at) => [bar(at, one.messages, "all"), bar(at, one.refusals, "refused")]));
    this.length.textContent = span(this.to_us);
    if (this.shown) this.show(...this.shown);
  }

  /** The screen shows this part of the list; times are known of rows that are there. */
  show(first, last, first_us, last_us) {
    this.shown = [first, last, first_us, last_us];
    if (!this.bins.length) return;
    const [from, until] = [first_us ?? this.bins[this.binOf(first)].from_us, last_us ?? this.bins[this.binOf(last)].from_us];
    const x = (us) => (this.to_us ? (BINS * us) / this.to_us : 0);
    const width = Math.max(1.6, x(until) - x(from));
    this.frame.setAttribute("x", Math.max(0, Math.min(BINS - width, x(from))).toFixed(2));
    this.frame.setAttribute("width", width.toFixed(2));
    const [date, clock] = dateAndClock(this.start_us + from);
    this.now.textContent = `${date} ${clock.slice(0, 8)}`;
    this.bin = this.binOf(first);
    this.track.setAttribute("aria-valuenow", String(this.bin));
    this.track.setAttribute("aria-valuetext", this.now.textContent);
  }

  binOf(offset) {
    let at = this.starts.findLastIndex((one) => one <= offset);
    while (at > 0 && this.bins[at].messages === 0) at -= 1;
    return Math.max(0, at);
  }

  point(event) {
    const { left, width } = this.track.getBoundingClientRect();
    const at = Math.max(0, Math.min(this.bins.length - 1, Math.floor(((event.clientX - left) / width) * this.bins.length)));
    if (this.bins.length) this.go(this.starts[at]);
  }

  /** Hours in which nothing happened are stepped over. */
  key(event) {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!way) return;
    let at = this.bin + way;
    while (this.bins[at] && this.bins[at].messages === 0) at += way;
    if (this.bins[at]) this.go(this.starts[at]);
    event.preventDefault();
    event.stopPropagation();
  }
}
