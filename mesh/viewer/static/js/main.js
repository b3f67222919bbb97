// The shell: one bar, one page at a time. A page is a module with `show({route, meta, found, index, signal})` that
// returns its element and, if it needs them, `leave`, `keys` and `renew`, by which it takes what has changed. What it
// asks of the trace its `asks(route, meta)` says; it is shown once all that is known, or at once if it is `early`.

import { metaOf } from "./api.js";
import { data, h, link, replace, say, visible } from "./dom.js";
import { fullName, useNames } from "./names.js";
import { openPerspective } from "./perspective.js";
import { advance, Following, reading } from "./reading.js";
import { reach } from "./reach.js";
import { asQuery, PAGES, parse, to } from "./route.js";
import { stay, untouched } from "./staying.js";
import { currentLanguage, either, LANGUAGES, loadWords, recall, remember, setLanguage, t } from "./words.js";

const MODULES = {
  runs: "./runs.js", sequence: "./sequence.js", message: "./message.js", map: "./map.js", collusion: "./collusion.js",
  resident: "./resident.js", commission: "./commission.js", outcome: "./outcome.js",
};
const THEMES = ["auto", "light", "dark"];

let current = { leave() {}, keys() { return false; } };
let latest = null;
let turn = 0;

async function visit() {
  const mine = ++turn;
  const held = document.activeElement?.id;
  current.leave?.();
  const route = parse(location.hash);
  const main = document.getElementById("main");
  main.className = route.page;
  main.setAttribute("aria-busy", "true");
  const aborter = new AbortController();
  current = { leave: () => aborter.abort() };
  latest = null;
  try {
    const loaded = import(MODULES[route.page]);
    if (route.trace !== null) latest = await metaOf(route.trace, asQuery(route).as, aborter.signal);
    if (mine !== turn) return;
    useNames(latest);
    bar(route, latest);
    const module = await loaded;
    const draw = drawer(route, module, aborter, (shown) => { if (mine > 1) keepFocus(main, held, shown); });
    if (route.trace === null) await draw({ meta: null, found: {}, index: { done: true } });
    else await new Following({ trace: route.trace, as: asQuery(route).as, meta: latest, asks: (meta) => module.asks(route, meta), signal: aborter.signal, draw }).begin();
    if (mine === turn) say(document.title);
  } catch (error) {
    if (mine !== turn || error.name === "AbortError") return;
    bar(route, latest);
    replace(main, seenBy(route), trouble(error, route));
    if (mine > 1) keepFocus(main, held, {});
    say(error.message);
  } finally {
    if (mine === turn) main.removeAttribute("aria-busy");
  }
}

/** What draws one page, and again when there is more; it says whether it has drawn all that it was told. */
function drawer(route, module, aborter, arrived) {
  const main = document.getElementById("main");
  let [shown, drawn] = [null, ""];
  return async ({ meta, found, index }) => {
    const text = JSON.stringify([meta, found], (name, value) => (name === "share" ? undefined : value));
    if (text === drawn || aborter.signal.aborted) { advance(main, index); return true; }
    latest = meta;
    useNames(meta);
    if (!index.done && !module.early) {
      // What stood there stays until there is something newer to say.
      if (shown === null && drawn === "") replace(main, notes(meta), seenBy(route), waiting(route, module, index));
      if (drawn === "") arrived({});
      drawn ||= "waiting";
      advance(main, index);
      return true;
    }
    if (shown?.renew) {
      main.querySelector(":scope > .notes")?.remove();
      main.prepend(notes(meta) ?? "");
      shown.renew({ meta, found, index });
      drawn = text;
      return true;
    }
    if (shown !== null && !untouched(main)) return false;
    const next = await module.show({ route, meta, found, index, signal: aborter.signal });
    if (aborter.signal.aborted) { next.leave?.(); return true; }
    shown?.leave?.();
    const put = () => { replace(main, notes(meta), seenBy(route), next.element); next.shown?.(); };
    if (shown !== null) stay(main, put);
    else {
      const free = [null, document.body].includes(document.activeElement) || main.contains(document.activeElement);
      put();
      if (free || drawn === "") arrived(next);
    }
    [shown, drawn] = [next, text];
    current = { ...next, leave() { aborter.abort(); shown.leave?.(); } };
    return true;
  };
}

function waiting(route, module, index) {
  return h("section", { class: "page" }, h("h1", {}, t(module.title ?? `nav.${route.page}`)), reading(index, module.waits));
}

/** Where one was, if that is still there; else the page's own place, or its title. */
function keepFocus(main, held, shown) {
  const again = held && held !== "main" ? document.getElementById(held) : null;
  if (again && !again.disabled) { again.focus({ preventScroll: true }); return; }
  const place = shown.place ?? main.querySelector("h1") ?? main;
  if (place.tabIndex < 0) place.tabIndex = -1;
  place.focus({ preventScroll: true });
  if (document.activeElement?.tagName === "H1") main.scrollTop = 0;
}

