// What operators say: rigs, agents, git tokens.
import { TownError, invalid } from "./errors.js";
import { agentView } from "./desired_state.js";
import { isLive } from "./fencing.js";
import { AGENT, GIT_TOKEN, RIG } from "./shapes.js";
import { HOLDS_WORK, HOLDS_WORK_SQL } from "./store.js";
import { check } from "./validate.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").AgentStatus} AgentStatus */
/** @typedef {import("./town.js").TownScope} TownScope */
/** @typedef {import("./town.js").TownRequest} TownRequest */

/** @param {Record<string, unknown>} said @param {Record<string, string>} params ids repeated in a body must be the path's */
function requireSameIds(said, params) {
  for (const key of ["rigId", "agentId"]) {
    if (key in said && said[key] !== params[key]) throw invalid(key, `is '${said[key]}' but the path says '${params[key]}'`);
  }
}

/** @param {TownScope} town @param {TownRequest} request */
export function putRig({ store, now }, { params, body }) {
  const said = check(RIG, body);
  requireSameIds(said, { rigId: params.rigId });
  const { rigId } = params;
  /** @type {import("./types.js").RigRow | null} */
  const before = store.one("SELECT * FROM rigs WHERE rig_id = ?", rigId);
  store.run(
    `INSERT INTO rigs (rig_id, name, git_url, default_branch) VALUES (?, ?, ?, ?)
     ON CONFLICT (rig_id) DO UPDATE SET name = excluded.name, git_url = excluded.git_url, default_branch = excluded.default_branch`,
    rigId, said.name, said.gitUrl, said.defaultBranch,
  );
  if (before && before.git_url !== said.gitUrl && isLive(store.container(), now)) {
    // Its agents have worktrees of another repository; one that works goes on until it ends.
    store.run(
      "UPDATE agents SET status = 'restoring', dispatch_id = NULL, due_at = NULL WHERE rig_id = ? AND status IN ('pending', 'stalled')",
      rigId,
    );
  }
  if (before?.name !== said.name || before.git_url !== said.gitUrl || before.default_branch !== said.defaultBranch) store.bumpVersion();
  return { rigId, name: said.name, gitUrl: said.gitUrl, defaultBranch: said.defaultBranch };
}

/** @param {TownScope} town @param {TownRequest} request */
export function deleteRig({ store }, { params }) {
  for (const { agent_id } of store.agentsOf(params.rigId)) forgetAnswers(store, agent_id);
  const deleted = store.run("DELETE FROM rigs WHERE rig_id = ?", params.rigId) > 0;
  if (deleted) store.bumpVersion();
  return { deleted };
}

/** @param {TownScope} town @param {TownRequest} request */
export function putGitToken({ store }, { params, body }) {
  const { token, username, expiresAt } = check(GIT_TOKEN, body);
  store.rig(params.rigId);
  store.set("rigs", params.rigId, { git_token: token, git_username: username ?? null, git_expires_at: expiresAt ?? null });
  return { stored: true };
}

/** @param {TownScope} town @param {TownRequest} request */
export function refreshGitToken({ store }, { params }) {
  const { git_token: token, git_username: username, git_expires_at: expiresAt } = store.rig(params.rigId);
  if (token === null) throw new TownError(404, "no_git_token", `rig '${params.rigId}' has no git token: it needs none, or PUT one at /rigs/${params.rigId}/git-token`);
  return { token, ...(username === null ? {} : { username }), ...(expiresAt === null ? {} : { expiresAt }) };
}

/**
 * The state an upsert leaves the agent in. A live container knows nothing yet of work that is new, so that it has to be
 * restored first; work it already has stays where it stands, and an upsert said twice changes nothing.
 * @param {AgentStatus} said
 * @param {AgentRow | null} before
 * @param {boolean} live
 * @param {boolean} moved the worktree must be another one
 * @returns {AgentStatus}
 */
function statusAfter(said, before, live, moved) {
  if (!live || !HOLDS_WORK.includes(said)) return said;
  if (!before || !HOLDS_WORK.includes(before.status)) return "restoring";
  return moved && before.status !== "working" ? "restoring" : before.status;
}

/** @param {TownScope} town @param {TownRequest} request */
export function putAgent({ store, now }, { params, body }) {
  const said = check(AGENT, body);
  requireSameIds(said, params);
  const { rigId, agentId } = params;
  store.rig(rigId);
  const before = store.findAgent(agentId);
  if (before && before.rig_id !== rigId) {
    throw new TownError(409, "agent_elsewhere", `agent '${agentId}' is in rig '${before.rig_id}': delete it there first`);
  }
  const active = HOLDS_WORK.includes(said.status);
  /** @type {{agent_id: string} | null} */
  const rival = store.one(
    `SELECT agent_id FROM agents WHERE rig_id = ? AND branch = ? AND agent_id <> ? AND ${HOLDS_WORK_SQL}`, rigId, said.branch, agentId,
  );
  if (active && rival) {
    throw new TownError(409, "branch_in_use", `agent '${rival.agent_id}' is active on branch '${said.branch}' of rig '${rigId}'`);
  }

  const moved = before !== null && before.branch !== said.branch;
  const status = statusAfter(said.status, before, isLive(store.container(), now), moved);
  const columns = {
    name: said.name,
    role: said.role,
    identity: said.identity,
    branch: said.branch,
    base_ref: said.baseRef ?? null,
    head_commit: said.headCommit ?? null,
    bead: said.bead ? JSON.stringify(said.bead) : null,
  };
  const wasActive = before !== null && HOLDS_WORK.includes(before.status);
  const changed = Object.entries(columns).some(([key, value]) => before?.[/** @type {keyof typeof columns} */ (key)] !== value);
  if (wasActive !== active || (active && changed)) store.bumpVersion();

  if (!before) {
    store.run(
      "INSERT INTO agents (agent_id, rig_id, name, role, identity, status, branch, priority) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
      agentId, rigId, said.name, said.role, said.identity, status, said.branch, said.priority,
    );
  }
  store.set("agents", agentId, { ...columns, status, priority: said.priority });
  if (moved) store.set("agents", agentId, { pushed_commit: null });
  if (status !== before?.status) {
    store.set("agents", agentId, { dispatch_id: null, attempts: 0, refusals: 0, restarts: 0, due_at: status === "pending" || status === "stalled" ? now : null });
  } else if (status === "stalled") {
    store.set("agents", agentId, { attempts: 0, due_at: now });
  }
  return agentView(store, store.agent(params));
}

/** @param {TownScope} town @param {TownRequest} request */
export function deleteAgent({ store }, { params }) {
  store.rig(params.rigId);
  const row = store.findAgent(params.agentId);
  if (row?.rig_id !== params.rigId) return { deleted: false };
  forgetAnswers(store, row.agent_id);
  store.run("DELETE FROM agents WHERE agent_id = ?", row.agent_id);
  if (HOLDS_WORK.includes(row.status)) store.bumpVersion();
  return { deleted: true };
}

/** An agent that is put again later is another one: old keys must not answer for it. @param {import("./store.js").Store} store @param {string} agentId */
function forgetAnswers(store, agentId) {
  store.run("DELETE FROM idempotency WHERE scope IN (?, ?)", `writeCheckpoint:${agentId}`, `sendMail:${agentId}`);
}
