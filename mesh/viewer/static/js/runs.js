// The traces of the folder, and starting a run to watch it live.

import { get, post, remove } from "./api.js";
import { data, h, replace, say } from "./dom.js";
import { number, span } from "./format.js";
import { encoded, to } from "./route.js";
import { either, t } from "./words.js";

export async function show({ signal }) {
  const [{ traces }, { scenarios, faults: plans }] = await Promise.all([get("/api/traces", {}, signal), get("/api/scenarios", {}, signal)]);
  const live = h("div", { class: "live", id: "live" });
  const watching = { source: null };
  const element = h("section", { class: "page runs" },
    h("div", { class: "columns" },
      h("section", { "aria-labelledby": "traces" }, h("h1", { id: "traces" }, t("runs.traces")),
        traces.length ? h("ul", { class: "tracelist" }, traces.map(one)) : h("p", { class: "quiet" }, t("runs.none"))),
      h("section", { class: "start", "aria-labelledby": "start" }, h("h2", { id: "start" }, t("runs.start")), form(scenarios, plans, live, watching), live)));
  return { element, leave: () => watching.source?.close() };
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

function form(scenarios, plans, live, watching) {
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
    replace(about, chosen ? [data(chosen.name, "mono"), " · ", (chosen.sources ?? []).slice(0, 2).join("、")] : null);
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
      watch(run, chosen, live, watching, () => { button.disabled = false; });
    } catch (error) {
      button.disabled = false;
      replace(live, h("p", { class: "trouble", role: "alert" }, data(error.message)));
    }
  }

  choose();
  return h("form", { onsubmit: start },
    h("label", {}, h("span", {}, t("runs.scenario")), select), about,
    h("label", {}, h("span", {}, t("trace.seed")), seed), settings,
    h("label", {}, h("span", {}, t("runs.faults")), faults), wrong, button);
}

/** The run as the server tells it, event by event. */
function watch(run, scenario, live, watching, ended) {
  const count = h("strong", { class: "big" }, "0");
  const elapsed = h("span", { class: "quiet" });
  const pulse = h("progress", { "aria-label": t("runs.running") });
  const growing = h("a", { class: "go", id: "growing-run", target: "_blank", rel: "noopener" }, t("runs.growing"));
  const stop = h("button", { class: "plain", onclick: () => { remove(`/api/runs/${encoded(run)}`).catch(() => {}); } }, t("runs.stop"));
  replace(live, h("h3", {}, data(either(scenario.title, scenario.title_ja))), pulse,
    h("p", {}, count, " ", t("unit.messages"), " ", elapsed), stop);
  say(t("runs.running"));
  watching.source?.close();
  const source = watching.source = new EventSource(`/api/runs/${encoded(run)}/events`);
  const over = (...children) => {
    source.close();
    ended();
    growing.parentElement?.remove();
    pulse.remove();
    stop.remove();
    live.append(...children);
  };
  let spoken = 0;
  source.addEventListener("progress", (event) => {
    const { messages, mesh_time_us, trace } = JSON.parse(event.data);
    // Progress is told with what was committed, so that the trace can be opened from then on.
    if (messages && !growing.isConnected) {
      growing.href = to(trace);
      live.append(h("p", {}, growing));
    }
    count.textContent = number(messages);
    elapsed.textContent = t("runs.meshtime", { span: span(mesh_time_us) });
    if (Date.now() - spoken > 5000) { spoken = Date.now(); say(`${number(messages)} ${t("unit.messages")}`); }
  });
  source.addEventListener("done", (event) => {
    const { trace, held, broke_off } = JSON.parse(event.data);
    say(t(held ? "runs.held" : "runs.broke"));
    over(h("p", { class: held ? "held" : "broke" }, t(held ? "runs.held" : "runs.broke")),
      broke_off ? h("p", { class: "quiet" }, t("runs.brokeoff"), " ", data(broke_off, "mono")) : null,
      h("p", {}, h("a", { class: "go", href: to(trace), id: "open-run" }, t("runs.look"))));
  });
  source.addEventListener("failed", (event) => {
    over(h("p", { class: "trouble", role: "alert" }, data(JSON.parse(event.data).text)));
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) over(h("p", { class: "trouble", role: "alert" }, t("runs.lost")));
  };
}
