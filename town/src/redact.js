// No secret leaves the town but by the one route that is for it. What others wrote (errors, notes, progress) may quote one.

/** Shorter ones would blank out half of every text and protect nothing. */
const SECRET_MIN_CHARS = 6;

/**
 * @param {import("./store.js").Store} store
 * @param {string | null | undefined} townSecret
 * @returns {(text: string) => string}
 */
export function redactor(store, townSecret) {
  /** @type {{secret: string}[]} */
  const stored = store.all(
    `SELECT git_token AS secret FROM rigs WHERE git_token IS NOT NULL
     UNION SELECT control_token FROM containers WHERE control_token IS NOT NULL`,
  );
  const secrets = [...stored.map((row) => row.secret), townSecret ?? ""].filter((s) => s.length >= SECRET_MIN_CHARS);
  const forms = secrets.flatMap((s) => [s, encodeURIComponent(s), btoa(String.fromCharCode(...new TextEncoder().encode(s)))]);
  // The longest first: a secret that holds another one must not leave its rest behind.
  forms.sort((a, b) => b.length - a.length);
  // The scheme before '://' is not matched: on a megabyte of letters the attempt would take time with the square of its length.
  return (text) => forms.reduce((t, form) => t.replaceAll(form, "***"), text).replace(/:\/\/[^\s/@"']+@/g, "://***@");
}

/**
 * Every string of a document, keys included.
 * @param {unknown} value
 * @param {(text: string) => string} redact
 * @returns {unknown}
 */
export function redactAll(value, redact) {
  if (typeof value === "string") return redact(value);
  if (Array.isArray(value)) return value.map((entry) => redactAll(entry, redact));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [redact(key), redactAll(entry, redact)]));
}
