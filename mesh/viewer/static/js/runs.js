// The traces of the folder, and starting a run. What runs is asked for again and again: whoever leaves the page and comes
// back finds it, with what a terminal runs, too.

import { get, post } from "./api.js";
import { data, h, replace } from "./dom.js";
import { number } from "./format.js";
import { to } from "./route.js";
import { Underway } from "./underway.js";
import { either, t } from "./words.js";

export async function show({ signal }) {
  const [{ traces }, { scenarios, faults: plans }] = await Promise.all([get("/api/traces", {}, signal), get("/api/scenarios", {}, signal)]);
  const list = h("div", {}, listed(traces));
  const underway = new Underway(signal, async () => replace(list, listed((await get("/api/traces", {}, signal)).traces)));
  await underway.begin();
  const element = h("section", { class: "page runs" }, underway.element,
    h("div", { class: "columns" },
      h("section", { "aria-labelledby": "traces" }, h("h1", { id: "traces" }, t("runs.traces")), list),
      h("section", { class: "start", "aria-labelledby": "start" }, h("h2", { id: "start" }, t("runs.start")), form(scenarios, plans, underway))));
  return { element, leave: () => underway.close() };
}

function listed(traces) {
  return traces.length ? h("ul", { class: "tracelist" }, traces.map(one)) : h("p", { class: "quiet" }, t("runs.none"));
}

function one(trace) {
  const title = either(trace.title, trace.title_ja) || trace.scenario || trace.name;
  const opens = trace.messages > 0 || trace.scenario !== null || !trace.notes.length;
  return h("li", {},
    h(opens ? "a" : "div", opens ? { href: to(trace.name), class: "trace" } : { class: "trace" },
      h("strong", {}, data(title)),
      h("span", { class: "quiet mono" }, data(trace.name)),
      h("span", { class: "figures" }, h("span", {}, number(trace.messages), " ", t("unit.messages")),
        trace.seed === null ? null : h("span", {}, t("trace.seed"), " ", data(trace.seed)), trace.complete ? null : h("span", { class: "code" }, t("runs.open")))),
    trace.faults ? h("p", { class: "faulty" }, t("trace.faults"), " ", data(either(trace.faults.title, trace.faults.title_ja))) : null,
    trace.notes.length ? h("ul", { class: "notes" }, trace.notes.map((note, at) => h("li", {}, data(either(note, trace.notes_ja?.[at]))))) : null);
}

function form(scenarios, plans, underway) {
  const settings = h("div", { class: "settings" });
  const about = h("p", { class: "quiet" });
  const select = h("select", { name: "scenario", id: "scenario", onchange: () => choose() },
    scenarios.map((one) => h("option", { value: one.name }, either(one.title, one.title_ja))));
  const seed = h("input", { name: "seed", type: "number", min: "0", max: "4294967295", value: "1", required: true });
  const faults = h("select", { name: "faults", "aria-describedby": "faults-about", onchange: () => tell() },
    h("option", { value: "" }, t("runs.faults.none")), plans.map((one) => h("option", { value: one.name }, either(one.title, one.title_ja))));
  const wrong = h("ul", { class: "quiet wrong", id: "faults-about" });
  const button = h("button", { type: "submit", class: "go" }, t("runs.go"));

  function choose() {
    const chosen = scenarios.find((one) => one.name === select.value);
    replace(about, chosen ? [data(chosen.name, "mono"), " · ", (chosen.sources ?? []).slice(0, 2).join(t("list.comma"))] : null);
    replace(settings,
      (chosen?.settings ?? []).map((one) => h("label", {}, h("span", {}, data(one.name)), one.type === "bool"
        ? h("input", { type: "checkbox", name: `set-${one.name}`, checked: one.default === true })
        : h("input", { name: `set-${one.name}`, value: String(one.default ?? ""), maxlength: "200", inputmode: one.type === "int" ? "numeric" : "text" }))));
  }

  function tell() {
    const chosen = plans.find((one) => one.name === faults.value);
    replace(wrong, (chosen?.faults ?? []).map((one) => h("li", {}, data(either(one.text, one.text_ja)))));
  }

  async function start(event) {
    event.preventDefault();
    const chosen = scenarios.find((one) => one.name === select.value);
    const given = {};
    for (const one of chosen.settings ?? []) {
      const field = settings.querySelector(`[name="set-${CSS.escape(one.name)}"]`);
      const value = one.type === "bool" ? field.checked : field.value;
      if (String(value) !== String(one.default ?? "")) given[one.name] = one.type === "int" && /^-?\d+$/.test(value) ? Number(value) : value;
    }
    button.disabled = true;
    try {
      const { run } = await post("/api/runs", { scenario: chosen.name, seed: Number(seed.value), settings: given, faults: faults.value || null });
      underway.started(run);
    } catch (error) {
      underway.complain(error.message);
    }
    button.disabled = false;
  }

  choose();
  return h("form", { onsubmit: start },
    h("label", {}, h("span", {}, t("runs.scenario")), select), about,
    h("label", {}, h("span", {}, t("trace.seed")), seed), settings,
    h("label", {}, h("span", {}, t("runs.faults")), faults), wrong, button);
}
