/** @typedef {{path: string, message: string}} Issue */

/** A refusal with its HTTP status and its stable word; `message` names the thing and what to do about it. */
export class TownError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {Issue[]} [issues]
   */
  constructor(status, code, message, issues) {
    super(message);
    this.status = status;
    this.code = code;
    this.issues = issues;
  }
}

/** @param {string} path @param {string} message @param {string} [code] */
export function invalid(path, message, code = "invalid_body") {
  return new TownError(400, code, `${path || "body"}: ${message}`, [{ path, message }]);
}

/** @param {string} message */
export function fenced(message) {
  return new TownError(409, "fenced", message);
}

/** @param {unknown} data @returns {import("./types.js").Answer} */
export function success(data) {
  return { status: 200, text: JSON.stringify({ success: true, data }) };
}

/** @param {TownError} e @returns {import("./types.js").Answer} */
export function failure(e) {
  const { status, code, issues } = e;
  return { status, text: JSON.stringify({ success: false, error: e.message, code, ...(issues ? { issues } : {}) }) };
}
