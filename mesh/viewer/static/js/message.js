// One message in full: what was signed, checked, permitted and recorded, and how one takes it along.

import { data, h, link, replace, s, say, style } from "./dom.js";
import { HEIGHT, line } from "./drawing.js";
import { dateAndClock, fromUtc, instant, number, short, span } from "./format.js";
import { fullName, party, procedure, service } from "./names.js";
import { reading } from "./reading.js";
import { asQuery, encoded, to } from "./route.js";
import { spoken } from "./sequence.js";
import { sight } from "./sight.js";
import { either, term, t } from "./words.js";

const FORMS = ["jws", "json", "curl", "openssl"];
const PUSHES = ["event", "notice"];

export const early = true;

export function asks(route) {
  return { message: [`/message/${encoded(route.rest)}`, asQuery(route)] };
}

export function show({ route, meta, index, found: { message: found } }) {
  const row = found.row;
  // Whether somebody has it, or who of a resident's is meant, may not be known yet.
  if (!row) return { element: h("article", { class: "page letter" }, h("h1", {}, t("nav.message"), " ", h("span", { class: "quiet" }, `#${route.rest}`)), reading(index)) };
  const go = (index) => to(route.trace, "message", String(index), asQuery(route));
  const element = h("article", { class: "page letter" },
    h("header", {},
      h("p", { class: "crumbs" }, link(to(route.trace, "sequence", "", { ...asQuery(route), at: row.index }), `← ${t("message.back")}`),
        h("span", { class: "gap" }),
        found.previous === null ? null : link(go(found.previous), "‹ ", found.previous),
        found.next === null ? null : link(go(found.next), found.next, " ›")),
      h("h1", {}, row.readable ? term("kind", row.kind) : t("sealed.line"), " ", h("span", { class: "quiet" }, `#${row.index}`)),
      h("p", { class: "lead" }, row.service ? service(row.service, "subject") : null,
        h("span", { class: "way" }, party(row.from), h("span", { class: "goes" }, h("span", { class: "arrow", "aria-hidden": "true" }, "→"), party(row.to)))),
      h("p", { class: "quiet" }, when(meta, row), row.arrived_us === null ? null : ` · ${t("message.took", { span: span(row.arrived_us - row.time_us) })}`,
        row.bytes === null ? null : ` · ${number(row.bytes)} ${t("unit.bytes")}`, row.fate === "delivered" ? null : ` · ${term("fate", row.fate)}`),
      // What a refusal says, and what the gate at its other end made of it, are two things.
      found.says && found.says.name !== found.code?.name ? verdict(found.says, t("verdict.says")) : null,
      found.code ? verdict(found.code, found.says && found.says.name !== found.code.name ? t("verdict.gate") : null) : null,
      found.reason ? verdict(found.reason, t("verdict.reason")) : null),
    index.done ? null : reading(index),
    row.readable ? readable(found, meta, route, go, index.done) : sealedLine());
  return {
    element,
    keys: (event) => {
      if (event.target.closest("input, select, button, summary, a") && event.key !== "Escape") return false;
      const goes = {
        ArrowLeft: found.previous === null ? null : go(found.previous), ArrowRight: found.next === null ? null : go(found.next),
        Escape: to(route.trace, "sequence", "", { ...asQuery(route), at: row.index }),
      }[event.key];
      if (goes) location.hash = goes;
      return Boolean(goes);
    },
  };
}

/** Whether an expectation held, as a class: of what was not tried, neither. */
export function cameTo(one) {
  return !one.tried ? "untried" : one.held ? "held" : "broke";
}

export function untried(one) {
  return one.tried ? null : h("p", { class: "quiet" }, t("expectation.untried"));
}

function when(meta, row) {
  return h("time", {}, instant(meta.start_us + row.time_us));
}

function verdict(code, about = null) {
  return h("div", { class: "verdict" }, h("p", {}, about ? h("span", { class: "label" }, about) : null, h("span", { class: "code" }, data(code.name))),
    h("p", {}, data(either(code.text, code.text_ja))),
    h("p", { class: "quiet" }, t("code.fault"), ": ", term("fault", code.fault), " · ", t(code.definite ? "code.definite" : "code.indefinite")),
    h("p", { class: "quiet" }, t("code.again"), ": ", data(either(code.again_text, code.again_text_ja))),
    h("p", {}, data(either(code.fix, code.fix_ja))));
}

