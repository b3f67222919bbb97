// Members and zones as a network, and the run played back in time.

import { get, ofTrace } from "./api.js";
import { bundled, GROUPS_MAX, ZONES } from "./columns.js";
import { data, h, link, replace, s, say } from "./dom.js";
import { moment, number } from "./format.js";
import { memberName, party } from "./names.js";
import { asQuery, to } from "./route.js";
import { term, t } from "./words.js";

const BINS = 160;
const STEP_MS = 260;
const RING_MAX = 34;
/** The drawing's size and the ring's half axes; upright, with names below the members, where the screen is narrow. */
const WIDE = { width: 1120, height: 600, rx: 395, ry: 222, beside: true, letters: 26 };
const NARROW = { width: 440, height: 560, rx: 140, ry: 205, beside: false, letters: 14 };
let form = WIDE;

export function asks(route) {
  return { map: ["/map", asQuery(route)], time: ["/timeline", { ...asQuery(route), bins: BINS }] };
}

export function show({ route, meta, signal, found: { map, time } }) {
  const as = asQuery(route);
  const whole = together(map);
  form = matchMedia("(max-width: 860px)").matches ? NARROW : WIDE;
  const places = place(whole.members);
  const state = { bin: null, playing: null, how: route.query.how === "asked" ? "asked" : "sent", now: whole };
  const drawing = s("svg", { class: `network ${form.beside ? "" : "upright"}`.trim(), viewBox: `0 0 ${form.width} ${form.height}`, role: "img", "aria-label": t("map.label") });
  const when = h("output", { class: "mono" });
  const counts = h("output", { class: "quiet" });
  const slider = h("input", { type: "range", min: "0", max: String(BINS), value: String(BINS), "aria-label": t("map.time"), id: "time", oninput: () => move(Number(slider.value)) });
  const play = h("button", { class: "go", id: "play", onclick: () => toggle() }, t("map.play"));
  const bars = histogram(time);
  const table = h("div", {});
  const see = (one) => to(route.trace, "sequence", "", one.from.includes("*") ? as : { ...as, node: one.from, q: one.to.replace("/*", "/") });

  function draw() {
    replace(drawing, symbols(), grounds(places), edges(places, whole, state.now, state.how, state.bin !== null), nodes(places, route, as));
    const { from, until } = range();
    when.textContent = state.bin === null ? `${moment(meta.start_us + time.from_us)} – ${moment(meta.start_us + time.to_us)}` : `${moment(meta.start_us + from)} – ${moment(meta.start_us + until)}`;
    const sum = (name) => state.now.edges.reduce((total, one) => total + one[name], 0);
    counts.textContent = t("map.counts", { messages: number(sum("messages")), refusals: number(sum("refusals")) });
    slider.setAttribute("aria-valuetext", `${when.textContent}, ${counts.textContent}`);
    bars.querySelectorAll("rect").forEach((bar) => bar.classList.toggle("now", Number(bar.dataset.bin) === state.bin));
    replace(table, list(state, see));
  }

  function range() {
    if (state.bin === null) return { from: time.from_us, until: time.to_us };
    const until = time.bins[state.bin + 1]?.from_us ?? time.to_us + 1;
    return { from: time.bins[state.bin].from_us, until };
  }

  let turn = 0;
  async function move(bin) {
    const mine = ++turn;
    state.bin = bin >= BINS || bin >= time.bins.length ? null : bin;
    slider.value = String(state.bin === null ? BINS : state.bin);
    if (state.bin === null) state.now = whole;
    else {
      const { from, until } = range();
      try {
        const found = await get(ofTrace(route.trace, "/map"), { ...as, from_us: from, to_us: until }, signal).then(together);
        if (mine !== turn) return;
        state.now = found;
      } catch { return; }
    }
    draw();
  }

  function toggle() {
    if (state.playing !== null) { stop(); return; }
    play.textContent = t("map.pause");
    if (state.bin === null) state.bin = -1;
    const step = async () => {
      // Hours in which nothing happens are not waited for.
      const next = time.bins.findIndex((one, at) => at > state.bin && one.messages > 0);
      if (next < 0) { stop(); await move(BINS); say(t("map.over")); return; }
      await move(next);
      if (state.playing !== null) state.playing = setTimeout(step, STEP_MS);
    };
    state.playing = setTimeout(step, 0);
  }

  function stop() {
    clearTimeout(state.playing);
    state.playing = null;
    play.textContent = t("map.play");
  }

  const modes = ["sent", "asked"].map((how) => h("label", {}, h("input", { type: "radio", name: "how", value: how, checked: state.how === how, onchange: () => { state.how = route.query.how = how; draw(); } }), t(`map.${how}`)));
  draw();
  return {
    element: h("section", { class: "page mapper", "aria-label": t("nav.map") },
      h("div", { class: "modes", role: "radiogroup", "aria-label": t("map.how") }, modes, h("span", { class: "gap" }),
        ZONES.map((zone) => h("span", { class: `zonekey z-${zone}` }, h("i", { class: "band", "aria-hidden": "true" }), term("zone", zone)))),
      drawing,
      h("div", { class: "player" }, play, h("div", { class: "track" }, bars, slider), h("div", { class: "stand" }, when, counts)),
      h("details", { class: "astable" }, h("summary", {}, t("map.table")), table)),
    leave: stop,
    keys: (event) => {
      if (event.key !== " " || event.target.closest("button, input, summary, select, a")) return false;
      toggle();
      return true;
    },
  };
}

