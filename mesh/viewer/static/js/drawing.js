// One message as a line between two parties. What it is shows by form first; colour only repeats it.
//
//   request  solid line, filled head             push     solid line, open head
//   permit   the same with a stamp at its start  receipt  fine line, ring
//   reply    dotted line, filled head            consent  solid line, diamond
//   refusal  dotted line, crossed                drop     broken line that ends on the way
//   refused  any line, crossed before its head   retry    any line that begins with a loop
//   sealed   a closed envelope on the line; a tag where only the person's code is closed
//
// Marks stand beside whose they are: before the sender what was sent, before the recipient what its gate made of it;
// so none of them stands on a party's line that the arrow only crosses.

import { s } from "./dom.js";

export const HEIGHT = 26;
const MIDDLE = HEIGHT / 2;
const PUSHES = ["event", "notice"];

/** The forms of a row as SVG elements; `from` and `to` are x, equal for a party that writes to itself; `each` lies between two lines. */
export function line(row, from, to, { retry = false, each = Math.abs(to - from) } = {}) {
  const lost = row.fate === "dropped" || row.fate === "unreachable" || row.fate === "in-flight";
  const kind = row.readable ? row.kind : "wire";
  const classes = ["line", `k-${FORMS.includes(kind) ? kind : "other"}`, lost ? "lost" : "", row.refused ? "refused" : ""];
  const made = [];
  if (from === to) made.push(...loop(from, kind));
  else {
    const way = Math.sign(to - from);
    let at = 4 + (row.permitted ? 5 : 0);
    if (retry) made.push(...again(from + way * (at + 5 + (row.permitted ? 1 : 0))));
    if (retry) at += 11;
    const start = from + way * at;
    const end = lost ? from + way * cutAt(row.fate, Math.abs(to - from), each) : to - way * 4;
    made.push(...shaft(kind, start, end, way, lost));
    if (row.permitted) made.push(...stamp(from));
    if (lost) made.push(...broken(row.fate, end, to, way));
    else made.push(...head(kind, end, way));
    if (kind === "refusal") {
      made.push(cross(from + way * (at + 10)));
      at += 14;
    }
    if (row.refused) made.push(cross(to - way * 21));
    const closed = row.sealed ?? [];
    const room = each - (lost ? each * 0.4 : 14) - at;
    if (room > 20 && closed.some((one) => one !== "subject")) made.push(...envelope(from + way * (at + 13)));
    else if (room > 14 && closed.length) made.push(...tag(from + way * (at + 11)));
  }
  return s("g", { class: classes.filter(Boolean).join(" ") }, made);
}

export const FORMS = ["request", "reply", "refusal", "event", "notice", "receipt", "consent", "registry", "permit", "wire"];

function shaft(kind, start, end, way) {
  if (kind === "wire") {
    return [s("path", { class: "tube", d: `M ${start} ${MIDDLE - 2.5} H ${end - way * 4} M ${start} ${MIDDLE + 2.5} H ${end - way * 4}` })];
  }
  const stop = ["request", "reply", "refusal", "registry", "permit"].includes(kind) ? end - way * 5 : kind === "receipt" ? end - way * 6 : end;
  return [s("path", { class: "shaft", d: `M ${start} ${MIDDLE} H ${stop}` })];
}

function head(kind, end, way) {
  const at = (back, up) => `${end - way * back} ${MIDDLE + up}`;
  if (PUSHES.includes(kind)) return [s("path", { class: "open", d: `M ${at(8, -5)} L ${at(0, 0)} L ${at(8, 5)}` })];
  if (kind === "receipt") return [s("circle", { class: "ring", cx: end - way * 3, cy: MIDDLE, r: 3 })];
  if (kind === "consent") return [s("path", { class: "full", d: `M ${at(10, 0)} L ${at(5, -4.5)} L ${at(0, 0)} L ${at(5, 4.5)} Z` })];
  if (kind === "wire") return [s("path", { class: "tube", d: `M ${at(6, -5.5)} L ${at(0, 0)} L ${at(6, 5.5)}` })];
  return [s("path", { class: "full", d: `M ${at(9, -4.5)} L ${at(0, 0)} L ${at(9, 4.5)} Z` })];
}

function stamp(x) {
  return [s("rect", { class: "stamp", x: x - 5, y: MIDDLE - 5, width: 10, height: 10, rx: 2 }),
    s("path", { class: "stamped", d: `M ${x - 2.2} ${MIDDLE} l 1.7 1.9 l 3 -3.7` })];
}

function again(x) {
  return [s("path", { class: "fine", d: `M ${x + 2.6} ${MIDDLE - 3.2} A 4.2 4.2 0 1 0 ${x + 4.2} ${MIDDLE + 0.6}` }),
    s("path", { class: "full", d: `M ${x - 0.4} ${MIDDLE - 6.4} L ${x + 4.6} ${MIDDLE - 4} L ${x + 0.4} ${MIDDLE - 0.8} Z` })];
}

function cross(x) {
  return s("path", { class: "cross", d: `M ${x - 5} ${MIDDLE - 5} l 10 10 m 0 -10 l -10 10` });
}

/** Where a line ends that never arrived: between two parties' lines, past the middle of its way. */
function cutAt(fate, length, each) {
  const columns = Math.max(1, Math.round(length / each));
  return (Math.floor(columns * (fate === "in-flight" ? 0.7 : 0.5)) + 0.6) * (length / columns);
}

function broken(fate, end, to, way) {
  const made = [];
  if (fate === "in-flight") made.push(s("path", { class: "ghost", d: `M ${end} ${MIDDLE} H ${to}` }));
  else made.push(s("path", { class: "cut", d: `M ${end + way * 2} ${MIDDLE - 6} l ${way * 4} 5 l ${-way * 5} 2 l ${way * 4} 5` }));
  if (fate === "unreachable") made.push(s("path", { class: "cut", d: `M ${to - way * 7} ${MIDDLE - 6} V ${MIDDLE + 6}` }));
  return made;
}

function envelope(x) {
  return [s("rect", { class: "envelope", x: x - 8, y: MIDDLE - 6, width: 16, height: 12, rx: 1.5 }),
    s("path", { class: "flap", d: `M ${x - 7.5} ${MIDDLE - 5} L ${x} ${MIDDLE + 1} L ${x + 7.5} ${MIDDLE - 5}` })];
}

function tag(x) {
  return [s("path", { class: "envelope", d: `M ${x - 7} ${MIDDLE} l 4 -4.5 h 9 v 9 h -9 Z` }), s("circle", { class: "flap", cx: x - 2, cy: MIDDLE, r: 1.2 })];
}

function loop(x, kind) {
  return [s("path", { class: "shaft", d: `M ${x + 4} ${MIDDLE - 6} h 14 q 6 0 6 6 t -6 6 h -8` }),
    s("path", { class: PUSHES.includes(kind) ? "open" : "full", d: `M ${x + 13} ${MIDDLE + 1.5} L ${x + 5} ${MIDDLE + 6} L ${x + 13} ${MIDDLE + 10.5}` })];
}