function sealedLine() {
  return h("section", { class: "card wide closed" }, envelope(), h("p", {}, t("message.wire")));
}

/** All about it; what ties it to others only once that is known. */
function readable(found, meta, route, go, known) {
  const { row } = found;
  return h("div", { class: "cards" },
    known ? card("message.exchange", "wide", exchange(found.exchange, row, go, meta)) : null,
    found.sight ? card("message.sight", "wide", sight(found.sight, route, PUSHES.includes(found.exchange[0]?.kind))) : null,
    h("div", { class: "stack" },
      card("message.attributes", "", table(found.attributes), found.header ? h("details", {}, h("summary", {}, t("message.header")), table(found.header)) : null),
      found.checks.length ? card("message.checks", "", checks(found.checks)) : null),
    h("div", { class: "stack" },
      card("message.content", "", content(found)),
      found.permit_attributes || found.basis ? card("message.permit", "", basis(found.basis), table(found.permit_attributes)) : null,
      known ? card("message.digests", "", digests(found.digests, go)) : null,
      found.expectations.length ? card("message.expectations", "", h("ul", { class: "expectations" }, found.expectations.map((one) =>
        h("li", { class: cameTo(one) }, data(either(one.text, one.text_ja)), untried(one))))) : null),
    found.ledger.length ? card("message.ledger", "wide", ledger(found.ledger)) : null,
    found.jws ? card("message.raw", "wide", raw(found.jws, found.copy, t("message.jws")), found.permit_jws ? raw(found.permit_jws, found.permit_copy, t("message.permitjws")) : null) : null);
}

export function card(key, kind, ...children) {
  const id = `h-${key.replace(/\W/g, "-")}`;
  return h("section", { class: `card ${kind}`, "aria-labelledby": id }, h("h2", { id }, t(key)), ...children);
}

/** The messages of one exchange as a small sequence of their own. */
function exchange(rows, here, go, meta) {
  if (!rows.length) return h("p", { class: "quiet" }, t("message.alone"));
  const parties = [...new Set(rows.flatMap((one) => [one.from, one.to]))].slice(0, 12);
  const middle = parties.findIndex((one) => one.endsWith("/broker"));
  if (middle > -1) parties.splice(1, 0, ...parties.splice(middle, 1));
  const narrow = matchMedia("(max-width: 860px)").matches;
  const each = narrow ? Math.max(76, Math.min(190, Math.floor((innerWidth - 76) / parties.length))) : 190;
  const x = (address) => parties.indexOf(address) * each + each / 2;
  const seen = new Set();
  return h("div", { class: "small" },
    h("div", { class: "smallheads" }, h("span", {}), parties.map((one) => style(party(one, "head"), { width: `${each}px` }))),
    h("ol", {}, rows.filter((one) => parties.includes(one.from) && parties.includes(one.to)).map((one) => {
      const key = [one.id, one.kind, one.from, one.to].join(" ");
      const retry = seen.has(key);
      seen.add(key);
      return h("li", { "aria-current": one.index === here.index ? "true" : false },
        h("a", { href: go(one.index) }, h("span", { class: "quiet mono" }, one.index), " ", term("kind", one.kind), " ", h("span", { class: "quiet" }, dateAndClock(meta.start_us + one.time_us)[1])),
        s("svg", { width: parties.length * each, height: HEIGHT, role: "img", "aria-label": spoken(one, retry) },
          parties.map((one) => s("path", { class: "life", d: `M ${x(one)} 0 V ${HEIGHT}` })), line(one, x(one.from), x(one.to), { retry, each })));
    })));
}

