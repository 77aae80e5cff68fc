// Bodies as JSON. An agent's checkpoint may hold numbers that a double cannot (ids of 64 bits, decimals): they keep their text.
import { JSON_DEPTH } from "./limits.js";
import { invalid } from "./errors.js";

/** Refuses what recursive readers could not survive. @param {string} text */
function refuseDeep(text) {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c /* backslash */) i++;
      else if (c === 0x22 /* quote */) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x5b || c === 0x7b /* [ { */) {
      if (++depth > JSON_DEPTH) throw invalid("", `must not be nested more than ${JSON_DEPTH} levels deep`);
    } else if (c === 0x5d || c === 0x7d /* ] } */) depth--;
  }
}

/**
 * Parses so that JSON.stringify gives every number back as it was written.
 * @param {string} text
 * @returns {unknown}
 */
export function parseExact(text) {
  /** @type {any} */
  const keepSource = (/** @type {string} */ _key, /** @type {unknown} */ value, /** @type {{source?: string}} */ { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value;
  return JSON.parse(text, keepSource);
}

/**
 * @param {string} text
 * @param {(text: string) => unknown} [parse]
 * @returns {unknown}
 */
export function parseBody(text, parse = JSON.parse) {
  if (text.trim() === "") return {};
  refuseDeep(text);
  try {
    return parse(text);
  } catch (e) {
    // The engine's message quotes the body, which may hold a token: only the place is told.
    const place = /position \d+/.exec(String(e))?.[0];
    throw invalid("", `is not valid JSON${place ? ` (${place})` : ""}`);
  }
}
