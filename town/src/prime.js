// gt_prime: everything an agent needs to go on where it, or the one before it, stopped.
import { iso } from "./clock.js";
import { agentView, keptPoints, standingCheckpoint } from "./desired_state.js";
import { parseExact } from "./json.js";
import { undeliveredMail } from "./mail.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").AgentReport} AgentReport */
/** @typedef {import("./types.js").Bead} Bead */
/** @typedef {import("./store.js").Store} Store */

/** @param {AgentRow} row @returns {Bead | null} its bead, unless that is closed */
function openBead(row) {
  /** @type {Bead | null} */
  const bead = row.bead === null ? null : JSON.parse(row.bead);
  return bead?.status === "closed" ? null : bead;
}

/** What became of the worktree, from the last report about it. @param {Store} store @param {AgentRow} row */
function recoveryOf(store, row) {
  /** @type {AgentReport | null} */
  const report = row.report === null ? null : JSON.parse(row.report);
  const maybeLostSeconds = report?.maybeLostSeconds ?? row.maybe_lost_seconds;
  return {
    outcome: report?.outcome ?? null,
    commit: report?.commit ?? null,
    ...(report?.recovery ? { recovery: report.recovery } : {}),
    kept: keptPoints(store, row.agent_id),
    leftOut: report?.leftOut ?? [],
    ...(maybeLostSeconds === null ? {} : { maybeLostSeconds }),
    note: report?.note ?? "",
  };
}

/** @param {import("./town.js").TownScope} town @param {import("./town.js").TownRequest} request */
export function prime({ store, townId }, { params }) {
  const row = store.agent(params);
  const checkpoint = standingCheckpoint(store, row);
  return {
    agent: {
      ...agentView(store, row),
      townId,
      rigId: row.rig_id,
      checkpoint: checkpoint === null ? null : parseExact(checkpoint.data),
      checkpoint_meta:
        checkpoint === null
          ? null
          : { seq: checkpoint.seq, savedAt: iso(checkpoint.saved_at), epoch: checkpoint.epoch, commit: checkpoint.commit_id },
    },
    hooked_bead: openBead(row),
    undelivered_mail: undeliveredMail(store, row.agent_id),
    open_beads: store.agentsOf(row.rig_id).flatMap((other) => {
      const bead = openBead(other);
      return bead ? [{ ...bead, agentId: other.agent_id }] : [];
    }),
    recovery: recoveryOf(store, row),
  };
}
