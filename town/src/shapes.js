// The bodies of the contract as checkers. Fields the contract does not name are let through and dropped.
import { LIST_ENTRIES, STATUS_MESSAGE_CHARS } from "./limits.js";
import { branchProblem, commitProblem, gitUrlProblem, idProblem, identityProblem, lineProblem, refProblem } from "./names.js";
import { boolean, document, duration, integer, list, nullable, object, oneOf, optional, string, time } from "./validate.js";

const id = string({ max: 128, problem: idProblem });
const instanceId = string({ max: 128, problem: lineProblem });
const line = string({ max: 512, problem: lineProblem });
const word = string({ max: 64, problem: lineProblem });
const text = string({ min: 0, max: 65_536 });
const branch = string({ max: 512, problem: branchProblem });
const commit = string({ problem: commitProblem });
const ref = string({ max: 1024, problem: refProblem });
const gitUrl = string({ max: 2048, problem: gitUrlProblem });

/** @param {string} s */
const headerProblem = (s) => (/^[\x21-\x7e]+$/.test(s) ? null : "must be visible ASCII without spaces");
const credential = string({ max: 4096, problem: headerProblem });

export const BOOT = object({
  instanceId,
  version: word,
  startedAt: time,
  disk: oneOf("empty", "warm"),
  controlUrl: optional(string({ max: 2048 })),
  controlToken: string({ max: 512, problem: headerProblem }),
});

const RIG_REPORT = object({
  rigId: id,
  outcome: oneOf("restoring", "ready", "failed"),
  commit: optional(commit),
  fetchedBytes: integer(0),
  durationMs: duration,
  attempts: integer(0),
  error: optional(text),
});

const AGENT_REPORT = object({
  agentId: id,
  outcome: oneOf("restoring", "restored", "recovered", "diverged", "branch_missing", "failed"),
  code: optional(word),
  branch,
  commit: optional(commit),
  worktree: optional(string({ max: 4096 })),
  recovery: optional(object({ ref, commit, applied: boolean })),
  unpushedCommits: integer(0),
  appliedFiles: integer(0),
  leftOut: list(object({ path: string({ max: 4096 }), reason: line }), LIST_ENTRIES),
  maybeLostSeconds: optional(duration),
  note: text,
  durationMs: duration,
  error: optional(text),
});

export const READY = object({
  nonce: optional(word),
  report: optional(integer(1)), // not in the contract: a report with a lower number than the last taken comes late
  instanceId,
  desiredVersion: integer(0),
  outcome: oneOf("partial", "ready", "degraded"),
  durationMs: duration,
  rigs: list(RIG_REPORT, LIST_ENTRIES),
  agents: list(AGENT_REPORT, LIST_ENTRIES),
});

export const PROGRESS = document;

export const CONTAINER_HEARTBEAT = object({
  instanceId,
  agents: list(
    object({ agentId: id, status: word, lastActivityAt: optional(time), unsavedAgeSeconds: optional(duration) }),
    LIST_ENTRIES,
  ),
});

export const AGENT_HEARTBEAT = object({
  agentId: optional(id),
  rigId: optional(id),
  townId: optional(id),
  status: optional(word),
  timestamp: optional(line),
  containerInstanceId: optional(line),
});

export const EVICTION = object({ instanceId: optional(instanceId), reason: optional(line) });

export const DRAINED = object({
  instanceId,
  agents: list(
    object({ agentId: id, saved: boolean, ref: optional(ref), commit: optional(commit), error: optional(text) }),
    LIST_ENTRIES,
  ),
});

export const CHECKPOINT_COMMIT = object({ commit: optional(commit) });

export const MAIL = object({
  from: optional(line),
  subject: optional(line),
  body: string({ max: 65_536 }),
});

export const MAIL_ACK = object({ ids: list(line, LIST_ENTRIES) });

/**
 * The ref is bound to the agent: what one agent's point names is pushed, applied and deleted in that agent's name.
 * @param {string} townId
 * @param {string} agentId
 */
export function recoveryPoint(townId, agentId) {
  const prefix = `refs/townkeeper/${townId}/${agentId}/`;
  /** @param {string} s */
  const ownRefProblem = (s) => refProblem(s) ?? (s.startsWith(prefix) ? null : `must begin with '${prefix}'`);
  const count = integer(0);
  return object({
    epoch: integer(1),
    seq: integer(0),
    ref: string({ max: 1024, problem: ownRefProblem }),
    commit,
    gitUrl,
    branch,
    remoteCommit: nullable(commit),
    branchCommit: nullable(commit),
    head: object({ ref: nullable(string({ max: 1024, problem: refProblem })), commit: nullable(commit) }),
    clean: boolean,
    savedAt: time,
    kind: oneOf("auto", "drain", "manual"),
    files: object({ staged: count, modified: count, untracked: count, leftOut: count }),
  });
}

export const DONE = object({ branch, pr_url: optional(string({ max: 2048, problem: lineProblem })), summary: optional(text) });

export const COMPLETED = object({
  status: oneOf("completed", "failed"),
  reason: optional(text),
  dispatchId: optional(line),
  exitCode: optional(integer()),
  signal: optional((value, path, issues) => (typeof value === "number" ? integer(0) : word)(value, path, issues)),
});

export const STATUS = object({ message: string({ max: STATUS_MESSAGE_CHARS }) });

export const RIG = object({ rigId: optional(id), name: line, gitUrl, defaultBranch: branch });

export const GIT_TOKEN = object({
  token: credential,
  username: optional(string({ max: 256, problem: headerProblem })),
  expiresAt: optional(time),
});

export const AGENT = object({
  agentId: optional(id),
  rigId: optional(id),
  name: line,
  role: oneOf("polecat", "refinery", "mayor", "triage"),
  identity: string({ max: 512, problem: identityProblem }),
  status: oneOf("idle", "pending", "restoring", "working", "stalled", "dead"),
  branch,
  baseRef: optional(branch),
  headCommit: optional(commit),
  bead: optional(object({ beadId: id, title: line, body: text, status: word })),
  priority: integer(),
});
