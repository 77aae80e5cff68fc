// gt_checkpoint: versions of what an agent wants to find again. They belong to the agent, not to its bead, dispatch or container.
import { iso } from "./clock.js";
import { TownError, invalid } from "./errors.js";
import { once } from "./idempotency.js";
import { parseExact } from "./json.js";
import { CHECKPOINTS_KEPT, CHECKPOINT_BYTES } from "./limits.js";
import { CHECKPOINT_COMMIT } from "./shapes.js";
import { check } from "./validate.js";

/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** @param {TownScope} town @param {TownRequest} request */
export function writeCheckpoint(town, request) {
  const { store, now } = town;
  const { params, body, epoch } = request;
  const { commit } = check(CHECKPOINT_COMMIT, body);
  if (!Object.hasOwn(/** @type {object} */ (body), "data")) throw invalid("data", "is missing: any JSON, or null to clear the checkpoint");
  const data = JSON.stringify(/** @type {{data: unknown}} */ (body).data);
  const size_bytes = new TextEncoder().encode(data).byteLength;
  if (size_bytes > CHECKPOINT_BYTES) {
    throw new TownError(413, "too_large", `data: ${size_bytes} bytes of JSON are more than the ${CHECKPOINT_BYTES} a checkpoint may have`);
  }
  const agent = store.agent(params);
  return once(town, request, () => {
    const seq = agent.checkpoint_seq + 1;
    const beadId = agent.bead === null ? null : JSON.parse(agent.bead).beadId;
    store.run(
      "INSERT INTO checkpoints (agent_id, seq, saved_at, epoch, bead_id, commit_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
      agent.agent_id, seq, now, epoch ?? store.container()?.epoch ?? 0, beadId, commit ?? null, data,
    );
    store.set("agents", agent.agent_id, { checkpoint_seq: seq });
    store.run("DELETE FROM checkpoints WHERE agent_id = ? AND seq <= ?", agent.agent_id, seq - CHECKPOINTS_KEPT);
    return { written: true, seq };
  });
}

/** @param {TownScope} town @param {TownRequest} request */
export function listCheckpoints({ store }, { params, query }) {
  const { limit = String(CHECKPOINTS_KEPT) } = query;
  if (!/^[1-9][0-9]{0,5}$/.test(limit)) throw invalid("limit", "must be an integer of at least 1");
  const agent = store.agent(params);
  /** @type {{seq: number, saved_at: number, epoch: number, bead_id: string | null, commit_id: string | null, data: string}[]} */
  const rows = store.all(
    "SELECT * FROM checkpoints WHERE agent_id = ? ORDER BY seq DESC LIMIT ?", agent.agent_id, Math.min(Number(limit), CHECKPOINTS_KEPT),
  );
  return rows.map((row) => ({
    seq: row.seq,
    savedAt: iso(row.saved_at),
    epoch: row.epoch,
    beadId: row.bead_id,
    commit: row.commit_id,
    data: parseExact(row.data),
  }));
}
