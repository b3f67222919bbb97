// The sequence: parties as columns, time downwards. Rows are virtual: as many elements as fit on the screen, whatever
// the trace's length. A browser cannot make an element of 26 million pixels, so beyond `SHEET_MAX` the scroll bar
// stands for a place in the trace and the wheel moves by rows.

import { get, ofTrace } from "./api.js";
import { layOut, widthOf } from "./columns.js";
import { data, h, replace, s, say, style, visible } from "./dom.js";
import { HEIGHT, line } from "./drawing.js";
import { dateAndClock, leaf, memberOf, number, span } from "./format.js";
import { legend } from "./legend.js";
import { codeBadge, codeText, fullName, memberName, serviceName, systemName } from "./names.js";
import { Pages } from "./pages.js";
import { advance, reading } from "./reading.js";
import { asQuery, to } from "./route.js";
import { Strip } from "./strip.js";
import { term, t } from "./words.js";

export const SHEET_MAX = 8_000_000;
const [TEXT_WIDTH_MIN, TEXT_WIDTH_MAX] = [470, 640];
const FILTERS = ["q", "person", "service", "code", "kind", "node"];
const OPTIONS_MAX = 400;
const POLL_MS = 700;
const NARROW = 760;
const STACKED = 48;
const GAP_US = 500_000;

export const early = true;

/** Who and what appears from a perspective; of the whole run its own facts say that. */
export function asks(route) {
  return asQuery(route).as ? { present: ["/present", asQuery(route)] } : {};
}

export function show({ route, meta, found, signal }) {
  return new Sequence(route, signal).start(meta, found);
}

class Sequence {
  constructor(route, signal) {
    this.route = route;
    this.signal = signal;
    this.query = { ...route.query };
    this.folded = new Set((route.query.fold ?? "").split(",").filter(Boolean));
    this.top = 0;
    this.cursor = null;
    this.rows = [];
    this.high = HEIGHT;
  }

  start(meta, found) {
    this.take(meta, found);
    this.shell();
    this.load();
    const at = this.query.at;
    if (/^\d+$/.test(at ?? "")) this.jump(Number(at));
    return {
      element: this.element,
      place: this.scroller,
      shown: () => { this.watch = new ResizeObserver(() => this.resize()); this.watch.observe(this.scroller); this.resize(); },
      leave: () => { this.pages.close(); this.watch?.disconnect(); clearTimeout(this.polling); clearTimeout(this.typing); },
      keys: (event) => this.keys(event),
      renew: ({ meta: now, found: has }) => this.renew(now, has),
    };
  }

  /** Who and what appears from this perspective, once that is known: the rest has no column, and is nothing to choose. */
  take(meta, { present = meta }) {
    this.meta = meta;
    const known = this.known = present.listed ?? present.index.done;
    const here = known ? new Set(present.parties.map((one) => one.address ?? one)) : null;
    this.parties = meta.parties.filter((one) => !here || here.has(one.address));
    const met = ["residents", "services", "kinds", "codes", "fates"].map((name) => [name, known ? present[name] : []]);
    this.met = { ...Object.fromEntries(met), whole: present === meta, zones: [...new Set(this.parties.map((one) => one.zone))] };
  }

  /** There is more to see than before: rows, columns, and what there is to choose. */
  renew(meta, found) {
    this.take(meta, found);
    const held = this.narrowing.contains(document.activeElement) ? document.activeElement.name : null;
    replace(this.narrowing, this.choices());
    if (held) this.narrowing.querySelector(`[name="${held}"]`)?.focus({ preventScroll: true });
    const old = this.legend;
    this.legend = legend(this.met);
    this.legend.open = old.open;
    old.replaceWith(this.legend);
    this.tally();
    if (this.layout) this.resize();
    this.pages.renew();
    this.strip.load(this.asked());
    this.draw();
  }

  // What stands around the rows.

