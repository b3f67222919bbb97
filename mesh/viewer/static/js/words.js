// The two languages. Each has one dictionary with the same keys.

export const LANGUAGES = ["en", "ja"];
const dictionaries = {};
let language = "en";

/** Loads both dictionaries and takes the language chosen before, or else the browser's. */
export async function loadWords() {
  await Promise.all(LANGUAGES.map(async (one) => {
    dictionaries[one] = await (await fetch(`/words/${one}.json`)).json();
  }));
  const stored = recall("language");
  const wanted = stored ?? (navigator.language.toLowerCase().startsWith("ja") ? "ja" : "en");
  setLanguage(LANGUAGES.includes(wanted) ? wanted : "en");
}

export function setLanguage(wanted) {
  language = wanted;
  document.documentElement.lang = wanted;
}

export function currentLanguage() {
  return language;
}

/** A phrase; `{name}` is replaced by the value of that name. */
export function t(key, values = {}) {
  const phrase = dictionaries[language][key] ?? key;
  return phrase.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** A phrase for a word of the protocol; the word itself if there is none. */
export function term(group, word) {
  return dictionaries[language][`${group}.${word}`] ?? String(word);
}

/** Of two texts the one in the reader's language, or the one that there is. */
export function either(english, japanese) {
  return (language === "ja" ? japanese || english : english || japanese) || "";
}

/** What the reader chose before, in this browser. */
export function recall(name) {
  try { return localStorage.getItem(`mesh.${name}`); } catch { return null; }
}

export function remember(name, value) {
  try { localStorage.setItem(`mesh.${name}`, value); } catch { /* A browser may keep nothing. */ }
}
