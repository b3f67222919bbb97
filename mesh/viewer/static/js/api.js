// Asks the server. Every answer is JSON; an error carries its text.

import { encoded } from "./route.js";

export class Trouble extends Error {
  constructor(status, text, more = {}) { super(text); this.status = status; this.why = more.why; this.nearest = more.nearest; }
}

export async function get(path, query = {}, signal = undefined) {
  return read(await fetch(address(path, query), { signal }));
}

export async function post(path, body) {
  return read(await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  }));
}

export async function remove(path) {
  return read(await fetch(path, { method: "DELETE" }));
}

export function address(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

export function ofTrace(name, rest = "") {
  return `/api/t/${encoded(name)}${rest}`;
}

async function read(answer) {
  let body = null;
  try { body = await answer.json(); } catch { /* What is no JSON says nothing. */ }
  if (!answer.ok) throw new Trouble(answer.status, body?.error ?? `${answer.status} ${answer.statusText}`, body ?? {});
  return body;
}

/** Of who is not in the trace each page says so itself. */
function nobody(error) {
  if (error instanceof Trouble) return {};
  throw error;
}

const METAS_MAX = 4;
const metas = new Map();

/** What a trace says about itself, the same object as before as long as there is nothing else to see of it. Its `seen`
 *  is what of that is for who looks: what a page shows; the rest is for choosing through whose eyes to look. */
export async function metaOf(name, as = "", signal = undefined) {
  const { stamp, listed, index } = await get(ofTrace(name, "/progress"), {}, signal);
  const key = `${name}?${as}`, known = metas.get(key);
  if (known?.stamp === stamp && known.listed === listed && known.done === index.done) return known.meta;
  const meta = await get(ofTrace(name), {}, signal);
  const { notes, notes_ja, faults, seed, broke_off } = as ? await get(ofTrace(name), { as }, signal).catch(nobody) : meta;
  meta.seen = { notes, notes_ja, faults, seed, broke_off };
  metas.set(key, { stamp, listed, done: index.done, meta });
  if (metas.size > METAS_MAX) metas.delete(metas.keys().next().value);
  return meta;
}
