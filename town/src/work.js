// What becomes of an agent's work: done, ended, and the line for the dashboard.
import { iso } from "./clock.js";
import { BACKOFF_MAX_MS } from "./limits.js";
import { backoff } from "./backoff.js";
import { RESTORED } from "./recovery.js";
import { COMPLETED, DONE, STATUS } from "./shapes.js";
import { HOLDS_WORK } from "./store.js";
import { check } from "./validate.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").DispatchRow} DispatchRow */
/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** @param {TownScope} town @param {TownRequest} request */
export function done({ store, now }, { params, body }) {
  const said = check(DONE, body);
  const agent = store.agent(params);
  const bead = agent.bead === null ? null : JSON.stringify({ ...JSON.parse(agent.bead), status: "closed" });
  store.set("agents", agent.agent_id, {
    status: "idle",
    bead,
    done: JSON.stringify({ ...said, at: iso(now) }),
    due_at: null,
    dispatch_id: null,
    attempts: 0,
    refusals: 0,
    restarts: 0,
    last_error: null,
  });
  if (HOLDS_WORK.includes(agent.status)) store.bumpVersion();
  return { done: true };
}

/** @param {TownScope} town @param {TownRequest} request */
export function completed({ store, now }, { params, body }) {
  const said = check(COMPLETED, body);
  const agent = store.agent(params);
  const answer = { completed: true };
  const container = store.container();
  if (container !== null && (container.evicted_at !== null || container.drained_at !== null)) return answer;
  if (said.dispatchId !== undefined && !isFirstWordOf(store, agent, said.dispatchId, now)) return answer;
  // Also while the start is still being answered: a process may be over before the town has heard that it began.
  const begun = agent.status === "working" || (agent.dispatch_id !== null && HOLDS_WORK.includes(agent.status));
  if (!begun) return answer;
  const ran_ms = agent.working_since === null ? 0 : now - agent.working_since;
  const restarts = ran_ms > BACKOFF_MAX_MS ? 1 : agent.restarts + 1;
  // Its worktree was found broken while it ran: it waits for the restore to heal, like any other that failed.
  const whole = agent.report === null || agent.report_epoch !== container?.epoch || RESTORED.includes(JSON.parse(agent.report).outcome);
  store.set("agents", agent.agent_id, {
    status: whole ? "pending" : "restoring",
    dispatch_id: null,
    working_since: null,
    restarts,
    due_at: whole ? now + backoff(restarts) : null,
    completed: JSON.stringify({ ...said, at: iso(now) }),
  });
  return answer;
}

/**
 * A dispatch ends once: a repeated word must not end the run after it. It need not be the newest dispatch, because a start that
 * was answered 200 found an earlier one running.
 * @param {import("./store.js").Store} store
 * @param {AgentRow} agent
 * @param {string} dispatchId
 * @param {number} now
 */
function isFirstWordOf(store, agent, dispatchId, now) {
  /** @type {DispatchRow | null} */
  const row = store.one(
    "SELECT * FROM dispatches WHERE dispatch_id = ? AND agent_id = ? AND epoch = ? ORDER BY id LIMIT 1",
    dispatchId, agent.agent_id, store.container()?.epoch ?? 0,
  );
  if (!row || row.completed_at !== null) return false;
  store.set("dispatches", row.id, { completed_at: now });
  return true;
}

/** @param {TownScope} town @param {TownRequest} request */
export function status({ store, now }, { params, body }) {
  const { message } = check(STATUS, body);
  store.set("agents", store.agent(params).agent_id, { status_message: message, status_at: now });
  return { ok: true };
}