export function table(values, left_out = []) {
  if (!values || typeof values !== "object") return h("p", { class: "quiet" }, t("message.nothing"));
  return h("table", { class: "pairs" }, h("tbody", {}, Object.entries(values).filter(([name]) => !left_out.includes(name)).map(([name, value]) =>
    h("tr", {}, h("th", { scope: "row" }, data(name)), h("td", {}, isSealed(value) ? sealed(value) : meaning(name, value) ?? data(plain(value), "mono"))))));
}

const FOREVER_US = 2 ** 53 - 1;
const PARTIES = ["source", "recipient", "requester", "provider", "broker", "party"];

/** What stands behind a name of the protocol, with the name that people use. */
function meaning(name, value) {
  if (name.endsWith("_us") && typeof value === "number") return data(value >= FOREVER_US ? t("time.forever") : instant(value));
  if (["time", "expiry"].includes(name) && typeof value === "string" && fromUtc(value)) return h("span", { class: "named" }, data(fromUtc(value), "name"), " ", data(value, "mono id"));
  if (typeof value !== "string" || value === "") return null;
  if (PARTIES.includes(name)) return party(value);
  if (name === "service" || name === "type") return service(value);
  return name === "procedure" ? procedure(value) : null;
}

/** A JWE in compact form has five parts: what is sealed shows as an envelope. */
function isSealed(value) {
  return typeof value === "string" && value.length > 80 && value.split(".").length === 5;
}

function sealed(value) {
  return h("span", { class: "sealed" }, envelope(), h("span", { class: "quiet" }, t("sealed.jwe", { count: number(value.length) })));
}

export function envelope() {
  return s("svg", { class: "envelopeicon", viewBox: "0 0 24 18", width: 24, height: 18, role: "img", "aria-label": t("row.sealed") },
    s("rect", { class: "envelope", x: 1, y: 1, width: 22, height: 16, rx: 2 }), s("path", { class: "flap", d: "M 2 2.5 L 12 10.5 L 22 2.5" }),
    s("circle", { class: "wax", cx: 12, cy: 10, r: 2.6 }));
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 1);
}

function content(found) {
  const parts = [];
  if (found.subject) parts.push(h("p", {}, h("span", { class: "label" }, t("message.subject")), data(found.subject, "mono")));
  if (found.person) parts.push(h("p", {}, h("span", { class: "label" }, t("message.person")), data(found.person, "mono")));
  if (found.content?.as_of) parts.push(h("p", { class: "notes" }, t("message.asof", { time: found.content.as_of })));
  if (found.content !== null && found.content !== undefined) parts.push(tree(found.content));
  if (found.sealed.length) parts.push(h("p", { class: "sealed" }, envelope(), t("message.sealed", { parts: found.sealed.map((one) => term("part", one)).join(", ") })));
  return parts.length ? parts : h("p", { class: "quiet" }, t("message.nocontent"));
}

const DEPTH_MAX = 12;
const LENGTH_MAX = 300;

/** A JSON value as nested tables. */
export function tree(value, depth = 0) {
  if (value === null || typeof value !== "object" || depth > DEPTH_MAX) return data(value === null ? "null" : plain(value), "mono");
  const entries = Object.entries(value);
  if (!entries.length) return h("span", { class: "quiet" }, Array.isArray(value) ? "[ ]" : "{ }");
  return h("table", { class: "pairs tree" }, h("tbody", {}, entries.slice(0, LENGTH_MAX).map(([name, one]) =>
    h("tr", {}, h("th", { scope: "row" }, data(name)), h("td", {}, tree(one, depth + 1)))),
  entries.length > LENGTH_MAX ? h("tr", {}, h("td", { colspan: "2" }, "…")) : null));
}

function checks(steps) {
  const marks = { passed: "✓", failed: "✕", "not reached": "·" };
  return h("ol", { class: "checks" }, steps.map((one) => h("li", { class: `r-${one.result.replace(" ", "-")}` },
    h("span", { class: "mark", "aria-hidden": "true" }, marks[one.result] ?? "?"), data(one.of === "permit" ? either(`permit: ${one.step}`, `許可証: ${one.step_ja}`) : either(one.step, one.step_ja)),
    h("span", { class: "quiet" }, term("result", one.result)))));
}

