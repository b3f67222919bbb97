// The one control by which a reader takes somebody's place.

import { data, h, replace } from "./dom.js";
import { fullName, wording } from "./names.js";
import { to } from "./route.js";
import { t } from "./words.js";

const LISTED_MAX = 200;

function title(name) {
  return fullName(name) === name ? "" : fullName(name);
}

/** Everybody who can be looked through the eyes of: name, group and what it is. */
export function choices(meta) {
  const members = [...new Set(meta.parties.map((one) => one.member))];
  const roles = [["perspective.everything", "everything"], ["perspective.wire", "wire"]];
  const broker = meta.parties.find((one) => one.address.endsWith("/broker"));
  const commission = meta.parties.find((one) => one.member === "gov/ppc" || one.address.includes("commission"));
  if (broker) roles.push(["perspective.broker", broker.address]);
  if (commission) roles.push(["perspective.commission", commission.address]);
  return [
    ...roles.map(([key, name]) => ({ name, text: t(key), group: "first" })),
    ...members.map((name) => ({ name, text: title(name), group: "members" })),
    ...meta.parties.map((one) => ({ name: one.address, text: title(one.address), group: "nodes" })),
    ...meta.residents.map((name) => ({ name, text: "", group: "residents" })),
  ];
}

export function openPerspective(route, meta) {
  const all = choices(meta);
  const list = h("div", { class: "choices", role: "listbox", id: "choices", "aria-label": t("perspective.choose") });
  let chosen = 0;
  let listed = [];
  const input = h("input", {
    type: "search", role: "combobox", "aria-expanded": "true", "aria-controls": "choices", "aria-autocomplete": "list",
    placeholder: t("perspective.placeholder"), "aria-label": t("perspective.choose"), autocomplete: "off",
    spellcheck: "false", oninput: () => { chosen = 0; draw(); }, onkeydown: keys,
  });
  const dialog = h("dialog", { class: "perspective", "aria-label": t("perspective.choose"), onclose: () => dialog.remove(),
    onclick: (event) => { if (event.target === dialog) dialog.close(); } },
  h("p", { class: "quiet" }, t("perspective.explain")), input, list);

  function draw() {
    const wanted = input.value.trim().toLowerCase();
    listed = all.filter((one) => `${one.text} ${wording(one.name)}`.toLowerCase().includes(wanted)).slice(0, LISTED_MAX);
    if (wanted.includes("+")) listed = [{ name: input.value.trim(), text: t("perspective.together"), group: "first" }];
    let group = "";
    replace(list, listed.flatMap((one, at) => {
      const head = one.group === group ? null : h("div", { class: "group", role: "presentation" }, t(`perspective.group.${one.group}`));
      group = one.group;
      return [head, h("div", {
        role: "option", id: `choice-${at}`, "aria-selected": String(at === chosen), onclick: () => take(one.name),
      }, one.text ? data(one.text) : null, one.group === "first" && !one.name.includes("/") ? null : data(one.name, one.text ? "mono quiet" : "mono"))];
    }));
    input.setAttribute("aria-activedescendant", listed.length ? `choice-${chosen}` : "");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  function keys(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) {
      chosen = Math.max(0, Math.min(listed.length - 1, chosen + step));
      draw();
      event.preventDefault();
    } else if (event.key === "Enter" && listed[chosen]) {
      take(listed[chosen].name);
      event.preventDefault();
    } else if (event.key === "Escape") dialog.close();
  }

  function take(name) {
    dialog.close();
    const query = { ...route.query, as: name === "everything" ? "" : name };
    const goes = route.page === "sequence" ? new URLSearchParams(location.hash.split("?")[1] ?? "") : new URLSearchParams(query);
    goes.delete("as");
    location.hash = to(route.trace, route.page, route.rest, { ...Object.fromEntries(goes), as: query.as });
  }

  document.body.append(dialog);
  draw();
  dialog.showModal();
  input.focus();
}
