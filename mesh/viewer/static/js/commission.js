// The commission's page: the records of asker, broker and answerer laid side by side, and what does not fit.

import { data, h, link, s } from "./dom.js";
import { moment, number, short } from "./format.js";
import { card } from "./message.js";
import { codeBadge, party, procedure, service, serviceName } from "./names.js";
import { asQuery, to } from "./route.js";
import { either, term, t } from "./words.js";

const FLOW = ["opened", "permitted", "answered", "closed"];
const FACTS = ["service", "provider", "procedure", "items", "person", "requestdigest", "permitdigest", "replydigest", "code", "undisclosed"];
const RECORDS_MAX = 50;
const BOOKS_MAX = 500;

export const title = "commission.title";
export const waits = "commission.comparing";

export function asks(route) {
  return { commission: ["/commission", asQuery(route)] };
}

export function show({ route, found: { commission: found } }) {
  return {
    element: h("section", { class: "page commission" }, h("header", {}, h("h1", {}, t(title)), h("p", { class: "lead" }, t("commission.about"))),
      found.outdated ? h("p", { class: "notes" }, t("commission.outdated")) : null, h("div", {}, result(found, route))),
  };
}

function result(found, route) {
  if (found.error) return h("p", { class: "trouble", role: "alert" }, data(found.error));
  const { exchanges, messages, parties, anomalies, records } = found;
  const wrong = anomalies.length + (found.more ?? 0);
  const alone = anomalies.filter((one) => !records.some((record) => belongs(one, record)));
  return [
    h("div", { class: `seal-of ${wrong ? "unsound" : "sound"}` }, h("span", { class: "hanko", "aria-hidden": "true" }, wrong ? "否" : "合"),
      h("div", {}, h("strong", {}, wrong ? t(wrong === 1 ? "commission.unsound1" : "commission.unsound", { count: number(wrong) }) : t("commission.sound")),
        wrong ? h("p", { class: "quiet" }, t(records.length === 1 && !alone.length ? "commission.where1" : "commission.where", { exchanges: number(records.length), others: number(alone.length) })) : null)),
    records.length ? h("section", { class: "differing", "aria-labelledby": "h-differing" }, h("h2", { id: "h-differing" }, t("commission.records")),
      records.slice(0, RECORDS_MAX).map((record) => differing(record, anomalies.filter((one) => belongs(one, record)), route))) : null,
    h("div", { class: "cards" },
      alone.length ? card("commission.anomalies", "wide", list(alone, route)) : null,
      found.more ? h("p", { class: "quiet wide" }, t("commission.left", { count: number(found.more) })) : null,
      card("commission.exchanges", "", flow(exchanges)),
      card("commission.checked", "", tally({ ...messages, ...Object.fromEntries(Object.entries(exchanges).filter(([name]) => !FLOW.includes(name)).map(([name, count]) => [`x_${name}`, count])) })),
      card("commission.parties", "wide", books(parties, anomalies))),
  ];
}

function belongs(anomaly, record) {
  return anomaly.message === record.message && anomaly.requester === record.requester;
}

/** One exchange whose records differ: what, who says what, and where its messages are. */
function differing(record, anomalies, route) {
  const texts = [...new Map(anomalies.map((one) => [one.text, one])).values()];
  const [first, ...others] = texts;
  const row = record.rows.find((one) => one.row.service)?.row;
  const index = anomalies.find((one) => one.index !== null)?.index ?? null;
  return h("article", { class: "card record" },
    h("header", {}, h("h3", {}, first ? data(either(first.text, first.text_ja)) : null), first ? codeBadge(first.code) : null,
      h("span", { class: "gap" }), index === null ? null : link(to(route.trace, "message", String(index)), t("nav.message"), ` #${index}`)),
    others.length ? h("ul", { class: "further" }, others.map((one) => h("li", {}, data(either(one.text, one.text_ja))))) : null,
    h("p", { class: "quiet" }, row ? [data(serviceName(row.service)), " · "] : null, data(record.message, "mono")),
    h("div", { class: "accounts-of" }, accounts(record)));
}

/** Each party's rows as columns, each fact as a line; what is missing or differs is marked. */
function accounts(record) {
  const columns = lay(record);
  const facts = FACTS.map((name) => [name, columns.map((one) => (one.row ? said(one, name) : undefined))])
    .filter(([, values]) => values.some((value) => value !== undefined));
  const groups = [];
  for (const one of columns) {
    if (groups.at(-1)?.party === one.party) groups.at(-1).count += 1;
    else groups.push({ party: one.party, count: 1 });
  }
  return h("table", { class: "accounts" },
    h("thead", {},
      h("tr", {}, h("td", {}), groups.map((one) => h("th", { scope: "colgroup", colspan: String(one.count) }, party(one.party)))),
      h("tr", {}, h("td", {}), columns.map((one) => h("th", { scope: "col", class: one.row ? "" : "absent" }, term("entry", one.entry),
        one.row ? h("small", {}, `#${one.position} · ${moment(one.row.time_us)}`) : h("small", {}, `✕ ${t("commission.absent")}`))))),
    h("tbody", {}, facts.map(([name, values]) => {
      // Who of them is right the records alone do not say: where they differ, all are marked.
      const differ = new Set(values.filter((value) => value !== undefined)).size > 1 && !(name === "replydigest" && isPush(record));
      return h("tr", { class: differ ? "odd" : "" }, h("th", { scope: "row" }, differ ? h("span", { class: "mark", role: "img", "aria-label": t("commission.differs") }, "≠ ") : null, term("fact", name)),
        values.map((value, at) => h("td", { class: columns[at].row ? "" : "absent" },
          value !== undefined ? shown(name, value) : columns[at].row ? h("span", { class: "quiet" }, "–") : null)));
    })));
}

