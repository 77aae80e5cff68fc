import { invalid } from "./errors.js";
import { IDEMPOTENCY_MS } from "./limits.js";

/**
 * Does `act` once for an Idempotency-Key: the same key on the same route of the same agent answers the stored result for 24 h.
 * @template T
 * @param {import("./town.js").TownScope} town
 * @param {import("./town.js").TownRequest} request
 * @param {() => T} act
 * @returns {T}
 */
export function once({ store, now }, { idempotencyKey: key, route, params }, act) {
  if (key === null) return act();
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) throw invalid("Idempotency-Key", "must be 1 to 255 visible ASCII characters", "invalid_header");
  store.run("DELETE FROM idempotency WHERE at <= ?", now - IDEMPOTENCY_MS);
  const scope = `${route}:${params.agentId}`;
  /** @type {{data: string} | null} */
  const stored = store.one("SELECT data FROM idempotency WHERE scope = ? AND key = ?", scope, key);
  if (stored) return JSON.parse(stored.data);
  const data = act();
  store.run("INSERT INTO idempotency VALUES (?, ?, ?, ?)", scope, key, now, JSON.stringify(data));
  return data;
}
