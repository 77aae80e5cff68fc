// Recovery points: which one a new container applies (`recovery`), and which ones are held for a person or the agent (`kept`).
// Nothing promised is dropped: a point leaves `recovery` only when it was applied, was built upon, or an operator says so.
import { invalid } from "./errors.js";
import { commitProblem } from "./names.js";
import { recoveryPoint } from "./shapes.js";
import { HOLDS_WORK } from "./store.js";
import { check } from "./validate.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").AgentReport} AgentReport */
/** @typedef {import("./types.js").RecoveryPoint} RecoveryPoint */
/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** Outcomes with a verified worktree: the agent can work. */
export const RESTORED = ["restored", "recovered", "diverged"];

/**
 * Why a point is kept. `told`: a container said so. `not_applied`: a report said so. `late`: it came from an older epoch.
 * `unreported`: the next epoch saved over it before it said what became of it. The last two go when a report says applied.
 * @typedef {"told" | "not_applied" | "late" | "unreported"} KeptReason
 */

/** Order is (epoch, seq), never wall time. @param {RecoveryPoint} a @param {RecoveryPoint} b */
function isGreater(a, b) {
  return a.epoch !== b.epoch ? a.epoch > b.epoch : a.seq > b.seq;
}

/** @param {Store} store @param {string} agentId @param {RecoveryPoint} point @param {KeptReason} reason */
function keep(store, agentId, point, reason) {
  // A ref names one commit: of two points under one ref only the greater can still be fetched.
  const { ref, epoch, seq } = point;
  const newer = store.one("SELECT 1 FROM kept WHERE agent_id = ? AND ref = ? AND (epoch, seq) > (?, ?)", agentId, ref, epoch, seq);
  if (newer) return;
  store.run("DELETE FROM kept WHERE agent_id = ? AND ref = ? AND (epoch, seq) < (?, ?)", agentId, ref, epoch, seq);
  store.run(
    `INSERT INTO kept (agent_id, commit_id, ref, epoch, seq, reason, point) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (agent_id, commit_id) DO UPDATE SET reason = iif(excluded.reason = 'told', 'told', reason)`,
    agentId, point.commit, ref, epoch, seq, reason, JSON.stringify(point),
  );
}

/** @param {TownScope} town @param {TownRequest} request @returns {{agent: AgentRow, point: RecoveryPoint}} */
function readPoint({ store, townId }, { params, body }) {
  const agent = store.agent(params);
  return { agent, point: check(recoveryPoint(townId, agent.agent_id), body) };
}

/** True when this epoch has said what became of the agent's recovery point, so that its own points are built upon it. @param {AgentRow} agent @param {number} epoch */
function isAccountedFor(agent, epoch) {
  if (agent.report === null || agent.report_epoch !== epoch) return false;
  return RESTORED.includes(/** @type {AgentReport} */ (JSON.parse(agent.report)).outcome);
}

/** @param {TownScope} town @param {TownRequest} request */
export function recordRecoveryPoint(town, request) {
  const { store } = town;
  const { agent, point } = readPoint(town, request);
  const epoch = request.epoch ?? store.container()?.epoch ?? 0;
  if (point.epoch > epoch) throw invalid("epoch", `is ${point.epoch}, newer than the container's ${epoch}`);
  /** @type {RecoveryPoint | null} */
  const before = agent.recovery === null ? null : JSON.parse(agent.recovery);
  if (before !== null && !isGreater(point, before)) return { recorded: true };
  if (before !== null && before.epoch < point.epoch && !isAccountedFor(agent, epoch)) keep(store, agent.agent_id, before, "unreported");
  store.set("agents", agent.agent_id, {
    recovery: JSON.stringify(point),
    pushed_commit: point.branch === agent.branch ? (point.remoteCommit ?? agent.pushed_commit) : agent.pushed_commit,
  });
  return { recorded: true };
}

/**
 * A point from an older epoch: refused, and listed all the same, because its bytes are on the remote and may be all there is.
 * @param {TownScope} town
 * @param {TownRequest} request
 * @param {import("./errors.js").TownError} refusal
 */
export function keepLatePoint(town, request, refusal) {
  const { agent, point } = readPoint(town, request);
  if (request.epoch === null || point.epoch > request.epoch) throw refusal;
  /** @type {RecoveryPoint | null} */
  const recovery = agent.recovery === null ? null : JSON.parse(agent.recovery);
  if (recovery?.commit !== point.commit) keep(town.store, agent.agent_id, point, "late");
  return refusal;
}

/** @param {TownScope} town @param {TownRequest} request */
export function recordKept(town, request) {
  const { agent, point } = readPoint(town, request);
  keep(town.store, agent.agent_id, point, "told");
  return { recorded: true };
}

/** @param {TownScope} town @param {TownRequest} request */
export function dropKept({ store }, { params }) {
  const wrong = commitProblem(params.commit);
  if (wrong) throw invalid("commit", wrong);
  const agent = store.agent(params);
  store.run("DELETE FROM kept WHERE agent_id = ? AND commit_id = ?", agent.agent_id, params.commit);
  return { dropped: true };
}

/** @param {TownScope} town @param {TownRequest} request */
export function acceptLoss({ store }, { params }) {
  const agent = store.agent(params);
  if (agent.recovery === null) return { deleted: false };
  store.set("agents", agent.agent_id, { recovery: null });
  if (HOLDS_WORK.includes(agent.status)) store.bumpVersion();
  return { deleted: true };
}

/** What a report says of the point: not applied, it is kept; applied, it need not be kept any longer. @param {Store} store @param {AgentRow} agent @param {AgentReport} report */
export function settlePoint(store, agent, report) {
  if (!report.recovery) return;
  const { commit, applied } = report.recovery;
  if (applied) {
    store.run("DELETE FROM kept WHERE agent_id = ? AND commit_id = ? AND reason IN ('late', 'unreported')", agent.agent_id, commit);
    return;
  }
  /** @type {RecoveryPoint | null} */
  const recovery = agent.recovery === null ? null : JSON.parse(agent.recovery);
  if (recovery?.commit !== commit) return;
  keep(store, agent.agent_id, recovery, "not_applied");
  store.set("agents", agent.agent_id, { recovery: null });
}
