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
  const places = place(whole.stands);
  const state = { bin: null, playing: null, how: route.query.how === "asked" ? "asked" : "sent", now: whole };
  const drawing = s("svg", { class: `network ${form.beside ? "" : "upright"}`.trim(), viewBox: `0 0 ${form.width} ${form.height}`, role: "group", "aria-label": t("map.label") });
  const when = h("output", { class: "mono" });
  const counts = h("output", { class: "quiet" });
  const slider = h("input", { type: "range", min: "0", max: String(BINS), value: String(BINS), "aria-label": t("map.time"), id: "time", oninput: () => move(Number(slider.value)) });
  const play = h("button", { class: "go", id: "play", onclick: () => toggle() }, t("map.play"));
  const bars = histogram(time);
  const table = h("div", {});
  const see = (one) => to(route.trace, "sequence", "", one.from.includes("*") ? as : { ...as, node: one.from, q: one.to.replace("/*", "/") });
  const stands = Map.groupBy(places.values(), (one) => one.member.member);
  const apart = (member) => stands.get(member)?.length > 1;

  function draw() {
    replace(drawing, symbols(), grounds(places), kin(stands), edges(places, whole, state.now, state.how, state.bin !== null), nodes(places, route, as, apart));
    const { from, until } = range();
    when.textContent = state.bin === null ? `${moment(meta.start_us + time.from_us)} – ${moment(meta.start_us + time.to_us)}` : `${moment(meta.start_us + from)} – ${moment(meta.start_us + until)}`;
    const sum = (name) => state.now.edges.reduce((total, one) => total + one[name], 0);
    counts.textContent = t("map.counts", { messages: number(sum("messages")), refusals: number(sum("refusals")) });
    slider.setAttribute("aria-valuetext", `${when.textContent}, ${counts.textContent}`);
    bars.querySelectorAll("rect").forEach((bar) => bar.classList.toggle("now", Number(bar.dataset.bin) === state.bin));
    replace(table, list(state, see, apart));
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
    element: h("section", { class: "page mapper", "aria-label": t("nav.map") }, h("h1", { class: "unseen" }, t("nav.map")),
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

/** A member in one zone: what stands in two is drawn twice, each system in its own. */
function key(member, zone) {
  return `${zone ?? "none"} ${member}`;
}

/** Where members stand, by zone. Where there are too many to tell apart, those of one kind stand together. */
function together(found) {
  const stands = new Map();
  for (const { member, nodes } of found.members) {
    for (const node of nodes) {
      const zone = node.zone ?? "none";
      if (!stands.has(key(member, zone))) stands.set(key(member, zone), { member, zone, nodes: [] });
      stands.get(key(member, zone)).nodes.push(node);
    }
  }
  const many = stands.size > GROUPS_MAX;
  const named = many ? bundled : (member) => member;
  const places = new Map();
  for (const { member, zone, nodes } of stands.values()) {
    const known = places.get(key(named(member), zone));
    if (known) known.nodes.push(...nodes);
    else places.set(key(named(member), zone), { member: named(member), zone, nodes });
  }
  const merge = (edges, names) => {
    const merged = new Map();
    for (const one of edges) {
      const [from, goes] = [named(one.from), named(one.to)];
      const ends = [key(from, one.from_zone), key(goes, one.to_zone)];
      const known = merged.get(ends.join(" ")) ?? { ...one, from, to: goes, ends, ...Object.fromEntries(names.map((name) => [name, 0])) };
      names.forEach((name) => { known[name] += one[name]; });
      merged.set(ends.join(" "), known);
    }
    return [...merged.values()];
  };
  return { ...found, stands: [...places.values()], edges: merge(found.edges, ["messages", "refusals"]), exchanges: merge(found.exchanges ?? [], ["count"]) };
}

/** Who goes through most stands in the middle; the others around, neighbours in one zone. */
function place(stands) {
  const middle = stands.find((one) => one.nodes.some((node) => node.address.endsWith("/broker")));
  const around = stands.filter((one) => one !== middle)
    .map((one, at) => [ZONES.indexOf(one.zone), one.member.split("/")[0], at, one])
    .sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] - b[2])).map((one) => one[3]);
  const places = new Map();
  const put = (member, more) => places.set(key(member.member, member.zone), { member, zone: member.zone, ...more });
  if (middle) put(middle, { x: form.width / 2, y: form.height / 2, angle: null });
  const rings = Math.ceil(around.length / RING_MAX);
  around.forEach((one, at) => {
    const ring = at % Math.max(1, rings);
    const angle = Math.PI + (2 * Math.PI * (at + 0.5)) / around.length;
    const far = 1 - ring * (0.62 / Math.max(1, rings));
    put(one, { x: form.width / 2 + Math.cos(angle) * form.rx * far, y: form.height / 2 + Math.sin(angle) * form.ry * far, angle, far });
  });
  return places;
}

/** What ties the places of one member. */
function kin(stands) {
  return s("g", { class: "onemember" }, [...stands.values()].filter((all) => all.length > 1)
    .flatMap((all) => all.slice(1).map((one, at) => s("path", { d: `M ${all[at].x.toFixed(1)} ${all[at].y.toFixed(1)} L ${one.x.toFixed(1)} ${one.y.toFixed(1)}` }))));
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
  const active = new Map(pairsOf(now, how).map((one) => [one.ends.join(" "), one]));
  return s("g", {}, all.map((one) => {
    const [a, b] = one.ends.map((end) => places.get(end));
    if (!a || !b) return null;
    const live = active.get(one.ends.join(" "));
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

function nodes(places, route, as, apart) {
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
    const zone = term("zone", one.zone);
    const sub = name === code ? zone : form.beside ? `${cut(code)} · ${zone}` : apart(one.member.member) ? zone : cut(code);
    const whose = one.member.member.endsWith("/*") ? { q: one.member.member.slice(0, -1) } : { node: one.member.nodes.length === 1 ? one.member.nodes[0].address : one.member.member };
    const nameless = many || cut(name) !== name;
    return s("a", { href: to(route.trace, "sequence", "", { ...as, ...whose }), class: `dot z-${one.zone}`, transform: `translate(${one.x.toFixed(1)} ${one.y.toFixed(1)})` },
      nameless ? s("title", {}, `${name === code ? name : `${name} · ${code}`} · ${zone}`) : null, s("circle", { r: radius, class: "disc" }), s("circle", { r: radius, fill: `url(#p-${one.zone})`, class: "pattern" }),
      many ? null : s("text", { class: "count", y: 4, "text-anchor": "middle", "aria-hidden": "true" }, one.member.nodes.length),
      many && one.angle !== null ? null : s("text", { x, y, "text-anchor": anchor, class: "name" }, cut(name)),
      many ? null : s("text", { x, y: y + 14, "text-anchor": anchor, class: "sub" }, sub));
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

function list(state, see, apart) {
  const rows = pairsOf(state.now, state.how).slice().sort((a, b) => b.messages - a.messages).slice(0, 200);
  return h("table", { class: "list" }, h("thead", {}, h("tr", {}, ["from", "to", "messages", "refusals"].map((one) => h("th", { scope: "col" }, t(`map.${one}`))))),
    h("tbody", {}, rows.map((one) => h("tr", {}, [["from", "from_zone"], ["to", "to_zone"]].map(([end, zone]) => h("td", {}, party(one[end]), apart(one[end]) ? h("span", { class: "quiet" }, " · ", term("zone", one[zone] ?? "none")) : null)), h("td", { class: "figure" }, link(see(one), number(one.messages))), h("td", { class: "figure" }, one.refusals ? number(one.refusals) : "–")))));
}
