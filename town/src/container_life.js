// A container from its boot to its last word.
import { TownError, fenced, invalid } from "./errors.js";
import { desiredState } from "./desired_state.js";
import { isLive, requireInstance } from "./fencing.js";
import { CONTAINER_ROWS, MAYBE_LOST_MAX_SECONDS } from "./limits.js";
import { controlUrlProblem } from "./names.js";
import { RESTORED, settlePoint } from "./recovery.js";
import { AGENT_HEARTBEAT, BOOT, CONTAINER_HEARTBEAT, DRAINED, EVICTION, PROGRESS, READY } from "./shapes.js";
import { HOLDS_WORK_SQL } from "./store.js";
import { check } from "./validate.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").AgentReport} AgentReport */
/** @typedef {import("./types.js").ContainerRow} ContainerRow */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** @param {Store} store @returns {ContainerRow} */
function bootedContainer(store) {
  const container = store.container();
  if (!container) throw new TownError(409, "not_booted", "no container has booted in this town: POST /container-boot first");
  return container;
}

/** @param {ContainerRow} container */
function drainNonce({ evicted_at, drain_nonce }) {
  return evicted_at === null ? {} : { drainNonce: drain_nonce };
}

/** @param {TownScope} town @param {TownRequest} request */
export function boot({ store, now, controlUrlAllow }, { body }) {
  const said = check(BOOT, body);
  const wrong = said.controlUrl === undefined || controlUrlAllow === null ? null : controlUrlProblem(said.controlUrl, controlUrlAllow);
  if (wrong) throw invalid("controlUrl", wrong);
  const newest = store.container();
  const address = { control_url: said.controlUrl ?? null, control_token: said.controlToken, heard_at: now };
  if (newest?.instance_id === said.instanceId) {
    store.set("containers", newest.epoch, address);
    return { epoch: newest.epoch, desiredState: desiredState(store) };
  }
  /** @type {{epoch: number} | null} */
  const earlier = store.one("SELECT epoch FROM containers WHERE instance_id = ?", said.instanceId);
  if (earlier) throw fenced(`instance '${said.instanceId}' had epoch ${earlier.epoch}, which is over: a newer container has this town`);

  const epoch = (newest?.epoch ?? 0) + 1;
  if (newest) {
    noteLosses(store, newest, now);
    store.set("containers", newest.epoch, { live_at_succession: isLive(newest, now) ? 1 : 0, control_token: null });
  }
  store.run(
    "INSERT INTO containers (epoch, instance_id, version, disk, started_at, booted_at, heard_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
    epoch, said.instanceId, said.version, said.disk, said.startedAt, now, now,
  );
  store.set("containers", epoch, address);
  store.run("DELETE FROM containers WHERE epoch <= ?", epoch - CONTAINER_ROWS);
  store.run(
    `UPDATE agents SET status = 'restoring', attempts = 0, refusals = 0, restarts = 0, due_at = NULL, dispatch_id = NULL, working_since = NULL,
       last_error = NULL, heartbeat_at = NULL, unsaved_age_seconds = NULL, process = NULL
     WHERE ${HOLDS_WORK_SQL}`,
  );
  return { epoch, desiredState: desiredState(store) };
}

/**
 * How much of each agent's work may be gone with the container before: the age of what was unsaved when it was last heard of, and
 * the time since. An agent that was still being restored there keeps what an earlier loss left it with: it has not been told yet.
 * @param {Store} store
 * @param {ContainerRow} before
 * @param {number} now
 */
function noteLosses(store, before, now) {
  /** @type {{agentId: string, saved: boolean}[]} */
  const lastWords = before.drained_agents === null ? [] : JSON.parse(before.drained_agents);
  const unsaved = new Set(lastWords.filter(({ saved }) => !saved).map(({ agentId }) => agentId));
  /** @type {AgentRow[]} */
  const rows = store.all(`SELECT * FROM agents WHERE ${HOLDS_WORK_SQL} AND status <> 'restoring'`);
  for (const row of rows) {
    const safe = before.drained_at !== null && !unsaved.has(row.agent_id);
    const since_ms = now - (row.heartbeat_at ?? before.booted_at);
    const seconds = Math.min(MAYBE_LOST_MAX_SECONDS, Math.ceil((row.unsaved_age_seconds ?? 0) + since_ms / 1000));
    store.set("agents", row.agent_id, { maybe_lost_seconds: safe ? null : seconds });
  }
}

/** @param {TownScope} town */
export function readDesiredState({ store }) {
  return desiredState(store);
}

/** @param {TownScope} town @param {TownRequest} request */
export function restoreProgress({ store }, { body }) {
  const progress = check(PROGRESS, body);
  const container = store.container();
  if (container) store.set("containers", container.epoch, { progress: JSON.stringify(progress) });
  return { received: true };
}

