// A checker takes a value and its path, notes every issue, and gives back the value with only the fields it knows.
import { TownError } from "./errors.js";

/** @typedef {import("./errors.js").Issue} Issue */
/**
 * @template T
 * @typedef {(value: unknown, path: string, issues: Issue[]) => T} Checker
 */

/** @param {Issue[]} issues @param {string} path @param {string} message @returns {any} */
function issue(issues, path, message) {
  issues.push({ path, message });
  return undefined;
}

/**
 * @param {{min?: number, max?: number, problem?: (s: string) => string | null}} [rules] lengths in characters
 * @returns {Checker<string>}
 */
export function string({ min = 1, max = 65_536, problem } = {}) {
  return (value, path, issues) => {
    if (typeof value !== "string") return issue(issues, path, "must be a string");
    const length = value.length > max ? [...value].length : value.length;
    if (length < min || length > max) return issue(issues, path, `must be ${min} to ${max} characters long`);
    const wrong = problem?.(value) ?? null;
    return wrong ? issue(issues, path, wrong) : value;
  };
}

/** @param {number} [min] @returns {Checker<number>} */
export function integer(min = Number.MIN_SAFE_INTEGER) {
  return (value, path, issues) =>
    Number.isSafeInteger(value) && /** @type {number} */ (value) >= min
      ? /** @type {number} */ (value)
      : issue(issues, path, min === Number.MIN_SAFE_INTEGER ? "must be an integer" : `must be an integer of at least ${min}`);
}

/** @type {Checker<number>} */
export const duration = (value, path, issues) =>
  typeof value === "number" && value >= 0 && Number.isFinite(value) ? value : issue(issues, path, "must be a number of at least 0");

/** @type {Checker<boolean>} */
export const boolean = (value, path, issues) => (typeof value === "boolean" ? value : issue(issues, path, "must be true or false"));

/** @type {Checker<string>} */
export const time = (value, path, issues) =>
  typeof value === "string" && value.length <= 64 && !Number.isNaN(Date.parse(value))
    ? value
    : issue(issues, path, "must be a time in ISO 8601");

/** @type {Checker<Record<string, unknown>>} */
export const document = (value, path, issues) =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? /** @type {Record<string, unknown>} */ (value)
    : issue(issues, path, "must be an object");

/**
 * @template {string} W
 * @param {W[]} words
 * @returns {Checker<W>}
 */
export function oneOf(...words) {
  return (value, path, issues) =>
    words.includes(/** @type {W} */ (value)) ? /** @type {W} */ (value) : issue(issues, path, `must be one of ${words.join(", ")}`);
}

/**
 * @template T
 * @param {Checker<T>} of
 * @param {number} max
 * @returns {Checker<T[]>}
 */
export function list(of, max) {
  return (value, path, issues) => {
    if (!Array.isArray(value)) return issue(issues, path, "must be an array");
    if (value.length > max) return issue(issues, path, `must have at most ${max} entries`);
    return value.map((entry, i) => of(entry, `${path}.${i}`, issues));
  };
}

/**
 * Absent, or null, or as `of` says.
 * @template T
 * @param {Checker<T>} of
 * @returns {Checker<T | undefined>}
 */
export function optional(of) {
  return (value, path, issues) => (value === undefined || value === null ? undefined : of(value, path, issues));
}

/**
 * There, but possibly null.
 * @template T
 * @param {Checker<T>} of
 * @returns {Checker<T | null>}
 */
export function nullable(of) {
  return (value, path, issues) => (value === null ? null : of(value, path, issues));
}

/**
 * @template {Record<string, Checker<any>>} F
 * @param {F} fields
 * @returns {Checker<{[K in keyof F]: ReturnType<F[K]>}>}
 */
export function object(fields) {
  return (value, path, issues) => {
    const given = document(value, path, issues);
    if (!given) return /** @type {any} */ (undefined);
    /** @type {Record<string, unknown>} */
    const kept = {};
    for (const [key, checker] of Object.entries(fields)) {
      // Own fields only: a body must not reach what every object inherits.
      const field = Object.hasOwn(given, key) ? given[key] : undefined;
      const checked = checker(field, path ? `${path}.${key}` : key, issues);
      if (checked !== undefined) kept[key] = checked;
    }
    return /** @type {any} */ (kept);
  };
}

/**
 * @template T
 * @param {Checker<T>} checker
 * @param {unknown} value
 * @returns {T}
 */
export function check(checker, value) {
  /** @type {Issue[]} */
  const issues = [];
  const checked = checker(value, "", issues);
  if (issues.length === 0) return checked;
  const [{ path, message }] = issues;
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : "";
  throw new TownError(400, "invalid_body", `${path || "body"}: ${message}${more}`, issues.slice(0, 50));
}
