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

export function to(trace, page = "sequence", rest = "", query = {}) {
  if (trace === null) return "#/";
  const path = ["#", "t", encodeURIComponent(trace), page, ...(rest === "" ? [] : [encodeURIComponent(rest)])].join("/");
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** The perspective of a page, as a query to carry on. */
export function asQuery(route) {
  return route.query.as && route.query.as !== "everything" ? { as: route.query.as } : {};
}
