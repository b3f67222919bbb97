// What came of the run: the story, expectations, papers, visits, push reach, disclosures, latencies and refusals.

import { bars, ranges } from "./charts.js";
import { data, h, link } from "./dom.js";
import { number, share, span } from "./format.js";
import { cameTo, card, untried } from "./message.js";
import { codeBadge, party, serviceName } from "./names.js";
import { asQuery, to } from "./route.js";
import { either, t } from "./words.js";

export function asks(route) {
  return { outcome: ["/outcome", asQuery(route)] };
}

export function show({ route, meta, found: { outcome: found } }) {
  const tried = found.expectations.filter((one) => one.tried), held = tried.filter((one) => one.held).length;
  const title = (service) => { const one = found.services?.[service]; return one ? either(one.title, one.title_ja) : ""; };
  const see = (query) => to(route.trace, "sequence", "", { ...asQuery(route), ...query });
  return {
    element: h("section", { class: "page outcome" },
      h("header", {}, h("h1", {}, either(meta.title, meta.title_ja) || t("nav.outcome"))),
      found.missing?.length ? h("p", { class: "notes" }, t("outcome.missing", { parts: found.missing.map((one) => t(`outcome.part.${one}`)).join(t("list.comma")) })) : null,
      meta.seen.faults && (meta.seen.broke_off || held < tried.length) ? h("p", { class: "notes" }, t("outcome.faults")) : null,
      found.unknown.length ? h("p", { class: "notes absent" }, t("outcome.unknown")) : null,
      found.unknown.length ? null : h("dl", { class: "bigs" },
        big("outcome.papers", found.papers?.length), big("outcome.visits", found.visits_saved), big("outcome.fees", found.fees_saved_yen, (one) => `¥${number(one)}`),
        big("outcome.push", found.push, push), big("outcome.messages", meta.messages), big("outcome.elapsed", found.elapsed_us, span),
        big("outcome.expectations", found.expectations.length ? `${held} / ${tried.length}` : undefined, (one) => one)),
      h("div", { class: "cards" },
        h("div", { class: "stack" },
          found.story?.length ? card("outcome.story", "", h("ol", { class: "story" }, found.story.map((one) => h("li", {}, data(either(one.text, one.text_ja)), told(one.messages ?? [], see))))) : null,
          found.refusals?.length ? card("outcome.refusals", "", bars(refusals(found.refusals, see), "refusing")) : null,
          found.expectations.length || found.broke_off ? card("outcome.expectations", "", h("ul", { class: "expectations" },
            found.expectations.map((one) => h("li", { class: cameTo(one) }, data(either(one.text, one.text_ja)), untried(one), one.message ? [" ", h("a", { href: see({ q: one.message }), "aria-label": t("outcome.see"), title: t("outcome.see") }, "→")] : null, behind(one.refusals, see))),
            found.broke_off ? h("li", { class: "broke" }, t("runs.brokeoff"), " ", data(found.broke_off.text), behind(found.broke_off.refusals, see)) : null)) : null),
        h("div", { class: "stack" },
          found.papers?.length ? card("outcome.papers", "", papers(found.papers, see)) : null,
          found.fallbacks?.length ? card("outcome.fallbacks", "", h("ul", { class: "plainlist" }, found.fallbacks.map((one) => h("li", {}, fallback(one, see))))) : null,
          found.uploads?.length ? card("outcome.uploads", "", h("ul", { class: "plainlist" }, found.uploads.map((one) => h("li", {}, data(either(one.name, one.name_ja)))))) : null,
          found.push && pushRows(found.push).length ? card("outcome.push", "", bars(pushRows(found.push))) : null,
          found.disclosed?.length ? card("outcome.disclosed", "", h("p", { class: "quiet" }, t("outcome.disclosed.about")), disclosures(found.disclosed, see)) : null),
        found.latencies?.length ? card("outcome.latencies", "wide", ranges(found.latencies.map((one) => ({ ...one, title: title(one.service) })))) : null),
    ),
  };
}

function big(key, value, shown = number) {
  return h("div", {}, h("dt", {}, t(key)), value === null || value === undefined ? h("dd", { class: "quiet" }, "–") : h("dd", {}, shown(value)));
}

function push(value) {
  return value.eligible ? share(value.notified, value.eligible) : "–";
}

function pushRows(value) {
  return Object.entries(value).filter(([, count]) => count > 0).map(([name, count]) => ({ name: t(`push.${name}`), count }));
}

/** Where the messages of a sentence begin. */
function told(spans, see) {
  return spans.map(([first, last]) => [" ", h("a", { class: "spans", href: see({ at: first }), title: t("outcome.told", { first, last }) }, first === last ? `#${first}` : `#${first}–${last}`)]);
}

/** A link to each message that something rests on. */
function rests(messages, see) {
  return messages.map((id) => [" ", h("a", { href: see({ q: id }), "aria-label": t("outcome.rests"), title: t("outcome.rests") }, "→")]);
}

/** Each paper with its counter, its fee, where that is written, and the answers that replaced it. */
function papers(all, see) {
  const kinds = new Map();
  for (const one of all) {
    const kind = kinds.get(one.name) ?? { one, count: 0, messages: [] };
    kinds.set(one.name, { one, count: kind.count + 1, messages: [...kind.messages, ...(one.messages ?? [])] });
  }
  const about = (one) => [either(one.counter, one.counter_ja), one.fee_yen ? t("outcome.fee", { fee: number(one.fee_yen) }) : t("outcome.nofee")].filter(Boolean).join(" · ");
  return bars([...kinds.values()].sort((a, b) => b.count - a.count).map(({ one, count, messages }) => ({
    count, name: [data(either(one.name, one.name_ja)), rests(messages, see), h("small", {}, data(about(one))), one.source ? h("small", { class: "source" }, data(one.source)) : null],
  })));
}

/** The refusals that nobody expected before an expectation failed, alike ones counted together. */
function behind(found, see) {
  return found?.length ? h("ul", { class: "behind" }, found.map((one) => h("li", {},
    t("outcome.behind"), " ", link(see({ at: one.index }), `#${one.index}`), " ", data(one.service, "quiet"), " ", codeBadge(one.code), " ", data(either(one.text, one.text_ja)), one.times > 1 ? t("outcome.times", { times: number(one.times) }) : null))) : null;
}

function refusals(found, see) {
  return found.map((one) => ({ name: link(see({ code: one.code, service: one.service }), codeBadge(one.code), " ", data(serviceName(one.service), "quiet")), count: one.count })).sort((a, b) => b.count - a.count);
}

/** Who was told which items, and how often; all on one scale. */
function disclosures(disclosed, see) {
  const max = Math.max(1, ...disclosed.flatMap((one) => Object.values(one.answers ?? {})));
  return disclosed.map((one) => [h("h3", {}, link(see({ node: one.to }), party(one.to))), bars(Object.entries(one.answers ?? {}).map(([name, count]) => ({ name, count })), "mono", max)]);
}

function fallback(one, see) {
  return [h("strong", {}, data(either(one.paper, one.paper_ja))), " ", h("span", { class: "quiet" }, data(either(one.why, one.why_ja))), rests(one.messages ?? [], see)];
}
