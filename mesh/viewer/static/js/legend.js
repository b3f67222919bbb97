// What the forms mean.

import { h, s } from "./dom.js";
import { HEIGHT, line } from "./drawing.js";
import { ZONES } from "./columns.js";
import { term, t } from "./words.js";

const PLAIN = { readable: true, fate: "delivered", refused: false, permitted: false, sealed: [] };
const FORMS = [
  ["request", { kind: "request" }], ["permit", { kind: "request", permitted: true }], ["reply", { kind: "reply" }],
  ["refusal", { kind: "refusal" }], ["refused", { kind: "request", refused: true }], ["push", { kind: "event" }],
  ["receipt", { kind: "receipt" }], ["retry", { kind: "request" }], ["dropped", { kind: "request", fate: "dropped" }],
  ["unreachable", { kind: "request", fate: "unreachable" }], ["in-flight", { kind: "request", fate: "in-flight" }], ["sealed", { kind: "request", sealed: ["data"] }], ["tagged", { kind: "request", sealed: ["subject"] }],
];

/** Only of what can be met: forms of kinds, fates and zones that there are. */
export function legend({ kinds, fates, codes, zones, whole }) {
  const kind = (...any) => any.some((one) => kinds.includes(one));
  const met = {
    request: kind("request"), permit: kind("request", "event", "notice"), reply: kind("reply"), refusal: kind("refusal"), refused: codes.length > 0,
    push: kind("event", "notice"), receipt: kind("receipt"), retry: kinds.length > 0, sealed: !whole, tagged: !whole && kinds.length > 0,
  };
  const narrow = matchMedia("(max-width: 860px)").matches;
  return h("details", { class: "legends", open: !narrow }, h("summary", {}, t("legend.label")), h("footer", { class: "legend", "aria-label": t("legend.label") },
    FORMS.filter(([name]) => met[name] ?? fates.includes(name)).map(([name, row]) => h("span", {},
      s("svg", { width: 50, height: HEIGHT, "aria-hidden": "true" }, line({ ...PLAIN, ...row }, 4, 48, { retry: name === "retry" })),
      t(`legend.${name}`))),
    h("span", { class: "gap" }),
    ZONES.filter((zone) => zones.includes(zone)).map((zone) => h("span", { class: `z-${zone}` }, h("i", { class: "band", "aria-hidden": "true" }), term("zone", zone))),
    h("span", { class: "keys" }, t("legend.keys"))));
}
