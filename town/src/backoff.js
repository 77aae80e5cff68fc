import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS } from "./limits.js";

/** 2 s, 4 s, … 60 s. @param {number} failures how many there were, at least 1 @returns {number} milliseconds */
export function backoff(failures) {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 16));
}
