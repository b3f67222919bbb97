// A resident's page: who asked what about them, their letters and their consents, as the portal would show them.

import { data, h, link } from "./dom.js";
import { dateAndClock, moment, number } from "./format.js";
import { card, tree } from "./message.js";
import { codeText, fullName, party, procedure } from "./names.js";
import { asQuery, encoded, to } from "./route.js";
import { either, term, t } from "./words.js";

const LISTED_MAX = 400;

/** Whose page: whom the address names, who looks, or the first. */
function whose(route, meta) {
  return route.rest || (meta.residents.includes(route.query.as) ? route.query.as : meta.residents[0]);
}

export function asks(route, meta) {
  const handle = whose(route, meta);
  return handle ? { resident: [`/resident/${encoded(handle)}`, asQuery(route)] } : {};
}

export function show({ route, meta, found: { resident: found } }) {
  const handle = whose(route, meta);
  const chooser = choose(route, meta, handle);
  if (!handle) return { element: h("section", { class: "page" }, h("h1", {}, t("nav.resident")), h("p", { class: "quiet" }, t("resident.none"))) };
  const services = meta.titles?.services ?? {};
  const name = (service) => either(services[service]?.title, services[service]?.title_ja);
  return {
    element: h("section", { class: "page portal" },
      h("header", {}, h("div", {}, h("h1", {}, t("resident.title")), h("p", { class: "quiet" }, t("resident.about"))), chooser),
      h("div", { class: "cards" },
        card("resident.history", "", h("p", { class: "quiet" }, t("resident.rows", { count: number(found.rows.length) })), history(found.rows, name, meta.start_us)),
        h("div", { class: "stack" },
          card("resident.consents", "", found.consents.length ? found.consents.map((one) => consent(one, meta, name, found.end_us)) : h("p", { class: "quiet" }, t("resident.noconsents"))),
          card("resident.letters", "", found.letters.length ? found.letters.map((one) => letter(one, meta, route, name)) : h("p", { class: "quiet" }, t("resident.noletters")))))),
  };
}

function choose(route, meta, handle) {
  const go = (value) => { location.hash = to(route.trace, "resident", value, asQuery(route)); };
  const at = meta.residents.indexOf(handle);
  const step = (by) => h("button", { class: "plain", id: by < 0 ? "before" : "after", disabled: !meta.residents[at + by], "aria-label": t(by < 0 ? "resident.before" : "resident.after"), onclick: () => go(meta.residents[at + by]) }, by < 0 ? "‹" : "›");
  const field = meta.residents.length <= LISTED_MAX
    ? h("select", { id: "resident", "aria-label": t("filter.person"), class: "mono", onchange: (event) => go(event.target.value) }, meta.residents.map((one) => h("option", { value: one, selected: one === handle }, one)))
    : h("input", { id: "resident", "aria-label": t("filter.person"), class: "mono", value: handle, onchange: (event) => go(event.target.value.trim()) });
  return h("div", { class: "chooser" }, step(-1), field, step(1), link(to(route.trace, "sequence", "", { as: handle }), t("resident.sequence")));
}

function history(rows, name, start_us) {
  if (!rows.length) return h("p", { class: "quiet" }, t("resident.nohistory"));
  return h("ol", { class: "history" }, rows.slice(0, 500).map((one) => h("li", { class: one.hidden ? "hidden" : "" },
    h("time", {}, dateAndClock(start_us + one.time_us)[0], h("small", {}, dateAndClock(start_us + one.time_us)[1].slice(0, 8))),
    h("div", {}, h("p", {}, h("strong", {}, name(one.service) ? data(name(one.service)) : data(one.service)), " ", outcome(one.outcome, one.kind)),
      h("p", { class: "way" }, party(one.requester), h("span", { class: "goes" }, h("span", { class: "arrow", role: "img", "aria-label": t(one.kind === "request" ? "resident.to" : "resident.told") }, "→"), party(one.provider))),
      h("p", { class: "quiet" }, one.procedure ? [t("resident.for"), " ", procedure(one.procedure), " "] : null, one.items.length ? [" · ", t("resident.items"), " ", data(inOneLanguage(one.items).join(t("list.comma")))] : null,
        one.hidden ? [" · ", t("resident.hidden")] : null)))));
}

/** What became of a question: in words, also where it was a code. */
function outcome(name, kind) {
  const said = codeText(name);
  // Of what was told, nobody asked: it came, or is on its way.
  const told = kind !== "request" && ["answered", "unfinished"].includes(name) ? t(`resident.${kind}.${name}`) : "";
  return h("span", { class: `outcome ${said ? "o-refused" : ""}`, title: said ? name : null }, data(said || told || term("outcome", name)));
}

function letter(one, meta, route, name) {
  return h("article", { class: "notice" }, h("p", { class: "quiet" }, h("time", {}, moment(meta.start_us + one.time_us)), " · ", party(one.from)),
    h("h3", {}, data(titleOf(one.content) || name(one.service) || one.service)), letterFields(one.content),
    h("p", {}, link(to(route.trace, "message", String(one.index), asQuery(route)), t("resident.letter"))));
}

/** What a letter says besides its title, each line in the reader's language. */
function letterFields(content) {
  if (!content || typeof content !== "object") return null;
  const fields = inOneLanguage(Object.keys(content)).filter((one) => one !== "title");
  const text = (one) => (typeof content[one] === "string" ? data(either(content[one], typeof content[`${one}_ja`] === "string" ? content[`${one}_ja`] : "")) : tree(content[one]));
  return fields.length ? h("dl", { class: "fields" }, fields.map((one) => [h("dt", {}, data(term("field", one))), h("dd", {}, text(one))])) : null;
}

/** Names without those that say the same in Japanese. */
function inOneLanguage(names) {
  return names.filter((one) => !(one.endsWith("_ja") && names.includes(one.slice(0, -3))));
}

/** A letter's own title, in the reader's language. */
function titleOf(content) {
  return typeof content?.title === "string" ? either(content.title, typeof content.title_ja === "string" ? content.title_ja : "") : "";
}

/** A consent as it stood when the run ended. */
function consent(one, meta, name, end_us) {
  const ended = one.used >= one.uses ? "spent" : one.until_us <= end_us ? "expired" : one.given_us === null ? "unconfirmed" : "given";
  const state = one.withdrawn_us !== null ? "withdrawn" : one.withdrawing_us !== null ? "withdrawing" : ended;
  const at = (us) => moment(meta.start_us + us);
  return h("article", { class: `consent ${state}` },
    h("p", {}, h("strong", {}, data(fullName(one.firm))), " ", fullName(one.firm) === one.firm ? null : data(one.firm, "mono id"), " ", h("span", { class: "outcome" }, t(`consent.${state}`), state === "withdrawn" ? ` ${at(one.withdrawn_us)}` : null)),
    h("p", {}, one.services.map((service, place) => [place ? t("list.comma") : "", data(name(service) || service)]), h("span", { class: "quiet" }, " · ", data(one.items.join(", ")))),
    h("p", { class: "quiet" }, t("resident.for"), " ", procedure(one.procedure), ` · ${at(one.from_us)} – ${at(one.until_us)} · `, t("consent.used", { count: one.used, uses: one.uses })),
    h("meter", { min: "0", max: String(one.uses), value: String(one.used), "aria-label": t("consent.used", { count: one.used, uses: one.uses }) }));
}
