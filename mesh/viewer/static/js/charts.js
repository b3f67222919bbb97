// Charts as tables with drawn bars: what is drawn can also be read.

import { data, h, s } from "./dom.js";
import { number, span } from "./format.js";
import { t } from "./words.js";

/** Horizontal bars; `max` is what fills the room. */
export function bars(rows, kind = "", max = Math.max(1, ...rows.map((one) => one.count))) {
  return h("table", { class: `bars ${kind}` }, h("tbody", {}, rows.map((one) => h("tr", {},
    h("th", { scope: "row" }, typeof one.name === "string" ? data(one.name) : one.name),
    h("td", {}, s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: Math.max(0.8, (100 * one.count) / max), height: 10, rx: 0.5 }))),
    h("td", { class: "figure" }, number(one.count))))));
}

const TICKS_US = [1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000];
const QUANTILES = ["p50_us", "p90_us", "p95_us", "p99_us", "max_us"];
const OTHERS = ["refused", "unfinished"];

/** Latencies of each service on one logarithmic scale: median as a dot, the rest as a line. */
export function ranges(rows) {
  const names = QUANTILES.filter((name) => rows.some((one) => typeof one[name] === "number"));
  const values = rows.flatMap((one) => names.map((name) => one[name]).filter((value) => typeof value === "number" && value > 0));
  const [low, high] = [Math.log10(Math.max(1, Math.min(...values)) * 0.7), Math.log10(Math.max(10, ...values) * 1.4)];
  const x = (value) => (200 * (Math.log10(Math.max(1, value)) - low)) / Math.max(0.1, high - low);
  const ticks = TICKS_US.filter((at) => x(at) >= 0 && x(at) <= 200);
  const axis = h("tr", { class: "axis", "aria-hidden": "true" }, h("td", { colspan: "2" }), h("td", { class: "range" }, s("svg", { viewBox: "0 0 200 16" },
    ticks.map((at) => s("text", { x: x(at), y: 13, "text-anchor": "middle" }, span(at))))));
  return h("table", { class: "list ranges" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, t("filter.service")), h("th", { scope: "col", class: "figure" }, t("outcome.exchanges")), h("th", { scope: "col" }, h("span", { class: "unseen" }, t("latency.range"))), names.map((one) => h("th", { scope: "col", class: "figure" }, one.replace("_us", "").replace("p50", t("outcome.median")))), OTHERS.map((one) => h("th", { scope: "col", class: "figure" }, t(`latency.${one}`))))),
    h("tbody", {}, axis, rows.map((one) => {
      const own = names.map((name) => one[name]).filter((value) => typeof value === "number");
      return h("tr", {}, h("th", { scope: "row" }, one.title ? [data(one.title), h("br", {})] : null, h("span", { class: "mono quiet" }, data(one.service))), h("td", { class: "figure" }, number(one.count ?? one.exchanges ?? 0)),
        h("td", { class: "range" }, s("svg", { viewBox: "0 0 200 16", "aria-hidden": "true" }, s("path", { class: "scale", d: "M 0 8 H 200" }), ticks.map((at) => s("path", { class: "scale", d: `M ${x(at)} 4 V 12` })),
          own.length ? s("path", { class: "whisker", d: `M ${x(own[0])} 8 H ${x(own[own.length - 1])}` }) : null,
          own.map((value, at) => s("circle", { class: at === 0 ? "median" : "other", cx: x(value), cy: 8, r: at === 0 ? 4 : 2.2 })))),
        names.map((name) => h("td", { class: "figure" }, typeof one[name] === "number" ? span(one[name]) : "–")),
        OTHERS.map((name) => h("td", { class: "figure" }, number(one[name] ?? 0))));
    })));
}
