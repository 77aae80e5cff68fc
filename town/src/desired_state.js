import { iso } from "./clock.js";
import { HOLDS_WORK_SQL } from "./store.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").RecoveryPoint} RecoveryPoint */
/** @typedef {import("./store.js").Store} Store */

/** @param {Store} store @param {string} agentId @returns {RecoveryPoint[]} newest first */
export function keptPoints(store, agentId) {
  /** @type {{point: string}[]} */
  const rows = store.all("SELECT point FROM kept WHERE agent_id = ? ORDER BY epoch DESC, seq DESC", agentId);
  return rows.map(({ point }) => JSON.parse(point));
}

/**
 * The checkpoint that stands, without its data; null when there is none or it was cleared.
 * @param {Store} store
 * @param {AgentRow} row
 * @returns {{seq: number, saved_at: number, epoch: number, commit_id: string | null, data: string} | null}
 */
export function standingCheckpoint(store, row) {
  return store.one("SELECT * FROM checkpoints WHERE agent_id = ? AND seq = ? AND data <> 'null'", row.agent_id, row.checkpoint_seq);
}

/**
 * An Agent as the contract has it.
 * @param {Store} store
 * @param {AgentRow} row
 */
export function agentView(store, row) {
  const checkpoint = standingCheckpoint(store, row);
  const headCommit = row.head_commit ?? row.pushed_commit;
  return {
    agentId: row.agent_id,
    name: row.name,
    role: row.role,
    identity: row.identity,
    status: row.status,
    branch: row.branch,
    ...(row.base_ref === null ? {} : { baseRef: row.base_ref }),
    ...(headCommit === null ? {} : { headCommit }),
    ...(row.bead === null ? {} : { bead: JSON.parse(row.bead) }),
    priority: row.priority,
    ...(checkpoint === null ? {} : { checkpoint: { seq: checkpoint.seq, savedAt: iso(checkpoint.saved_at) } }),
    ...(row.recovery === null ? {} : { recovery: JSON.parse(row.recovery) }),
    kept: keptPoints(store, row.agent_id),
    ...(row.maybe_lost_seconds === null ? {} : { maybeLostSeconds: row.maybe_lost_seconds }),
  };
}

/** @param {Store} store @param {number} epoch */
function predecessorOf(store, epoch) {
  const before = store.containerOf(epoch - 1);
  if (!before?.live_at_succession || before.drained_at !== null) return {};
  const draining = before.evicted_at !== null;
  return { predecessor: { epoch: before.epoch, draining, since: iso(before.evicted_at ?? before.booted_at) } };
}

/** What the container should hold: every rig, and the agents that hold work. @param {Store} store */
export function desiredState(store) {
  const epoch = store.container()?.epoch ?? 0;
  /** @type {AgentRow[]} */
  const active = store.all(`SELECT * FROM agents WHERE ${HOLDS_WORK_SQL} ORDER BY priority DESC, agent_id`);
  const byRig = Map.groupBy(active, (row) => row.rig_id);
  return {
    version: store.version(),
    epoch,
    ...predecessorOf(store, epoch),
    rigs: store.rigs().map((rig) => ({
      rigId: rig.rig_id,
      name: rig.name,
      gitUrl: rig.git_url,
      defaultBranch: rig.default_branch,
      agents: (byRig.get(rig.rig_id) ?? []).map((row) => agentView(store, row)),
    })),
  };
}