  shell() {
    const search = h("input", {
      type: "search", id: "search", value: this.query.q ?? "", placeholder: t("sequence.search"), "aria-label": t("sequence.search"),
      "aria-keyshortcuts": "/", spellcheck: "false", autocomplete: "off", maxlength: "200",
      oninput: () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.filter("q", search.value.trim()), 180); },
      onkeydown: (event) => {
        if (event.key === "Enter") { clearTimeout(this.typing); this.filter("q", search.value.trim()); this.scroller.focus(); event.stopPropagation(); }
        if (event.key === "Escape") { if (search.value === "") this.scroller.focus(); search.value = ""; this.filter("q", ""); event.stopPropagation(); }
      },
    });
    this.search = search;
    this.count = h("output", { class: "count" });
    this.progress = reading({ share: 0 }, "reading.trace");
    this.trouble = h("p", { class: "trouble", role: "alert", hidden: true });
    this.heads = h("div", { class: "heads", role: "row", "aria-rowindex": "1" });
    this.pane = h("div", { class: "pane", role: "presentation" });
    this.sheet = h("div", { class: "sheet", role: "presentation" }, this.heads, this.pane);
    this.scroller = h("div", {
      class: "scroller", tabindex: "0", role: "grid", "aria-label": t("nav.sequence"), "aria-colcount": "4", "aria-readonly": "true",
      onscroll: () => this.scrolled(), onclick: (event) => this.clicked(event), ondblclick: (event) => this.clicked(event, true),
    }, this.sheet);
    this.scroller.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.strip = new Strip(this.route.trace, this.meta.start_us, (offset) => { this.placed = undefined; this.moveTo(offset); this.draw(); }, this.signal);
    this.narrowing = h("div", { class: "narrowing" }, this.choices());
    this.legend = legend(this.met);
    this.element = h("section", { class: "sequencer", "aria-label": t("nav.sequence") }, h("h1", { class: "unseen" }, t("nav.sequence")),
      h("div", { class: "filters", role: "search", "aria-label": t("sequence.filters") },
        h("div", { class: "searchbox" }, search, h("kbd", { "aria-hidden": "true" }, "/")),
        this.narrowing, h("span", { class: "gap" }), this.progress, this.count),
      this.strip.element, this.trouble, this.scroller, this.legend);
  }

  choices() {
    const choice = (name, values, label = (one) => one) => (values.length || this.query[name] ? this.choice(name, values, label) : null);
    return [
      choice("node", [...new Set([...this.parties.map((one) => one.member), ...this.parties.map((one) => one.address)])], beside(fullName)),
      choice("person", this.met.residents),
      choice("service", this.met.services, beside(serviceName)),
      choice("kind", this.met.kinds, (one) => term("kind", one)),
      choice("code", this.met.codes, (one) => (codeText(one) ? `${one}  ${codeText(one)}` : one)),
      h("button", { class: "plain", id: "fold", onclick: () => this.foldAll() }, t("sequence.fold")),
    ];
  }

  choice(name, values, label) {
    const current = this.query[name] ?? "";
    const changed = (event) => this.filter(name, event.target.value);
    if (values.length > OPTIONS_MAX) {
      const list = h("datalist", { id: `list-${name}` }, values.slice(0, 5000).map((one) => h("option", { value: one, label: label(one) })));
      return h("span", {}, h("input", { class: "choice", name, value: current, list: `list-${name}`, placeholder: t(`filter.${name}`), "aria-label": t(`filter.${name}`), onchange: changed }), list);
    }
    const known = current === "" || values.includes(current) ? values : [current, ...values];
    return h("select", { class: "choice", name, "aria-label": t(`filter.${name}`), onchange: changed },
      h("option", { value: "" }, t(`filter.${name}`)),
      known.map((one) => h("option", { value: one, selected: one === current }, label(one))));
  }

  filter(name, value) {
    if ((this.query[name] ?? "") === value) return;
    this.query[name] = value;
    this.element.querySelectorAll("select.choice").forEach((one) => one.classList.toggle("set", one.value !== ""));
    this.address();
    const kept = this.cursor === null ? null : this.pages.at(this.cursor)?.index ?? null;
    this.load();
    if (kept !== null) this.jump(kept);
    else { this.moveTo(0); this.draw(); }
  }

  address() {
    const fold = [...this.folded].join(",");
    history.replaceState(null, "", to(this.route.trace, "sequence", "", { ...this.query, fold }));
  }

  asked() {
    return { ...asQuery(this.route), ...Object.fromEntries(FILTERS.map((one) => [one, this.query[one] ?? ""])) };
  }

  load() {
    this.pages?.close();
    this.cursor = null;
    this.placed = undefined;
    const asked = this.asked();
    this.pages = new Pages(
      (offset, limit, signal) => get(ofTrace(this.route.trace, "/rows"), { ...asked, offset, limit }, signal),
      (answer) => this.answered(answer),
      (error) => { this.complain(error.message); this.tally(); },
    );
    this.loaded = this.whole = this.waited = false;
    this.pages.want(0, 1);
    this.strip.load(asked);
  }

  answered(answer) {
    const before = this.whole;
    this.loaded = true;
    this.whole = answer.index.done;
    advance(this.progress, answer.index);
    this.complain(answer.note);
    this.tally();
    this.size();
    this.settle();
    this.draw();
    if (!this.whole) { this.await(); return; }
    // What was read early does not know yet to which exchange it belongs, nor where it stands.
    if (!before && this.waited) {
      this.pages.renew();
      this.strip.load(this.asked());
      if (this.jumped !== undefined) this.jump(this.jumped);
      this.draw();
    }
    this.waited = false;
  }

  /** While the server still reads the trace, there is more to come. */
  await() {
    this.waited = true;
    clearTimeout(this.polling);
    const pages = this.pages;
    this.polling = setTimeout(async () => {
      try {
        const answer = await get(ofTrace(this.route.trace, "/rows"), { ...this.asked(), offset: 0, limit: 1 }, this.signal);
        if (pages !== this.pages) return;
        pages.grow(answer.total ?? 0);
        this.answered(answer);
      } catch (error) {
        if (error.name !== "AbortError") this.await();
      }
    }, POLL_MS);
  }

  complain(text) {
    this.trouble.hidden = !text;
    replace(this.trouble, text ? data(text) : null);
  }

  /** How many there are, once that is known. */
  tally() {
    this.progress.hidden = (this.whole && this.known) || !this.loaded;
    const filtered = FILTERS.some((one) => this.query[one]);
    const text = !this.whole ? "" : t(filtered ? "sequence.found" : "sequence.count", { count: number(this.pages.total) });
    if (this.count.textContent !== text) this.count.textContent = text;
  }

  async jump(index) {
    this.scroller.setAttribute("aria-busy", "true");
    try {
      const found = await get(ofTrace(this.route.trace, "/position"), { ...this.asked(), index }, this.signal);
      // Where it stands among what is wanted is known for sure once all was read.
      this.jumped = found.index?.done === false ? index : undefined;
      if (found.offset === undefined) return;
      this.pending = this.cursor = found.offset;
      this.settle();
    } catch (error) {
      if (error.name !== "AbortError") this.complain(error.message);
    } finally {
      if (this.pending === undefined) this.arrived();
    }
  }

  /** The rows on the screen are those that the link points to. */
  arrived() {
    this.scroller.removeAttribute("aria-busy");
  }

  /** Go where the link points, once there are rows and room to show them. */
  settle() {
    if (this.pending === undefined || !this.layout || !this.loaded) return;
    const offset = this.placed = this.pending;
    this.pending = undefined;
    this.moveTo(offset - this.fits / 3);
    this.select(offset, false);
    this.arrived();
  }

  // Measures.

  resize() {
    const room = this.scroller.clientWidth;
    // Where there is no room for text and drawing side by side, one stands above the other.
    const stacked = room < NARROW;
    this.high = stacked ? STACKED : HEIGHT;
    this.sheet.classList.toggle("stacked", stacked);
    this.textWidth = stacked ? 0 : Math.max(TEXT_WIDTH_MIN, Math.min(TEXT_WIDTH_MAX, room - widthOf(this.parties, this.folded)));
    this.layout = layOut(this.parties, this.folded, room - this.textWidth);
    style(this.sheet, { width: `${Math.max(room, this.textWidth + this.layout.width)}px`, "--text": `${this.textWidth}px`, "--room": `${room}px`, "--high": `${this.high}px` });
    this.drawHeads();
    this.size();
    this.lifelines();
    // Where nobody has scrolled since, the link's row stands as it would have in this room.
    this.pending ??= this.placed;
    this.settle();
    this.draw(true);
  }

  size() {
    if (!this.layout) return;
    const head = this.heads.offsetHeight;
    this.room = Math.max(0, this.scroller.clientHeight - head);
    this.fits = Math.max(1, Math.floor(this.room / this.high));
    const wanted = this.pages.total * this.high + 12;
    this.scaled = wanted > SHEET_MAX;
    style(this.sheet, { height: `${head + Math.max(this.room, Math.min(wanted, SHEET_MAX))}px` });
    style(this.pane, { top: `${head}px`, height: `${this.room}px` });
    this.scroller.setAttribute("aria-rowcount", String(this.whole ? this.pages.total + 1 : -1));
    this.topMax = Math.max(0, this.pages.total - this.fits);
  }

  scrolled() {
    if (!this.layout || Math.abs(this.scroller.scrollTop - (this.own ?? -1)) < 1) { this.draw(); return; }
    this.own = this.placed = undefined;
    const range = this.scroller.scrollHeight - this.scroller.clientHeight;
    this.top = this.scaled ? (this.scroller.scrollTop / Math.max(1, range)) * this.topMax : this.scroller.scrollTop / this.high;
    this.draw();
  }

  wheel(event) {
    if (!this.scaled || event.ctrlKey || event.shiftKey || event.deltaY === 0) return;
    event.preventDefault();
    this.placed = undefined;
    const rows = event.deltaMode === 1 ? event.deltaY : event.deltaMode === 2 ? event.deltaY * this.fits : event.deltaY / this.high;
    this.moveTo(this.top + rows);
    this.draw();
  }

  moveTo(top) {
    if (!this.layout) return;
    this.top = Math.max(0, Math.min(this.topMax, top));
    const range = this.scroller.scrollHeight - this.scroller.clientHeight;
    this.scroller.scrollTop = this.scaled ? (this.top / Math.max(1, this.topMax)) * range : this.top * this.high;
    this.own = this.scroller.scrollTop;
  }

  // Drawing.

  drawHeads() {
    const narrow = this.layout.each < 104;
    this.heads.classList.toggle("narrow", narrow);
    const groups = this.layout.groups.map((group) => style(h("div", { class: `member z-${group.zone}`, role: "columnheader" }, h("button", {
      "aria-expanded": String(!group.folded), title: `${[...new Set([memberName(group.member), group.member])].join(" · ")} · ${term("zone", group.zone)}`,
      onclick: () => this.fold(group.key),
    }, h("i", { class: "band" }), h("span", {}, group.parties.length > 1 ? h("b", { "aria-hidden": "true" }, group.folded ? "+" : "–") : null, data(memberName(group.member))),
    memberName(group.member) === group.member ? null : data(group.member, "mono id"))),
    { left: `${this.layout.columns[group.start].x - this.layout.each / 2}px`, width: `${(group.end - group.start) * this.layout.each}px` }));
    const nodes = this.layout.columns.map((column) => style(h("div", { class: "node", title: column.group.folded ? column.key : [...new Set([fullName(column.key), column.key])].join(" · ") },
      column.group.folded ? h("span", {}, t("sequence.nodes", { count: column.addresses.length })) : [h("span", {}, data(systemName(column.key))), systemName(column.key) === leaf(column.key) ? null : data(leaf(column.key), "mono id")]),
    { left: `${column.x - this.layout.each / 2}px`, width: `${this.layout.each}px` }));
    replace(this.heads,
      h("div", { class: "corner" },
        h("span", { role: "columnheader", class: "c-number" }, t("column.number")), h("span", { role: "columnheader", class: "c-time" }, t("column.time")),
        h("span", { role: "columnheader", class: "c-text" }, t("column.message"))),
      h("div", { class: "parties" }, groups, nodes));
  }

  lifelines() {
    this.back = s("svg", { class: "lifelines", "aria-hidden": "true", width: this.layout.width, height: this.room },
      this.layout.groups.map((group) => s("rect", { class: `lane z-${group.zone}`, x: this.layout.columns[group.start].x - this.layout.each / 2, y: 0, width: (group.end - group.start) * this.layout.each, height: this.room })),
      this.layout.columns.map((column) => s("path", { class: `life z-${column.group.zone}`, d: `M ${column.x} 0 V ${this.room}` })));
    this.rows = [];
    replace(this.pane, this.back);
  }

  draw(anew = false) {
    if (!this.layout) return;
    const count = Math.min(this.fits + 2, this.pages.total);
    while (this.rows.length < count) this.rows.push(this.newRow());
    while (this.rows.length > count) this.rows.pop().element.remove();
    const first = Math.floor(this.top);
    this.pages.want(first, first + count);
    const chosen = this.cursor === null ? undefined : this.pages.at(this.cursor);
    this.rows.forEach((shown, at) => {
      const offset = first + at;
      const row = this.pages.at(offset);
      style(shown.element, { transform: `translateY(${(offset - this.top) * this.high}px)` });
      shown.element.hidden = offset >= this.pages.total;
      if (anew || shown.row !== row || shown.offset !== offset || at < 2 || (row === undefined && !shown.blank)) this.fill(shown, row, offset);
      shown.element.classList.toggle("chosen", offset === this.cursor);
      shown.element.setAttribute("aria-selected", String(offset === this.cursor));
      shown.element.classList.toggle("kin", Boolean(chosen && row && chosen.exchange !== null && row.exchange === chosen.exchange));
    });
    const last = Math.min(this.pages.total - 1, Math.floor(this.top + this.fits));
    if (last >= 0) this.strip.show(Math.ceil(this.top), last, this.pages.at(Math.ceil(this.top))?.time_us, this.pages.at(last)?.time_us);
    if (this.whole && this.pages.total === 0) this.pane.dataset.empty = t(FILTERS.some((one) => this.query[one]) ? "sequence.none" : "sequence.empty");
    else delete this.pane.dataset.empty;
    const active = this.rows.find((shown) => shown.offset === this.cursor);
    if (active) this.scroller.setAttribute("aria-activedescendant", active.element.id);
    else this.scroller.removeAttribute("aria-activedescendant");
  }

  newRow() {
    const parts = {
      number: h("span", { role: "gridcell", class: "c-number" }), time: h("span", { role: "gridcell", class: "c-time" }),
      text: h("span", { role: "gridcell", class: "c-text" }), drawing: s("svg", { role: "gridcell", class: "drawing", height: HEIGHT }),
    };
    const gap = h("span", { class: "between" });
    const element = h("div", { class: "row", role: "row" }, h("div", { class: "texts" }, parts.number, parts.time, parts.text), parts.drawing, gap);
    this.pane.append(element);
    return { element, gap, ...parts };
  }

  fill(shown, row, offset) {
    Object.assign(shown, { row, offset, blank: row === undefined });
    shown.element.id = `row-${offset}`;
    shown.element.setAttribute("aria-rowindex", String(offset + 2));
    shown.element.classList.toggle("blank", row === undefined);
    if (row === undefined) {
      replace(shown.number); replace(shown.time); replace(shown.text); replace(shown.drawing); shown.gap.hidden = true;
      return;
    }
    const begins = row.exchange === null || row.exchange === row.index;
    shown.element.classList.toggle("begins", begins);
    replace(shown.number, row.index);
    replace(shown.time, dateAndClock(this.meta.start_us + row.time_us)[1]);
    const gap = this.between(row, offset);
    shown.gap.hidden = !gap;
    replace(shown.gap, gap);
    replace(shown.text, h("span", { class: "says" }, text(row, begins, this.within(row))));
    shown.drawing.setAttribute("width", this.layout.width);
    const [from, goes] = [this.layout.of.get(row.from), this.layout.of.get(row.to)];
    const retry = this.isRetry(row, offset);
    replace(shown.drawing, from && goes ? line(row, from.x, goes.x, { retry, each: this.layout.each }) : null,
      from && goes ? [from, goes].map((one) => s("circle", { class: "foot", cx: one.x, cy: HEIGHT / 2, r: 2 })) : null);
    shown.drawing.setAttribute("aria-label", spoken(row, retry));
  }

  /** Who of those that share a column it was. */
  within(row) {
    const shared = [row.from, row.to].filter((one) => this.layout.of.get(one)?.addresses.length > 1);
    return shared.map((one) => (this.layout.of.get(one).group.bundled ? memberName(memberOf(one)) : systemName(one))).join(" → ");
  }

  /** How much time passed since the row above, where it was more than an answer takes; and the day, where another begins. */
  between(row, offset) {
    const before = this.pages.at(offset - 1);
    if (!before || row.time_us - before.time_us < GAP_US) return "";
    const [day, next] = [before, row].map((one) => dateAndClock(this.meta.start_us + one.time_us)[0]);
    return `+${span(row.time_us - before.time_us)}${day === next ? "" : `  ${next}`}`;
  }

  /** The same message went the same way before: it is sent again. */
  isRetry(row, offset) {
    if (row.id === null || row.exchange === null) return false;
    for (let back = offset - 1; back >= Math.max(0, offset - 400); back -= 1) {
      const before = this.pages.at(back);
      if (!before || before.index < row.exchange) return false;
      if (before.id === row.id && before.kind === row.kind && before.from === row.from && before.to === row.to) return true;
    }
    return false;
  }

  // Hands.

  select(offset, own = true) {
    if (!this.loaded || !this.layout) return;
    if (own) this.jumped = this.placed = undefined;
    this.cursor = Math.max(0, Math.min(this.pages.total - 1, offset));
    if (this.cursor < this.top) this.moveTo(this.cursor);
    if (this.cursor > this.top + this.fits - 1) this.moveTo(this.cursor - this.fits + 1);
    const row = this.pages.at(this.cursor);
    if (row) {
      this.query.at = String(row.index);
      this.address();
      say(`${row.index}. ${spoken(row, false)}`);
    }
    this.draw();
  }

  clicked(event, twice = false) {
    const element = event.target.closest(".row");
    if (!element || getSelection().toString() !== "") return;
    const shown = this.rows.find((one) => one.element === element);
    if (!shown?.row) return;
    const again = this.cursor === shown.offset;
    this.select(shown.offset);
    if (again || twice) this.open();
  }

  open() {
    const row = this.cursor === null ? undefined : this.pages.at(this.cursor);
    if (row) location.hash = to(this.route.trace, "message", String(row.index), asQuery(this.route));
  }

  keys(event) {
    if (event.target.closest("input, select, button, a, summary, [role=slider]")) return false;
    const at = this.cursor ?? Math.ceil(this.top) - 1;
    const steps = {
      ArrowDown: () => this.select(at + 1), ArrowUp: () => this.select(Math.max(0, at - 1)),
      PageDown: () => this.select(at + this.fits), PageUp: () => this.select(at - this.fits),
      Home: () => this.select(0), End: () => this.select(this.pages.total - 1),
      ArrowRight: () => this.along(1), ArrowLeft: () => this.along(-1),
      Enter: () => this.open(), "/": () => { this.search.focus(); this.search.select(); },
      Escape: () => { this.cursor = null; delete this.query.at; this.address(); this.draw(); },
    };
    const step = steps[event.key];
    step?.();
    return Boolean(step);
  }

  /** To the next message of the same exchange, as far as the rows around are there. */
  along(way) {
    const here = this.cursor === null ? undefined : this.pages.at(this.cursor);
    for (let at = (this.cursor ?? 0) + way; here; at += way) {
      const row = this.pages.at(at);
      if (!row) return;
      if (row.exchange === here.exchange) { this.select(at); return; }
    }
  }

  fold(key) {
    if (!this.folded.delete(key)) this.folded.add(key);
    this.address();
    this.resize();
    [...this.heads.querySelectorAll("button")][this.layout.groups.findIndex((one) => one.key === key)]?.focus();
  }

  foldAll() {
    const many = this.layout.groups.filter((one) => one.parties.length > 1).map((one) => one.key);
    this.folded = new Set(many.every((one) => this.folded.has(one)) ? [] : many);
    this.address();
    this.resize();
  }
}

