// The runs under way: those that this server started, with Stop, and those that others record into the folder.

import { get, remove } from "./api.js";
import { data, h, replace, say } from "./dom.js";
import { number, span } from "./format.js";
import { encoded, to } from "./route.js";
import { either, t } from "./words.js";

const POLL_MS = 400;
const REST_MS = 2500;
const SPEAK_MS = 5000;

export class Underway {
  /** `changed()` is told when there are other traces than before. */
  constructor(signal, changed) {
    Object.assign(this, { signal, changed, cards: new Map(), spoken: 0 });
    this.wrong = h("div", {});
    this.list = h("div", { class: "undercards" });
    this.element = h("section", { class: "underway", "aria-labelledby": "underway", hidden: true },
      h("h2", { id: "underway" }, t("runs.underway")), h("div", { class: "live", id: "live" }, this.wrong, this.list));
  }

  async begin() { await this.ask(); }

  close() { clearTimeout(this.timer); }

  /** A run was started from here: show it, also if it ends before anybody asks. */
  started(run) {
    replace(this.wrong);
    this.own = run;
    say(t("runs.running"));
    clearTimeout(this.timer);
    this.ask();
  }

  complain(text) {
    replace(this.wrong, h("p", { class: "trouble", role: "alert" }, data(text)));
    this.element.hidden = false;
  }

  async ask() {
    let rest = REST_MS;
    try {
      const { runs } = await get("/api/runs", {}, this.signal);
      if (this.lost) replace(this.wrong);
      this.lost = false;
      this.draw(runs);
      if (runs.some((one) => !one.ended)) rest = POLL_MS;
    } catch (error) {
      if (error.name === "AbortError") return;
      this.complain(t("runs.lost"));
      this.lost = true;
    }
    if (!this.signal.aborted) this.timer = setTimeout(() => this.ask(), rest);
  }

  /** Each run in its card; what ended stays only where it was seen to run. */
  draw(runs) {
    const before = new Set(this.cards.keys());
    const shown = runs.filter((one) => !one.ended || this.cards.has(key(one)) || one.run === this.own);
    let other = shown.length !== before.size;
    for (const one of shown) {
      if (!this.cards.has(key(one))) this.cards.set(key(one), new Card(one));
      const card = this.cards.get(key(one));
      if (one.ended && !card.ended) { other = true; this.tell(one); }
      card.draw(one);
      before.delete(key(one));
    }
    for (const gone of before) { this.cards.get(gone).element.remove(); this.cards.delete(gone); }
    const elements = shown.map((one) => this.cards.get(key(one)).element);
    elements.forEach((one, at) => { if (this.list.children[at] !== one) this.list.insertBefore(one, this.list.children[at] ?? null); });
    this.name(shown);
    this.element.hidden = !shown.length && !this.wrong.firstChild;
    if (other && this.asked) this.changed().catch(() => {});
    this.asked = true;
    const newest = shown.find((one) => !one.ended);
    if (newest && Date.now() - this.spoken > SPEAK_MS) { this.spoken = Date.now(); say(`${number(newest.messages)} ${t("unit.messages")}`); }
  }

  /** The newest of those that run, and of those that ended, have names that one can find. */
  name(shown) {
    for (const [id, ended] of [["growing-run", false], ["open-run", true]]) {
      const links = shown.filter((one) => one.ended === ended).map((one) => this.cards.get(key(one)).link).filter(Boolean);
      links.forEach((one, at) => { if (at) one.removeAttribute("id"); else one.setAttribute("id", id); });
    }
  }

  tell(one) { say(one.stopped || !one.failed ? t(one.stopped ? "runs.stopped" : one.held ? "runs.held" : "runs.broke") : one.failed); }
}

function key(one) {
  return one.run === null ? `trace ${one.trace}` : `run ${one.run}`;
}

/** One run: how far it is, or what came of it. */
class Card {
  constructor(one) {
    this.count = h("strong", { class: "big" }, "0");
    this.elapsed = h("span", { class: "quiet" });
    this.pulse = h("progress", { "aria-label": t("runs.running") });
    this.stop = one.run === null ? h("p", { class: "quiet" }, t("runs.elsewhere"))
      : h("button", { class: "plain", onclick: () => this.end(one.run) }, t("runs.stop"));
    this.more = h("div", { class: "more" });
    this.element = h("article", { class: "undercard" }, h("h3", {}, data(either(one.title, one.title_ja) || one.scenario || one.trace)),
      h("p", { class: "quiet" }, data(one.trace, "mono")), this.pulse, h("p", {}, this.count, " ", t("unit.messages"), " ", this.elapsed), this.more, this.stop);
  }

  end(run) {
    this.stop.disabled = true;
    replace(this.stop, t("runs.stopping"));
    remove(`/api/runs/${encoded(run)}`).catch(() => { this.stop.disabled = false; replace(this.stop, t("runs.stop")); });
  }

  draw(one) {
    this.count.textContent = number(one.messages);
    this.elapsed.textContent = t("runs.meshtime", { span: span(one.mesh_time_us) });
    if (one.ended) { this.over(one); return; }
    // Progress is told with what was committed, so that the trace can be opened from then on.
    if (one.messages && !this.link) {
      this.link = h("a", { class: "go", href: to(one.trace), target: "_blank", rel: "noopener" }, t("runs.growing"));
      replace(this.more, h("p", {}, this.link));
    }
  }

  over(one) {
    if (this.ended) return;
    this.ended = true;
    this.pulse.remove();
    this.stop.remove();
    this.link = h("a", { class: "go", href: to(one.trace) }, t("runs.look"));
    const failed = one.stopped ? h("p", { class: "quiet" }, t("runs.stopped")) : one.failed ? h("p", { class: "trouble", role: "alert" }, data(one.failed)) : null;
    replace(this.more, failed ?? h("p", { class: one.held ? "held" : "broke" }, t(one.held ? "runs.held" : "runs.broke")),
      one.broke_off ? h("p", { class: "quiet" }, t("runs.brokeoff"), " ", data(one.broke_off, "mono")) : null,
      one.failed && !one.messages ? null : h("p", {}, this.link));
  }
}
