// The commission's page: the records of asker, broker and answerer laid side by side, and what does not fit.

import { get, ofTrace } from "./api.js";
import { data, h, link, replace, s, say } from "./dom.js";
import { number } from "./format.js";
import { card, table } from "./message.js";
import { to } from "./route.js";
import { term, t } from "./words.js";

const POLL_MS = 400;
const FLOW = ["opened", "permitted", "answered", "closed"];

export async function show({ route, signal }) {
  const body = h("div", {});
  const state = { timer: null };
  const ask = async () => {
    const found = await get(ofTrace(route.trace, "/commission"), {}, signal);
    if (found.done) { replace(body, result(found, route)); say(t("nav.commission")); return; }
    replace(body, h("p", { class: "waiting" }, t("commission.comparing"), h("progress", { max: "1", value: found.share, "aria-label": t("commission.comparing") })));
    state.timer = setTimeout(() => ask().catch(() => {}), POLL_MS);
  };
  await ask();
  return {
    element: h("section", { class: "page commission" }, h("header", {}, h("h1", {}, t("commission.title")), h("p", { class: "lead" }, t("commission.about"))), body),
    leave: () => clearTimeout(state.timer),
  };
}

function result(found, route) {
  if (found.error) return h("p", { class: "trouble", role: "alert" }, data(found.error));
  const { exchanges, messages, parties, anomalies, records } = found;
  const wrong = anomalies.length + (found.more ?? 0);
  return [
    h("div", { class: `seal-of ${wrong ? "unsound" : "sound"}` }, h("span", { class: "hanko", "aria-hidden": "true" }, wrong ? "否" : "合"),
      h("strong", {}, wrong ? t("commission.unsound", { count: number(wrong) }) : t("commission.sound"))),
    h("div", { class: "cards" },
      card("commission.exchanges", "", flow(exchanges)),
      card("commission.checked", "", tally({ ...messages, ...Object.fromEntries(Object.entries(exchanges).filter(([name]) => !FLOW.includes(name)).map(([name, count]) => [`x_${name}`, count])) })),
      wrong ? card("commission.anomalies", "wide", list(anomalies, route), found.more ? h("p", { class: "quiet" }, t("commission.left", { count: number(found.more) })) : null) : null,
      records.length ? card("commission.records", "wide", records.slice(0, 50).map(three)) : null,
      card("commission.parties", "wide", books(parties))),
  ];
}

/** What the three wrote about all exchanges: opened by the asker, permitted by the broker, answered, closed. */
function flow(exchanges) {
  const max = Math.max(1, ...FLOW.map((one) => exchanges[one]));
  return h("ol", { class: "flow" }, FLOW.map((one) => h("li", {}, s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, s("rect", { width: (100 * exchanges[one]) / max, height: 10 })),
    h("span", {}, term("entry", one), " ", h("span", { class: "quiet" }, t(`commission.by.${one}`))), h("strong", { class: "figure" }, number(exchanges[one])))));
}

function tally(values) {
  return h("dl", { class: "tally" }, Object.entries(values).map(([name, value]) => h("div", {}, h("dt", {}, term("checked", name)), h("dd", {}, number(value)))));
}

function books(parties) {
  return h("table", { class: "list" }, h("thead", {}, h("tr", {}, ["party", "rows", "covered", "heads", "holds"].map((one) => h("th", { scope: "col", class: ["party", "holds"].includes(one) ? "" : "figure" }, t(`column.${one}`))))),
    h("tbody", {}, parties.slice(0, 500).map((one) => h("tr", {}, h("td", {}, data(one.party, "mono")), ["rows", "covered", "heads"].map((name) => h("td", { class: "figure" }, number(one[name]))),
      h("td", { class: one.holds ? "held" : "broke" }, one.holds ? `✓ ${t("commission.holds")}` : `✕ ${t("commission.fails")}`)))));
}

function list(anomalies, route) {
  return h("ul", { class: "anomalies" }, anomalies.map((one) => h("li", {}, h("span", { class: "code" }, data(one.code)), " ", data(one.text),
    one.party ? [" · ", data(one.party, "mono"), one.position === null ? null : ` #${one.position}`] : null,
    one.index === null ? one.message ? [" · ", data(one.message, "mono")] : null : [" · ", link(to(route.trace, "message", String(one.index)), t("nav.message"), ` #${one.index}`)])));
}

/** One exchange: what each of the three wrote. */
function three(record) {
  const parties = [...new Set(record.rows.map((one) => one.party))];
  return h("section", { class: "record" }, h("h3", { class: "mono" }, data(record.message)), h("div", { class: "books" }, parties.map((party) => h("div", { class: "book" }, h("h3", { class: "mono" }, data(party)),
    record.rows.filter((one) => one.party === party).map((one) => h("div", { class: "entry" }, h("p", {}, h("strong", {}, term("entry", one.row.entry)), ` #${one.position}`), h("details", {}, h("summary", {}, t("commission.row")), table(one.row))))))));
}
