// Mail to an agent. It counts as delivered when acknowledged: an agent that dies after reading finds it again.
import { iso } from "./clock.js";
import { once } from "./idempotency.js";
import { MAIL, MAIL_ACK } from "./shapes.js";
import { check } from "./validate.js";

/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** @param {TownScope} town @param {TownRequest} request */
export function sendMail(town, request) {
  const { store, now } = town;
  const { from = "operator", subject = "", body } = check(MAIL, request.body);
  const agent = store.agent(request.params);
  return once(town, request, () => {
    /** @type {{id: number} | null} */
    const sent = store.one(
      "INSERT INTO mail (agent_id, sender, subject, body, sent_at) VALUES (?, ?, ?, ?, ?) RETURNING id", agent.agent_id, from, subject, body, now,
    );
    return { id: String(sent?.id) };
  });
}

/** Answers how many of the ids stand acknowledged, so that a repeated call answers the same. @param {TownScope} town @param {TownRequest} request */
export function ackMail({ store, now }, { params, body }) {
  const { ids } = check(MAIL_ACK, body);
  const agent = store.agent(params);
  let acked = 0;
  for (const id of new Set(ids)) {
    if (!/^[1-9][0-9]{0,14}$/.test(id)) continue;
    store.run("UPDATE mail SET delivered_at = ? WHERE id = ? AND agent_id = ? AND delivered_at IS NULL", now, Number(id), agent.agent_id);
    if (store.one("SELECT 1 FROM mail WHERE id = ? AND agent_id = ?", Number(id), agent.agent_id)) acked++;
  }
  return { acked };
}

/** @param {import("./store.js").Store} store @param {string} agentId */
export function undeliveredMail(store, agentId) {
  /** @type {{id: number, sender: string, subject: string, body: string, sent_at: number}[]} */
  const rows = store.all("SELECT * FROM mail WHERE agent_id = ? AND delivered_at IS NULL ORDER BY id", agentId);
  return rows.map((row) => ({ id: String(row.id), from: row.sender, subject: row.subject, body: row.body, sentAt: iso(row.sent_at) }));
}
