// A page that is drawn again leaves its reader where they are: what was open stays open, what had the focus has it, and
// nothing scrolls.

/** Put something else into an element by `put`, with everything in its place afterwards. */
export function stay(main, put) {
  const [top, left] = [main.scrollTop, main.scrollLeft];
  const open = [...main.querySelectorAll("details")].map((one) => [summary(one), one.open]);
  const held = main.contains(document.activeElement) ? document.activeElement : null;
  const at = held ? alike(main, held).indexOf(held) : -1;
  put();
  [...main.querySelectorAll("details")].forEach((one, place) => {
    if (open[place]?.[0] === summary(one)) one.open = open[place][1];
  });
  if (held) (alike(main, held)[at] ?? main).focus({ preventScroll: true });
  main.scrollTo(left, top);
}

function summary(details) {
  return details.querySelector("summary")?.textContent;
}

/** All that could be the same thing, drawn again. */
function alike(main, one) {
  const same = one.id ? `#${CSS.escape(one.id)}` : one.tagName.toLowerCase();
  const says = (other) => other.getAttribute("aria-label") ?? other.getAttribute("href") ?? other.name ?? other.textContent;
  return [...main.querySelectorAll(same)].filter((other) => one.id || says(other) === says(one));
}

/** Whether the reader is in the middle of nothing: has typed nothing, and holds no text. */
export function untouched(main) {
  const typed = [...main.querySelectorAll("input, textarea")].some((one) => one.value !== one.defaultValue);
  const held = getSelection();
  return !typed && (held.isCollapsed || !main.contains(held.anchorNode));
}
