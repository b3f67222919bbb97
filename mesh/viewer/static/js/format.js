// Numbers and times as a reader wants them. Every time is Japan's: the mesh has one clock.

import { currentLanguage, t } from "./words.js";

const JAPAN_US = 9 * 3600 * 1_000_000;
const FAR_US = 8.6e18;

export function number(value) {
  return new Intl.NumberFormat(currentLanguage()).format(value);
}

export function share(part, whole) {
  if (!whole) return "–";
  return new Intl.NumberFormat(currentLanguage(), { style: "percent", maximumFractionDigits: 1 }).format(part / whole);
}

/** `2024-10-15` and `09:00:01.055` of a time in µs since 1970. */
export function dateAndClock(us) {
  if (!Number.isFinite(us) || us > FAR_US || us < -FAR_US) return ["–", ""];
  const shifted = us + JAPAN_US;
  const iso = new Date(Math.floor(shifted / 1000)).toISOString();
  return [iso.slice(0, 10), iso.slice(11, 23)];
}

export function moment(us) {
  const [date, clock] = dateAndClock(us);
  return `${date} ${clock.slice(0, 8)}`;
}

/** A time to the millisecond, with its zone. */
export function instant(us) {
  const [date, clock] = dateAndClock(us);
  return clock ? t("time.instant", { date, clock }) : date;
}

const SIGNED = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** A time as it is signed, in UTC, as Japan's clocks show it; empty for what is none. */
export function fromUtc(text) {
  return SIGNED.test(text) ? instant(Date.parse(text) * 1000) : "";
}

const UNITS = [["us", 1, 1000], ["ms", 1000, 1_000_000], ["s", 1_000_000, 120_000_000], ["min", 60_000_000, 7_200_000_000],
  ["h", 3_600_000_000, 172_800_000_000], ["d", 86_400_000_000, Infinity]];

/** A length of time with its unit. */
export function span(us) {
  if (us === null || us === undefined) return "–";
  const [name, size] = UNITS.find(([, , below]) => us < below);
  return t(`span.${name}`, { count: trim(us / size) });
}

function trim(value) {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toFixed(value >= 10 ? 1 : 2)));
}

/** A digest that can be told from another at a glance. */
export function short(digest) {
  return digest.length > 18 ? `${digest.slice(0, 10)}…${digest.slice(-6)}` : digest;
}

/** The last part of an address. */
export function leaf(address) {
  return String(address).split("/").slice(2).join("/") || String(address);
}

export function memberOf(address) {
  return String(address).split("/").slice(0, 2).join("/");
}