/** Where there are too many members to tell apart, those of one kind stand together. */
function together(found) {
  if (found.members.length <= GROUPS_MAX) return found;
  const members = new Map();
  for (const one of found.members) {
    const member = bundled(one.member);
    const known = members.get(member) ?? { member, zones: [], nodes: [] };
    members.set(member, { member, zones: [...new Set([...known.zones, ...one.zones])], nodes: known.nodes.concat(one.nodes) });
  }
  const merge = (edges, names) => {
    const merged = new Map();
    for (const one of edges) {
      const [from, goes] = [bundled(one.from), bundled(one.to)];
      const known = merged.get(`${from} ${goes}`) ?? { from, to: goes, ...Object.fromEntries(names.map((name) => [name, 0])) };
      names.forEach((name) => { known[name] += one[name]; });
      merged.set(`${from} ${goes}`, known);
    }
    return [...merged.values()];
  };
  return { ...found, members: [...members.values()], edges: merge(found.edges, ["messages", "refusals"]), exchanges: merge(found.exchanges ?? [], ["count"]) };
}

/** Who goes through most stands in the middle; the others around, neighbours in one zone. */
function place(members) {
  const middle = members.find((one) => one.nodes.some((node) => node.address.endsWith("/broker")));
  const zone = (one) => one.zones.find((name) => name !== "cloud") ?? one.zones[0] ?? "none";
  const around = members.filter((one) => one !== middle)
    .map((one, at) => [ZONES.indexOf(zone(one)), one.member.split("/")[0], at, one])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] - b[2])).map((one) => one[3]);
  const places = new Map();
  if (middle) places.set(middle.member, { member: middle, x: form.width / 2, y: form.height / 2, zone: zone(middle), angle: null });
  const rings = Math.ceil(around.length / RING_MAX);
  around.forEach((one, at) => {
    const ring = at % Math.max(1, rings);
    const angle = Math.PI + (2 * Math.PI * (at + 0.5)) / around.length;
    const far = 1 - ring * (0.62 / Math.max(1, rings));
    places.set(one.member, { member: one, x: form.width / 2 + Math.cos(angle) * form.rx * far, y: form.height / 2 + Math.sin(angle) * form.ry * far, zone: zone(one), angle, far });
  });
  return places;
}