/** A name with what it stands for, for a list in which there is no second line. */
function beside(name) {
  return (one) => (name(one) === one ? one : `${name(one)}  ${one}`);
}

/** What a row says. The first of an exchange has the service's title, the others its id; what has no room is not cut, but left out. */
function text(row, begins, within) {
  if (!row.readable) return [h("span", { class: "kind" }, t("sealed.line")), h("span", { class: "quiet" }, t("sealed.bytes", { count: number(row.bytes) }))];
  const [id, title] = [row.service ?? "", serviceName(row.service ?? "")];
  const lost = row.fate !== "delivered" && row.fate !== "sent";
  return [
    h("span", { class: "main" }, h("span", { class: `kind k-${row.kind}` }, data(term("kind", row.kind || "null"))),
      h("span", { class: begins ? "service" : "service again", title: title === id ? id : `${title} · ${id}` }, begins || title === id ? data(title) : data(id, "mono id")),
      row.says && row.says !== row.code ? [codeBadge(row.says), h("span", { class: "again" }, t("verdict.gate"))] : null, row.code ? codeBadge(row.code) : null, lost ? h("span", { class: "fate" }, term("fate", row.fate)) : null),
    within ? data(within, "who") : null,
    begins && title !== id ? data(id, "mono id") : null,
    row.items?.length ? h("span", { class: "quiet items" }, data(row.items.join(" "))) : null,
  ];
}

/** The row in words, for those who hear it. */
export function spoken(row, retry) {
  const words = [row.readable ? term("kind", row.kind) : t("sealed.line"), t("row.fromto", { from: fullName(row.from), to: fullName(row.to) })];
  if (row.service) words.push(serviceName(row.service));
  if (row.permitted) words.push(t("row.permitted"));
  if (retry) words.push(t("row.retry"));
  if (row.refused) words.push(t("row.refused"));
  if (row.code) words.push(codeText(row.code) || row.code);
  if (row.sealed?.length) words.push(t("row.sealed"));
  if (row.fate !== "delivered") words.push(term("fate", row.fate));
  return visible(words.join(", "));
}

