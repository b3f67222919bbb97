// Addresses of pages: `#/t/NAME/PAGE/REST?as=…`, each a link that one can send.

export const PAGES = ["sequence", "map", "collusion", "resident", "commission", "outcome"];

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const parts = path.split("/").filter(Boolean).map(decoded);
  const route = { page: "runs", trace: null, rest: "", query: Object.fromEntries(new URLSearchParams(query)) };
  if (parts[0] === "t" && parts[1]) {
    route.trace = parts[1];
    route.page = [...PAGES, "message"].includes(parts[2]) ? parts[2] : "sequence";
    route.rest = parts[3] ?? "";
  }
  return route;
}

function decoded(part) {
  try { return decodeURIComponent(part); } catch { return part; }
}

/** A part of a path; half a surrogate pair, which no address can hold, becomes U+FFFD. */
export function encoded(part) {
  return encodeURIComponent(String(part).toWellFormed());
}

export function to(trace, page = "sequence", rest = "", query = {}) {
  if (trace === null) return "#/";
  const path = ["#", "t", encoded(trace), page, ...(rest === "" ? [] : [encoded(rest)])].join("/");
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** The perspective of a page, as a query to carry on. */
export function asQuery(route) {
  return route.query.as && route.query.as !== "everything" ? { as: route.query.as } : {};
}
