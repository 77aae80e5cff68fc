// What operators see: everything, without the secrets.
import { iso } from "./clock.js";
import { agentView } from "./desired_state.js";
import { invalid } from "./errors.js";
import { isLive } from "./fencing.js";
import { DISPATCH_ROWS } from "./limits.js";
import { undeliveredMail } from "./mail.js";
import { redactAll, redactor } from "./redact.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").ContainerRow} ContainerRow */
/** @typedef {import("./types.js").DispatchRow} DispatchRow */
/** @typedef {import("./store.js").Store} Store */

/** @param {string | null} text */
function parsed(text) {
  return text === null ? null : JSON.parse(text);
}

/** @param {ContainerRow} row @param {number} now */
function containerView(row, now) {
  return {
    epoch: row.epoch,
    instanceId: row.instance_id,
    version: row.version,
    disk: row.disk,
    controlUrl: row.control_url,
    controlToken: row.control_token === null ? null : "***",
    startedAt: row.started_at,
    bootedAt: iso(row.booted_at),
    heardAt: iso(row.heard_at),
    live: isLive(row, now),
    outcome: row.outcome,
    readyAt: iso(row.ready_at),
    evictedAt: iso(row.evicted_at),
    drainedAt: iso(row.drained_at),
    drainedAgents: parsed(row.drained_agents),
    progress: parsed(row.progress),
  };
}

/** @param {Store} store @param {AgentRow} row */
function agentState(store, row) {
  return {
    ...agentView(store, row),
    attempts: row.attempts,
    refusals: row.refusals,
    restarts: row.restarts,
    dueAt: iso(row.due_at),
    dispatchId: row.dispatch_id,
    workingSince: iso(row.working_since),
    lastError: row.last_error,
    message: row.status_message === null ? null : { text: row.status_message, at: iso(row.status_at) },
    process: parsed(row.process),
    heartbeatAt: iso(row.heartbeat_at),
    unsavedAgeSeconds: row.unsaved_age_seconds,
    report: parsed(row.report),
    reportEpoch: row.report_epoch,
    done: parsed(row.done),
    completed: parsed(row.completed),
    undeliveredMail: undeliveredMail(store, row.agent_id),
  };
}

/** @param {import("./town.js").TownScope} town */
export function state({ store, now, townId, secret }) {
  const current = store.container();
  /** @type {ContainerRow[]} */
  const earlier = store.all("SELECT * FROM containers ORDER BY epoch DESC LIMIT 10 OFFSET 1");
  return redactAll(
    {
      townId,
      version: store.version(),
      epoch: current?.epoch ?? 0,
      container: current && containerView(current, now),
      earlierContainers: earlier.map((row) => ({ ...containerView(row, now), live: false })),
      rigs: store.rigs().map((rig) => ({
        rigId: rig.rig_id,
        name: rig.name,
        gitUrl: rig.git_url,
        defaultBranch: rig.default_branch,
        gitToken: rig.git_token === null ? null : "***",
        gitUsername: rig.git_username,
        gitTokenExpiresAt: rig.git_expires_at,
        report: parsed(rig.report),
        agents: store.agentsOf(rig.rig_id).map((row) => agentState(store, row)),
      })),
    },
    redactor(store, secret),
  );
}

/** Start calls that have an answer, in the order in which it came: who reads on after the last seq misses none. @param {import("./town.js").TownScope} town @param {import("./town.js").TownRequest} request */
export function dispatches({ store }, { query }) {
  const { after = "0" } = query;
  if (!/^[0-9]{1,15}$/.test(after)) throw invalid("after", "must be the seq of a dispatch, or 0");
  /** @type {DispatchRow[]} */
  const rows = store.all("SELECT * FROM dispatches WHERE seq > ? ORDER BY seq LIMIT ?", Number(after), DISPATCH_ROWS);
  return rows.map((row) => ({
    seq: row.seq,
    at: iso(row.at),
    epoch: row.epoch,
    dispatchId: row.dispatch_id,
    rigId: row.rig_id,
    agentId: row.agent_id,
    status: row.status,
    ...(row.error === null ? {} : { error: row.error }),
  }));
}
