// Who saw what of one exchange: the parties against all there is to know of it. A sign says it, a word beside repeats it.

import { data, h, link, s } from "./dom.js";
import { number } from "./format.js";
import { fullName, memberName, party } from "./names.js";
import { to } from "./route.js";
import { t } from "./words.js";

const SEALED = ["question", "answer"];

/** The table that the server made of each party's perspective. */
export function sight(found, route, pushed) {
  const parts = found.parts.filter((one) => found.rows.some((row) => row.parts[one] !== "none"));
  const sealed = parts.filter((one) => SEALED.includes(one));
  const open = parts.filter((one) => !SEALED.includes(one));
  const name = (one) => t(pushed && one === "question" ? "sight.push.question" : `sight.part.${one}`);
  const shown = [...open.map(name), ...found.codes.map((one) => memberName(one.member)), ...sealed.map(name)];
  const spoken = [...open.map(name), ...found.codes.map((one) => t("sight.codeof", { member: memberName(one.member) })), ...sealed.map(name)];
  const cells = (row) => [...open.map((one) => row.parts[one]), ...row.codes, ...sealed.map((one) => row.parts[one])];
  const edges = (at) => ([open.length, open.length + found.codes.length].includes(at) ? "edge" : "");
  return [h("div", { class: "sighted" }, h("table", { class: "sight" },
    h("thead", {},
      h("tr", {}, h("td", { rowspan: "2" }), h("th", { scope: "colgroup", colspan: String(open.length) }, t("sight.exchange")),
        found.codes.length ? h("th", { scope: "colgroup", class: "edge", colspan: String(found.codes.length) }, t("sight.codes")) : null,
        sealed.length ? h("th", { scope: "colgroup", class: "edge", colspan: String(sealed.length) }, t("sight.content")) : null),
      h("tr", {}, shown.map((one, at) => h("th", { scope: "col", class: edges(at) }, data(one), codeBelow(found.codes[at - open.length]))))),
    h("tbody", {}, found.rows.map((row) => h("tr", { class: `r-${row.role}`, "aria-current": row.who === route.query.as ? "true" : false },
      h("th", { scope: "row" }, who(row, route, pushed)),
      cells(row).map((state, at) => h("td", { class: `s-${state} ${edges(at)}`.trim() },
        h("span", { class: "of", "aria-hidden": "true" }, data(spoken[at])), h("span", { class: "state" }, sign(state), t(`sight.${state}`))))))))),
  found.more ? h("p", { class: "quiet" }, t("sight.more", { count: number(found.more) })) : null, joins(found)];
}

function codeBelow(code) {
  if (!code) return null;
  return code.code === null ? h("small", {}, t("sight.unknown")) : h("small", { class: "mono", title: code.code }, data(`…${code.code.slice(-8)}`));
}

function who(row, route, pushed) {
  const kind = row.index === null && ["asker", "answerer"].includes(row.role) ? { asker: "claimed", answerer: "unreached" }[row.role] : pushed && ["asker", "answerer"].includes(row.role) ? `push.${row.role}` : row.role;
  const role = h("small", { class: "role" }, t(`sight.role.${kind}`));
  if (row.role === "others") return t("sight.others", { count: number(row.count) });
  const name = row.role === "wire" ? h("span", {}, t("perspective.wire")) : row.role === "resident" ? data(row.who, "mono") : party(row.who);
  if (row.index === null || row.who === route.query.as) return [role, name];
  const goes = row.role === "resident" ? to(route.trace, "resident", row.who, { as: row.who }) : to(route.trace, "message", String(row.index), { as: row.who });
  return [role, link(goes, name)];
}

/** Who could tell that the codes are one person's. */
function joins(found) {
  const codes = found.codes.filter((one) => one.code !== null);
  if (found.codes.length < 2 || codes.length < found.codes.length) return null;
  const able = found.rows.filter((row) => row.codes.filter((one) => one === "read").length > 1).map((row) => fullName(row.who));
  return h("p", { class: "joinable" }, able.length ? t("sight.joins", { count: number(codes.length), names: able.join(t("list.comma")) }) : t("sight.nojoin", { count: number(codes.length) }));
}

const SIGNS = {
  read: () => s("circle", { class: "eye", cx: 8, cy: 8, r: 5 }),
  partly: () => [s("circle", { class: "rim", cx: 8, cy: 8, r: 4.4 }), s("path", { class: "eye", d: "M 8 3 A 5 5 0 0 0 8 13 Z" })],
  sealed: () => [s("rect", { class: "envelope", x: 1, y: 3, width: 14, height: 10.5, rx: 1.5 }), s("path", { class: "flap", d: "M 1.5 4 L 8 9 L 14.5 4" })],
  absent: () => s("path", { class: "nothing", d: "M 4 8 H 12" }),
};

function sign(state) {
  return s("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, SIGNS[state]?.() ?? null);
}