/** @param {TownScope} town @param {TownRequest} request */
export function ready({ store, now }, { body }) {
  const said = check(READY, body);
  const container = bootedContainer(store);
  requireInstance(container, said.instanceId);
  // A report that is delivered once more, after a later one: nothing of it counts, not even its nonce. Its container heard the answer
  // to the first delivery, or has given it up; whoever hears this one is told what is true now, which says no less than an answer to
  // the later report would. (A refusal would be taken for the last word on a report.) The same number again is a repeated attempt.
  if (said.report !== undefined && said.report < container.last_report) return readyAnswer(store, container.evicted_at === null);
  const cleared = container.evicted_at === null || said.nonce === container.drain_nonce;
  if (cleared) store.set("containers", container.epoch, { evicted_at: null, drain_nonce: null });
  const settled = said.outcome !== "partial";
  store.set("containers", container.epoch, {
    outcome: said.outcome,
    ready_at: container.ready_at ?? (settled ? now : null),
    last_report: said.report ?? container.last_report,
  });
  for (const report of said.rigs) {
    store.run("UPDATE rigs SET report = ? WHERE rig_id = ?", JSON.stringify(report), report.rigId);
  }
  for (const report of said.agents) applyReport(store, report, container.epoch, settled, now);
  // Whatever kept their starts from working, the container has just shown that it moves on.
  store.run("UPDATE agents SET due_at = ? WHERE status = 'stalled'", now);
  return readyAnswer(store, cleared);
}

/** @param {Store} store @param {boolean} cleared */
function readyAnswer(store, cleared) {
  const pending = Number(store.one("SELECT COUNT(*) AS n FROM agents WHERE status = 'pending'")?.n);
  return { cleared, pending, desiredVersion: store.version() };
}

/** @param {Store} store @param {AgentReport} report @param {number} epoch @param {boolean} settled @param {number} now */
function applyReport(store, report, epoch, settled, now) {
  const agent = store.findAgent(report.agentId);
  if (!agent || report.outcome === "restoring") return;
  if (!["pending", "restoring", "working", "stalled"].includes(agent.status)) return;
  settlePoint(store, agent, report);
  store.set("agents", agent.agent_id, { report: JSON.stringify(report), report_epoch: epoch });
  const { status } = agent;
  if (!RESTORED.includes(report.outcome)) {
    // It was restored once and is not any more (its branch or remote changed): nothing starts in a worktree that is not whole.
    if (status === "pending" || status === "stalled") {
      store.set("agents", agent.agent_id, { status: "restoring", dispatch_id: null, due_at: null });
    }
    return;
  }
  // Restored on a branch the agent has left meanwhile: the report for the new one is still to come.
  if (status === "restoring" && report.branch === agent.branch) {
    store.set("agents", agent.agent_id, { status: "pending", attempts: 0, refusals: 0, due_at: now, last_error: null });
  } else if (status === "pending" && settled && agent.refusals > 0) {
    store.set("agents", agent.agent_id, { due_at: now });
  }
}

/** @param {TownScope} town @param {TownRequest} request */
export function containerHeartbeat({ store, now }, { body }) {
  const said = check(CONTAINER_HEARTBEAT, body);
  const container = bootedContainer(store);
  requireInstance(container, said.instanceId);
  for (const { agentId, unsavedAgeSeconds, status, lastActivityAt = null } of said.agents) {
    if (!store.findAgent(agentId)) continue;
    store.set("agents", agentId, {
      heartbeat_at: now,
      unsaved_age_seconds: unsavedAgeSeconds ?? null,
      process: JSON.stringify({ status, lastActivityAt }),
    });
  }
  return { desiredVersion: store.version(), ...drainNonce(container) };
}

/** @param {TownScope} town @param {TownRequest} request */
export function agentHeartbeat({ store }, { params, body }) {
  const said = check(AGENT_HEARTBEAT, body);
  const agent = store.agent(params);
  if (said.agentId !== undefined && said.agentId !== agent.agent_id) throw invalid("agentId", `is '${said.agentId}' but the path says '${agent.agent_id}'`);
  if (said.status !== undefined) {
    const before = agent.process === null ? {} : JSON.parse(agent.process);
    store.set("agents", agent.agent_id, { process: JSON.stringify({ ...before, status: said.status }) });
  }
  const container = store.container();
  return { heartbeat: true, ...(container ? drainNonce(container) : {}) };
}

/** @param {TownScope} town @param {TownRequest} request */
export function eviction({ store, now }, { body }) {
  const said = check(EVICTION, body);
  const container = bootedContainer(store);
  requireInstance(container, said.instanceId);
  const nonce = container.drain_nonce ?? crypto.randomUUID();
  store.set("containers", container.epoch, { evicted_at: container.evicted_at ?? now, drain_nonce: nonce });
  return { acknowledged: true, drainNonce: nonce };
}

/** @param {TownScope} town @param {TownRequest} request */
export function drained({ store, now }, { body }) {
  const said = check(DRAINED, body);
  markDrained(store, bootedContainer(store), said, now);
  return { recorded: true };
}

/**
 * The last word of the container directly before the current one: what it saved is not lost after all.
 * @param {TownScope} town
 * @param {TownRequest} request
 * @param {TownError} refusal
 */
export function drainedLate({ store, now }, { body, epoch }, refusal) {
  const current = store.container();
  const before = epoch === null ? null : store.containerOf(epoch);
  if (!current || !before || before.epoch !== current.epoch - 1) throw refusal;
  const said = check(DRAINED, body);
  markDrained(store, before, said, now);
  for (const { agentId, saved } of said.agents) {
    if (saved) store.run("UPDATE agents SET maybe_lost_seconds = NULL WHERE agent_id = ?", agentId);
  }
  return { recorded: true };
}

/** @param {Store} store @param {ContainerRow} container @param {{instanceId: string, agents: unknown[]}} said @param {number} now */
function markDrained(store, container, said, now) {
  requireInstance(container, said.instanceId);
  store.set("containers", container.epoch, { drained_at: container.drained_at ?? now, drained_agents: JSON.stringify(said.agents) });
}
