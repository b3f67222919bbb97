// What parties, services and procedures are called. A name is what a trace says of itself and anybody may call themselves
// anything: it stands beside the address, never in its place.

import { data, h } from "./dom.js";
import { leaf, memberOf } from "./format.js";
import { either, term, t } from "./words.js";

let known = { names: {}, services: {}, procedures: {}, codes: {} };

/** Take the names of a trace, from now on. */
export function useNames(meta) {
  known = { names: meta?.names ?? {}, services: meta?.titles?.services ?? {}, procedures: meta?.titles?.procedures ?? {},
    codes: meta?.titles?.codes ?? {} };
}

function called(kind, key) {
  const one = Object.hasOwn(known[kind], key) ? known[kind][key] : undefined;
  return one ? either(one.title, one.title_ja) : "";
}

/** What a member is called, or its code; many of one kind together have a word of their own. */
export function memberName(member) {
  return member.endsWith("/*") ? term("bundle", member) : called("names", member) || member;
}

/** What a system is called, or the last part of its address. */
export function systemName(address) {
  return called("names", address) || leaf(address);
}

/** Member and system in one line, or the address where the trace has no name for either. */
export function fullName(address) {
  const parts = String(address).split("+");
  if (parts.length > 1) return parts.map(fullName).join(" + ");
  const member = memberOf(address);
  if (address === member) return memberName(address);
  if (!called("names", member) && !called("names", address)) return address;
  return t("name.full", { member: memberName(member), system: systemName(address) });
}

/** The name as a person reads it, and the address beside it. */
export function party(address, kind = "") {
  return both(fullName(address), address, kind);
}

export function service(id, kind = "") {
  return both(called("services", id) || id, id, kind);
}

export function serviceName(id) {
  return called("services", id) || id;
}

/** A code, and what it says to whoever asks for it. */
export function codeBadge(code) {
  return h("span", { class: "code", title: codeText(code) || null }, data(code));
}

/** What a code says, in the reader's language. */
export function codeText(code) {
  return called("codes", code);
}

export function procedure(id, kind = "") {
  return both(called("procedures", id) || id, id, kind);
}

function both(name, id, kind) {
  return h("span", { class: `named ${kind}`.trim(), title: id },
    name === id ? data(id, "mono") : [data(name, "name"), " ", data(id, "mono id")]);
}

/** All by which a person may look for a party. */
export function wording(address) {
  const all = [address, memberOf(address)].flatMap((one) => Object.hasOwn(known.names, one) ? [known.names[one].title, known.names[one].title_ja] : []);
  return [address, fullName(address), ...all].join(" ");
}