function trouble(error, route) {
  const nearest = error.nearest === null || error.nearest === undefined ? null : to(route.trace, "message", String(error.nearest), asQuery(route));
  return h("section", { class: "page" }, h("h1", {}, t(`nav.${route.page}`)),
    h("p", { class: error.why ? "notes absent" : "trouble", role: "alert" }, error.why ? t(`absent.${error.why}`) : data(error.message)),
    nearest ? h("p", {}, link(nearest, t("absent.nearest"), ` #${error.nearest}`)) : null,
    h("p", {}, link(route.query.as ? to(route.trace, route.page, route.rest) : "#/",
      route.query.as ? t("perspective.reset") : t("nav.runs"))));
}

/** What is wrong with a trace stands above every page of it. */
function notes(meta) {
  const seen = meta?.seen, all = (seen?.notes ?? []).map((one, at) => data(either(one, seen.notes_ja?.[at])));
  if (meta && !meta.complete && all.length === 0) all.push(t("trace.incomplete"));
  if (seen?.faults) all.unshift(faults(seen.faults));
  return all.length ? h("ul", { class: "notes", "aria-label": t("trace.notes") }, all.map((one) => h("li", {}, one))) : null;
}

/** Under which faults it ran, and what each of them met. */
function faults({ name, title, title_ja, faults: each }) {
  return h("details", { class: "faults" },
    h("summary", {}, t("trace.faults"), " ", h("strong", {}, data(either(title, title_ja))), " ", data(name, "mono")),
    h("ul", {}, each.map((one) => h("li", {}, data(either(one.text, one.text_ja))))));
}

function seenBy(route) {
  const name = asQuery(route).as;
  if (!name || route.trace === null) return null;
  return h("div", { class: "seenby" }, h("span", {}, t("perspective.seen")), " ", name === "wire" ? t("perspective.wire") : [h("strong", {}, data(fullName(name))), fullName(name) === name ? null : [" ", data(name, "mono quiet")]], " ",
    h("span", { class: "quiet" }, t(name === "wire" ? "perspective.wire.about" : "perspective.about")),
    link(to(route.trace, route.page, route.rest, { ...route.query, as: "" }), t("perspective.reset")));
}

function bar(route, meta) {
  const title = meta ? either(meta.title, meta.title_ja) || meta.name : t("app.title");
  document.title = meta ? visible(`${t(`nav.${route.page}`)} · ${title}`) : t("app.title");
  document.getElementById("skip").textContent = t("nav.skip");
  const query = asQuery(route);
  const pages = route.trace === null ? [] : PAGES.map((page) => {
    const here = page === route.page || (page === "sequence" && route.page === "message");
    return h("a", { href: to(route.trace, page, "", query), "aria-current": here ? "page" : false }, t(`nav.${page}`));
  });
  replace(document.getElementById("bar"),
    h("div", { class: "brand" },
      h("a", { href: "#/", class: "home", "aria-label": t("nav.runs") }, mark()),
      meta ? h("div", { class: "what" }, h("strong", { title: title }, data(title)),
        h("span", { class: "quiet mono" }, data(meta.name), (meta.seen.seed ?? null) === null ? "" : ` · ${t("trace.seed")} ${meta.seen.seed}`))
        : h("div", { class: "what" }, h("strong", {}, t("app.title")), h("span", { class: "quiet" }, t("app.about")))),
    pages.length ? h("nav", { "aria-label": t("nav.pages") }, pages) : h("span", {}),
    h("div", { class: "tools" },
      meta ? h("button", { class: "as", "aria-haspopup": "dialog", id: "perspective", onclick: () => openPerspective(route, latest ?? meta) },
        h("span", { class: "quiet" }, t("perspective.as")), " ", data(named(query.as))) : null,
      h("button", { class: "plain", id: "language", lang: other(), onclick: switchLanguage }, other() === "ja" ? "日本語" : "English"),
      h("button", { class: "plain", id: "theme", onclick: switchTheme, "aria-label": `${t("theme.label")}: ${t(`theme.${theme()}`)}`, title: t(`theme.${theme()}`) }, { auto: "◐", light: "○", dark: "●" }[theme()])));
  document.querySelector("#bar nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function named(as) {
  return { undefined: t("perspective.everything"), wire: t("perspective.wire") }[as] ?? fullName(as);
}

function mark() {
  return h("img", { src: "/icon.svg", width: "26", height: "26", alt: "" });
}

function other() {
  return LANGUAGES.find((one) => one !== currentLanguage());
}

function switchLanguage() {
  setLanguage(other());
  remember("language", currentLanguage());
  visit();
}

function theme() {
  return THEMES.includes(recall("theme")) ? recall("theme") : "auto";
}

function switchTheme() {
  remember("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  document.documentElement.dataset.theme = theme();
  visit();
}

document.documentElement.dataset.theme = theme();
await loadWords();
addEventListener("hashchange", visit);
reach(document.getElementById("main"));
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (current.keys?.(event)) event.preventDefault();
});
visit();