function symbols() {
  return s("defs", {},
    s("marker", { id: "tip", viewBox: "0 0 8 8", refX: 6.5, refY: 4, markerWidth: 9, markerHeight: 9, orient: "auto", markerUnits: "userSpaceOnUse" }, s("path", { class: "tip", d: "M 0 0.6 L 7 4 L 0 7.4 Z" })),
    s("pattern", { id: "p-internet", width: 8, height: 8, patternUnits: "userSpaceOnUse" }, s("circle", { cx: 2, cy: 2, r: 1 }), s("circle", { cx: 6, cy: 6, r: 1 })),
    s("pattern", { id: "p-lgwan", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, s("path", { d: "M 0 0 V 7" })),
    s("pattern", { id: "p-cloud", width: 7, height: 7, patternUnits: "userSpaceOnUse" }, s("path", { d: "M 0 3.5 H 7" })),
    s("pattern", { id: "p-mynumber", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(-45)" }, s("path", { d: "M 0 0 V 7" })));
}

/** The ground of each zone: the arc on which its members stand. */
function grounds(places) {
  return ZONES.map((zone) => {
    const own = [...places.values()].filter((one) => one.zone === zone && one.angle !== null);
    if (!own.length) return null;
    const all = [...places.values()].filter((one) => one.angle !== null).length;
    const half = Math.PI / all * 0.92;
    const [from, until] = [Math.min(...own.map((one) => one.angle)) - half, Math.max(...own.map((one) => one.angle)) + half];
    const point = (angle, far) => `${(form.width / 2 + Math.cos(angle) * form.rx * far).toFixed(1)} ${(form.height / 2 + Math.sin(angle) * form.ry * far).toFixed(1)}`;
    const steps = Array.from({ length: 49 }, (_, at) => from + ((until - from) * at) / 48);
    const shape = `M ${steps.map((one) => point(one, 1.15)).join(" L ")} L ${steps.reverse().map((one) => point(one, 0.85)).join(" L ")} Z`;
    return s("g", { class: `ground z-${zone}` }, s("path", { d: shape, class: "fill" }), s("path", { d: shape, fill: `url(#p-${zone})`, class: "pattern" }));
  });
}

function pairsOf(found, how) {
  return how === "asked" ? found.exchanges?.map((one) => ({ ...one, messages: one.count, refusals: 0 })) ?? [] : found.edges;
}

function edges(places, whole, now, how, playing) {
  const all = pairsOf(whole, how);
  const max = Math.max(1, ...all.map((one) => one.messages));
  const active = new Map(pairsOf(now, how).map((one) => [`${one.from} ${one.to}`, one]));
  return s("g", {}, all.map((one) => {
    const [a, b] = [places.get(one.from), places.get(one.to)];
    if (!a || !b) return null;
    const live = active.get(`${one.from} ${one.to}`);
    const shown = playing ? live ?? one : one;
    const { d, mid } = curve(a, b);
    const width = 1 + 6 * Math.sqrt(shown.messages / max);
    return s("g", { class: `edge ${playing && !live ? "past" : ""} ${shown.refusals ? "refusing" : ""}` },
      s("path", { d, "stroke-width": width.toFixed(2), "marker-end": "url(#tip)" }, s("title", {}, data(`${memberName(one.from)} → ${memberName(one.to)}: ${shown.messages}`).textContent)),
      shown.refusals && !(playing && !live) ? s("g", { transform: `translate(${mid})`, class: "refusal" }, s("circle", { r: 9 }), s("path", { d: "M -3.5 -3.5 L 3.5 3.5 M 3.5 -3.5 L -3.5 3.5" }), s("text", { x: 13, y: 4 }, shown.refusals)) : null);
  }));
}

function curve(a, b) {
  if (a === b) return { d: `M ${a.x - 16} ${a.y - 12} C ${a.x - 60} ${a.y - 80} ${a.x + 60} ${a.y - 80} ${a.x + 16} ${a.y - 14}`, mid: `${a.x} ${a.y - 64}` };
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = Math.hypot(dx, dy) || 1;
  const bend = Math.min(26, length * 0.09);
  const [nx, ny] = [-dy / length, dx / length];
  const [ux, uy] = [dx / length, dy / length];
  const [cx, cy] = [(a.x + b.x) / 2 + nx * bend, (a.y + b.y) / 2 + ny * bend];
  const ends = [a.x + ux * 20 + nx * 4, a.y + uy * 20 + ny * 4, b.x - ux * 24 + nx * 4, b.y - uy * 24 + ny * 4].map((one) => one.toFixed(1));
  const [mx, my] = [(a.x + b.x) / 2 + nx * bend * 0.55, (a.y + b.y) / 2 + ny * bend * 0.55];
  return { d: `M ${ends[0]} ${ends[1]} Q ${cx.toFixed(1)} ${cy.toFixed(1)} ${ends[2]} ${ends[3]}`, mid: `${mx.toFixed(1)} ${my.toFixed(1)}` };
}

function cut(text) {
  return text.length > form.letters ? `${text.slice(0, form.letters - 1)}…` : text;
}

function nodes(places, route, as) {
  const many = places.size > 40;
  return s("g", {}, [...places.values()].map((one) => {
    const name = data(memberName(one.member.member)).textContent;
    const code = data(one.member.member).textContent;
    const right = form.beside && one.angle !== null && Math.cos(one.angle) > 0.35;
    const left = form.beside && one.angle !== null && Math.cos(one.angle) < -0.35;
    const below = !right && !left && (!form.beside || one.angle === null || Math.sin(one.angle) > 0);
    const anchor = right ? "start" : left ? "end" : "middle";
    const [x, y] = right ? [24, 0] : left ? [-24, 0] : [0, below ? 36 : -38];
    const radius = many ? 6 : (one.angle === null ? 19 : 14) + Math.max(0, String(one.member.nodes.length).length - 2) * 4;
    return s("a", { href: to(route.trace, "sequence", "", { ...as, node: one.member.member }), class: `dot z-${one.zone}`, transform: `translate(${one.x.toFixed(1)} ${one.y.toFixed(1)})`, "aria-label": name === code ? name : `${name} (${code})` },
      s("title", {}, name === code ? name : `${name} · ${code}`), s("circle", { r: radius, class: "disc" }), s("circle", { r: radius, fill: `url(#p-${one.zone})`, class: "pattern" }),
      many ? null : s("text", { class: "count", y: 4, "text-anchor": "middle" }, one.member.nodes.length),
      many && one.angle !== null ? null : s("text", { x, y, "text-anchor": anchor, class: "name" }, cut(name)),
      many ? null : s("text", { x, y: y + 14, "text-anchor": anchor, class: "sub" }, name === code ? term("zone", one.zone) : form.beside ? `${cut(code)} · ${term("zone", one.zone)}` : cut(code)));
  }));
}

function histogram(time) {
  const max = Math.max(1, ...time.bins.map((one) => one.messages));
  const tall = (count) => (count ? Math.max(1.5, 34 * Math.sqrt(count / max)) : 0);
  const svg = s("svg", { class: "histogram", viewBox: `0 0 ${BINS} 36`, preserveAspectRatio: "none", "aria-hidden": "true" });
  time.bins.forEach((one, at) => {
    if (!one.messages) return;
    svg.append(s("rect", { x: at + 0.1, y: 36 - tall(one.messages), width: 0.8, height: tall(one.messages), "data-bin": at }));
    if (one.refusals) svg.append(s("rect", { class: "refusals", x: at + 0.1, y: 36 - tall(one.refusals), width: 0.8, height: tall(one.refusals), "data-bin": at }));
  });
  return svg;
}

function list(state, see) {
  const rows = pairsOf(state.now, state.how).slice().sort((a, b) => b.messages - a.messages).slice(0, 200);
  return h("table", { class: "list" }, h("thead", {}, h("tr", {}, ["from", "to", "messages", "refusals"].map((one) => h("th", { scope: "col" }, t(`map.${one}`))))),
    h("tbody", {}, rows.map((one) => h("tr", {}, h("td", {}, party(one.from)), h("td", {}, party(one.to)), h("td", { class: "figure" }, link(see(one), number(one.messages))), h("td", { class: "figure" }, one.refusals ? number(one.refusals) : "–")))));
}
