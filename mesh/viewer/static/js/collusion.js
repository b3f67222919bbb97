// Two parties lay their records together: what they can join, and what not.

import { data, h, link, s, visible } from "./dom.js";
import { number } from "./format.js";
import { fullName, party } from "./names.js";
import { choices } from "./perspective.js";
import { asQuery, to } from "./route.js";
import { t } from "./words.js";

export const title = "collusion.title";

/** Which two: whom the address names, or two members. */
function pair(route, meta) {
  const members = [...new Set(meta.parties.map((one) => one.member))].filter((one) => one !== "gov/digital");
  const first = route.query.first || members[0] || "";
  return [first, route.query.second || members.find((one) => one !== first) || ""];
}

export function asks(route, meta) {
  const [first, second] = pair(route, meta);
  return first && second ? { joins: ["/joins", { first, second, ...asQuery(route) }, true] } : {};
}

export function show({ route, meta, found: { joins } }) {
  const names = choices(meta).filter((one) => !["residents"].includes(one.group) && !["everything", "wire"].includes(one.name)).map((one) => one.name);
  const [first, second] = pair(route, meta);
  const list = h("datalist", { id: "names" }, [...new Set(names)].slice(0, 3000).map((one) => h("option", { value: one, label: fullName(one) })));
  const input = (name, value) => h("label", {}, h("span", {}, t(`collusion.${name}`), value && fullName(value) !== value ? [" · ", h("strong", {}, data(fullName(value)))] : null), h("input", { name, list: "names", value, class: "mono", spellcheck: "false", autocomplete: "off", maxlength: "200" }));
  const form = h("form", { class: "choose", onsubmit: (event) => {
    event.preventDefault();
    location.hash = to(route.trace, "collusion", "", { ...asQuery(route), first: form.elements.first.value.trim(), second: form.elements.second.value.trim() });
  } }, input("first", first), h("span", { class: "and", "aria-hidden": "true" }, "+"), input("second", second), list, h("button", { class: "go" }, t("collusion.go")));
  const wrong = joins?.error;
  const result = h("div", { "aria-live": "polite" }, !joins ? null
    : wrong ? h("p", { class: "trouble", role: "alert" }, wrong.why ? t(`absent.${wrong.why}`) : data(wrong.message)) : outcome(joins, first, second, route));
  return { element: h("section", { class: "page collusion" }, h("h1", {}, t(title)), h("p", { class: "lead" }, t("collusion.explain")), form, result) };
}

function outcome(found, first, second, route) {
  const count = found.count ?? found.joined.length;
  // Whom both know, and so whom they cannot join, is known to the run alone.
  const known = found.known_to_both;
  return [
    h("div", { class: "venn" }, known === null ? null : venn(found, first, second),
      h("dl", { class: "bigs" },
        known === null ? null : h("div", {}, h("dt", {}, t("collusion.known")), h("dd", {}, number(known))),
        h("div", { class: "can" }, h("dt", {}, t("collusion.joinable")), h("dd", {}, number(found.joinable))),
        known === null ? null : h("div", { class: "cannot" }, h("dt", {}, t("collusion.apart")), h("dd", {}, number(Math.max(0, known - found.joinable)))))),
    found.translators.length
      ? found.translators.map((one) => h("p", { class: "notes translate" }, t("collusion.translate", { who: visible(fullName(one) === one ? one : `${fullName(one)} (${one})`) })))
      : h("p", {}, t(count ? "collusion.can" : "collusion.cannot")),
    count ? h("table", { class: "list" }, h("caption", {}, t("collusion.pairs", { shown: number(found.joined.length), count: number(count) })),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, party(first)), h("th", { scope: "col" }, party(second)), h("th", { scope: "col" }, t("collusion.by")))),
      h("tbody", {}, found.joined.map((one) => h("tr", {}, h("td", {}, data(one.first, "mono")), h("td", {}, data(one.second, "mono")),
        h("td", {}, one.index === null || one.index === undefined ? data(one.message, "mono") : [link(to(route.trace, "message", String(one.index)), `#${one.index}`),
            one.exchanges > 1 ? h("div", {}, t("collusion.more", { count: number(one.exchanges - 1) })) : null]))))) : null,
    h("p", {}, link(to(route.trace, "sequence", "", { as: `${first}+${second}` }), t("collusion.see"))),
  ];
}

/** Two circles; what of the people in both is joined is filled, the rest hatched. */
function venn(found, first, second) {
  const part = found.known_to_both ? found.joinable / found.known_to_both : 0;
  const lens = "M 210 44.7 A 90 90 0 0 1 210 195.3 A 90 90 0 0 1 210 44.7 Z";
  const label = (text) => { const shown = data(text).textContent; return shown.length > 24 ? `${shown.slice(0, 23)}…` : shown; };
  return s("svg", { viewBox: "0 0 420 250", class: "circles", role: "img", "aria-label": t("collusion.figure", { known: found.known_to_both, joinable: found.joinable }) },
    s("defs", {}, s("clipPath", { id: "lens" }, s("path", { d: lens })),
      s("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("path", { d: "M 0 0 V 6" }))),
    s("g", { "clip-path": "url(#lens)" }, s("rect", { x: 120, y: 30, width: 180, height: 180, fill: "url(#hatch)", class: "apart" }),
      s("rect", { class: "joined", x: 120, y: 195.3 - 150.6 * part, width: 180, height: 150.6 * part + 20 })),
    s("circle", { cx: 160.7, cy: 120, r: 90, class: "ring" }), s("circle", { cx: 259.3, cy: 120, r: 90, class: "ring" }),
    s("text", { x: 130, y: 236, "text-anchor": "middle" }, label(fullName(first))), s("text", { x: 290, y: 236, "text-anchor": "middle" }, label(fullName(second))),
    s("text", { x: 210, y: 126, "text-anchor": "middle", class: "in" }, `${found.joinable} / ${found.known_to_both}`));
}
