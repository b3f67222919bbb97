// What scrolls can be scrolled by keys: it takes the focus itself where nothing in it does.

import { t } from "./words.js";

const SCROLLING = ".card, .sideways, .accounts-of, .sighted, .small";
const FOCUSABLE = "a[href], button:not([disabled]), input, select, textarea, summary, [tabindex='0']";

/** Keep everything in the page within reach, as its room changes. */
export function reach(main) {
  const all = () => {
    const named = new Map();
    check(main, main.querySelector(FOCUSABLE) || !scrolls(main) ? "-1" : "0");
    for (const one of main.querySelectorAll(SCROLLING)) check(one, scrolls(one) && !one.querySelector(FOCUSABLE) ? "0" : null, named);
  };
  new ResizeObserver(all).observe(main);
  new MutationObserver(all).observe(main, { childList: true });
  main.addEventListener("toggle", all, true);
}

function scrolls(one) {
  return one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1;
}

/** A place that takes the focus is a region, and every region has a name of its own. */
function check(one, index, named) {
  if (index === null) one.removeAttribute("tabindex");
  else if (one.getAttribute("tabindex") !== index) one.setAttribute("tabindex", index);
  if (one.tagName !== "DIV" || index === null) return;
  const name = one.closest("article, section")?.querySelector("h1, h2, h3")?.textContent ?? "";
  named.set(name, (named.get(name) ?? 0) + 1);
  one.setAttribute("role", "region");
  one.setAttribute("aria-label", t("reach.region", { name: named.get(name) > 1 ? `${name} (${named.get(name)})` : name }));
}
