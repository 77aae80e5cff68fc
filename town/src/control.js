// The town's calls to the container's control server.
import { CONTROL_PORT, START_ANSWER_CHARS, START_TIMEOUT_MS } from "./limits.js";
import { controlUrlProblem } from "./names.js";

/**
 * `status` is the HTTP status, 0 without an answer. `timedOut`: it may have been started all the same, and took too long to say.
 * @typedef {{status: number, error: string | null, retryAfter_ms: number, timedOut: boolean}} StartAnswer
 */

/** @param {string} error @param {boolean} timedOut @returns {StartAnswer} */
function unanswered(error, timedOut) {
  return { status: 0, error, retryAfter_ms: 0, timedOut };
}

/** Only seconds: an HTTP date would be on the container's clock. @param {string | null} header */
function retryAfter(header) {
  return header !== null && /^[0-9]{1,4}$/.test(header) ? Number(header) * 1000 : 0;
}

/** @param {Response} response @returns {Promise<string>} the beginning of an error body */
async function excerpt(response) {
  if (!response.body) return "";
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > START_ANSWER_CHARS) break;
  }
  return text.slice(0, START_ANSWER_CHARS);
}

export class Control {
  /**
   * @param {import("./clock.js").Clock} clock
   * @param {string} allow CONTROL_URL_ALLOW
   * @param {Container | undefined} host Cloudflare's container of this object; undefined on workerd
   */
  constructor(clock, allow, host) {
    this.clock = clock;
    this.allow = allow;
    this.host = host;
  }

  /**
   * Calls POST /agents/start. Never throws.
   * @param {import("./types.js").ContainerRow} container
   * @param {unknown} body
   * @returns {Promise<StartAnswer>}
   */
  async start(container, body) {
    const timeout = AbortSignal.timeout(this.clock.realSpan(START_TIMEOUT_MS));
    try {
      const response = await this.#post(container, "agents/start", body, timeout);
      const ok = response.status === 200 || response.status === 201;
      const text = ok ? "" : await excerpt(response);
      if (ok) await response.body?.cancel();
      const error = ok ? null : `the container answered ${response.status}${text ? `: ${text}` : ""}`;
      return { status: response.status, error, retryAfter_ms: retryAfter(response.headers.get("Retry-After")), timedOut: false };
    } catch (e) {
      if (timeout.aborted) return unanswered(`the container did not answer within ${START_TIMEOUT_MS / 1000} s`, true);
      return unanswered(`the container could not be reached: ${e instanceof Error ? e.message : e}`, false);
    }
  }

  /** @param {import("./types.js").ContainerRow} container @param {string} path @param {unknown} body @param {AbortSignal} signal */
  #post(container, path, body, signal) {
    /** @type {RequestInit} */
    const request = {
      method: "POST",
      // The token goes to the container and never to where an answer points.
      redirect: "manual",
      signal,
      headers: {
        "Content-Type": "application/json",
        Authorization: `Bearer ${container.control_token}`,
        "X-Gastown-Epoch": String(container.epoch),
      },
      body: JSON.stringify(body),
    };
    if (this.host) return this.host.getTcpPort(CONTROL_PORT).fetch(`http://container/${path}`, request);
    const base = container.control_url;
    if (base === null) throw new Error("it gave no controlUrl when it booted");
    // Again and not only at boot: the list may have become shorter since.
    const wrong = controlUrlProblem(base, this.allow);
    if (wrong) throw new Error(`controlUrl ${wrong}`);
    return fetch(new URL(path, base.endsWith("/") ? base : `${base}/`), request);
  }
}