function basis(row) {
  if (!row) return null;
  const { known, citation, ...rest } = row;
  return h("blockquote", { class: "law" }, h("p", {}, citation ? data(citation) : t(known ? "message.nocitation" : "message.nolaw")),
    h("footer", { class: "quiet" }, data(row.id, "mono"), row.procedure ? [" · ", data(either(row.procedure_title, row.procedure_title_ja) || row.procedure)] : null),
    Object.keys(rest).length > 1 ? h("details", {}, h("summary", {}, t("message.basis")), table(rest)) : null);
}

function digests(found, go) {
  const rows = [["message", found.message, null], ...["request", "permit", "reply"].map((one) => [one, found[one]?.digest, found[one]?.index])];
  return [h("table", { class: "pairs" }, h("tbody", {}, rows.map(([name, digest, index]) => h("tr", {},
    h("th", { scope: "row" }, t(`digest.${name}`)),
    h("td", {}, digest ? h("span", { class: "mono", title: digest }, short(digest)) : h("span", { class: "quiet" }, "–"),
      index === null || index === undefined ? null : [" ", link(go(index), `→ #${index}`)]))))),
  found.permit_names_request === null || found.permit_names_request === undefined ? null
    : h("p", { class: found.permit_names_request ? "held" : "broke" }, t(found.permit_names_request ? "digest.tied" : "digest.untied"))];
}

/** The rows of each party side by side: three accounts of one exchange. */
function ledger(rows) {
  const parties = [...new Set(rows.map((one) => one.party))];
  return h("div", { class: "books" }, parties.map((name) => h("section", { class: "book", "aria-label": fullName(name) },
    h("h3", {}, party(name)),
    rows.filter((one) => one.party === name).map((one) => h("div", { class: `entry v-${one.verdict}` },
      h("p", {}, h("strong", {}, term("entry", one.row?.entry ?? "?")), h("span", { class: "quiet" }, ` #${one.position}`), h("span", { class: "seal" }, term("verdict", one.verdict))),
      one.text ? h("p", { class: "trouble" }, data(one.text)) : null,
      one.row ? h("p", { class: "quiet" }, instant(one.row.time_us)) : null,
      h("details", {}, h("summary", {}, t("ledger.proof", { count: one.path.length })),
        proof(one), one.row ? table(one.row) : null))))));
}

function proof(one) {
  return h("ol", { class: "proof mono" },
    h("li", {}, h("span", { class: "label" }, t("ledger.leaf")), h("span", { title: one.leaf }, short(one.leaf))),
    one.path.map((hash, at) => h("li", {}, h("span", { class: "label" }, `+ ${at + 1}`), h("span", { title: hash }, short(hash)))),
    one.head ? h("li", {}, h("span", { class: "label" }, t("ledger.root", { size: one.head.size })), h("span", { title: one.head.root }, short(one.head.root)), " ", h("span", { class: "quiet" }, instant(one.head.time_us))) : h("li", {}, t("ledger.nohead")));
}

function raw(jws, copies, title) {
  const parts = jws.length < 20_000 && jws.split(".").length === 3 ? jws.split(".") : null;
  return h("div", { class: "raw" },
    h("div", { class: "copies" }, h("span", { class: "quiet" }, title), h("span", { class: "gap" }), h("span", { class: "quiet" }, t("copy.as")),
      FORMS.map((form) => copies?.[form] ? copyButton(form, copies[form]) : null)),
    h("pre", { class: "jws", tabindex: "0", "aria-label": title }, parts
      ? [h("span", { class: "p-header" }, data(parts[0])), ".", h("span", { class: "p-payload" }, data(parts[1])), ".", h("span", { class: "p-signature" }, data(parts[2]))]
      : data(jws)));
}

function copyButton(form, text) {
  const button = h("button", { class: "plain", "data-form": form, onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      replace(button, `✓ ${t(`copy.${form}`)}`);
      say(t("copy.done"));
    } catch {
      const area = h("textarea", { class: "copied mono", readonly: true, "aria-label": t(`copy.${form}`) });
      area.value = text;
      button.closest(".raw").append(area);
      area.select();
    }
  } }, t(`copy.${form}`));
  return button;
}