/** A push is acknowledged twice: by the broker to its publisher, and by each subscriber to the broker. */
function isPush(record) {
  return record.rows.some((one) => one.row.entry === "closed" && one.party === record.requester && !one.row.permitdigest && !one.row.code);
}

/** The rows by party, with those that ought to be there and are not. */
function lay(record) {
  const rows = record.rows;
  const has = (entry) => rows.some((one) => one.row.entry === entry);
  const known = rows.find((one) => one.row.entry === "opened") ?? rows[0];
  const broker = rows.find((one) => one.row.entry === "permitted")?.party;
  const columns = rows.map((one) => ({ ...one, entry: one.row.entry }));
  if (!has("opened")) columns.unshift({ party: record.requester, entry: "opened" });
  const provider = known?.row.provider;
  if (provider && has("permitted") && !has("answered") && rows.some((one) => one.row.entry === "closed" && !one.row.code)) columns.push({ party: provider, entry: "answered" });
  const rank = (one) => (one.party === record.requester ? 0 : one.party === broker ? 1 : 2);
  return columns.map((one, at) => [rank(one), one.party, one.row ? 1 : 0, at, one])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] - b[2] || a[3] - b[3])).map((one) => one[4]);
}

function said(one, name) {
  const value = name === "person" ? one.person : one.row[name];
  return value === null || value === undefined || value === "" ? undefined : String(value);
}

function shown(name, value) {
  if (name === "service") return service(value);
  if (name === "procedure") return procedure(value);
  if (name === "provider") return party(value);
  return name.endsWith("digest") ? h("span", { class: "mono", title: value }, short(value)) : data(value, "mono");
}

/** What the three wrote about all exchanges: opened by the asker, permitted by the broker, answered, closed. */
function flow(exchanges) {
  // Two close each exchange, so that twice as many rows fill the room.
  const max = Math.max(1, ...FLOW.map((one) => exchanges[one] / (one === "closed" ? 2 : 1)));
  return h("ol", { class: "flow" }, FLOW.map((one) => h("li", {}, s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: (100 * exchanges[one]) / (one === "closed" ? 2 * max : max), height: 10 })),
    h("span", {}, term("entry", one), " ", h("span", { class: "quiet" }, t(`commission.by.${one}`))), h("strong", { class: "figure" }, number(exchanges[one])))));
}

function tally(values) {
  return h("dl", { class: "tally" }, Object.entries(values).map(([name, value]) => h("div", {}, h("dt", {}, term("checked", name)), h("dd", {}, number(value)))));
}

function books(parties, anomalies) {
  const counts = new Map();
  for (const one of anomalies) counts.set(one.party, (counts.get(one.party) ?? 0) + 1);
  const figures = ["rows", "covered", "heads"];
  const verdict = (one) => [h("td", { class: "figure" }, counts.get(one.party) ? h("strong", { class: "broke" }, number(counts.get(one.party))) : h("span", { class: "quiet" }, "–")),
    h("td", { class: one.holds ? "held" : "broke" }, one.holds ? `✓ ${t("commission.holds")}` : `✕ ${t("commission.fails")}`)];
  return h("div", { class: "sideways" }, h("table", { class: "list" },
    h("thead", {}, h("tr", {}, ["party", ...figures, "anomalies", "holds"].map((one) => h("th", { scope: "col", class: ["party", "holds"].includes(one) ? "" : "figure" }, t(`column.${one}`))))),
    h("tbody", {}, parties.slice(0, BOOKS_MAX).map((one) => h("tr", {}, h("td", {}, party(one.party)), figures.map((name) => h("td", { class: "figure" }, number(one[name]))), verdict(one))))));
}

/** What belongs to no exchange: rows, heads, and lines. */
function list(anomalies, route) {
  return h("ul", { class: "anomalies" }, anomalies.map((one) => h("li", {},
    h("p", {}, h("strong", {}, data(either(one.text, one.text_ja))), " ", codeBadge(one.code)),
    h("p", { class: "quiet" }, one.party ? party(one.party) : null, one.position === null ? null : ` · ${t("commission.position", { position: one.position })}`,
      one.index === null ? null : [" · ", link(to(route.trace, "message", String(one.index)), t("nav.message"), ` #${one.index}`)]))));
}
