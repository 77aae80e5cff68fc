// The shapes that travel between the modules. CONTRACT words are used as they stand on the wire; rows are as SQLite gives them.

/**
 * What the deployment binds (docs/town.md, "Environment variables").
 * @typedef {object} Env
 * @property {DurableObjectNamespace<import("./town.js").Town>} TOWN
 * @property {string | null} [TOWN_SECRET]
 * @property {string | null} [CONTROL_URL_ALLOW]
 * @property {string | null} [AGENT_MODEL]
 * @property {string | null} [TOWN_TIME_SCALE]
 */

/** @typedef {"container" | "admin"} Scope */

/**
 * One authenticated request on its way from the worker to its town.
 * @typedef {object} Call
 * @property {string} townId
 * @property {string} route    the name in routes.js
 * @property {Record<string, string>} params
 * @property {Record<string, string>} query
 * @property {Scope} scope
 * @property {string | null} epoch  the X-Gastown-Epoch header, unparsed
 * @property {string | null} idempotencyKey
 * @property {string} body
 */

/** @typedef {{status: number, text: string}} Answer */

/** @typedef {"idle" | "pending" | "restoring" | "working" | "stalled" | "dead"} AgentStatus */
/** @typedef {"polecat" | "refinery" | "mayor" | "triage"} Role */
/** @typedef {{beadId: string, title: string, body: string, status: string}} Bead */

/**
 * @typedef {object} RecoveryPoint
 * @property {number} epoch
 * @property {number} seq
 * @property {string} ref
 * @property {string} commit
 * @property {string} gitUrl
 * @property {string} branch
 * @property {string | null} remoteCommit
 * @property {string | null} branchCommit
 * @property {{ref: string | null, commit: string | null}} head
 * @property {boolean} clean
 * @property {string} savedAt
 * @property {"auto" | "drain" | "manual"} kind
 * @property {{staged: number, modified: number, untracked: number, leftOut: number}} files
 */

/**
 * @typedef {object} AgentReport
 * @property {string} agentId
 * @property {"restoring" | "restored" | "recovered" | "diverged" | "branch_missing" | "failed"} outcome
 * @property {string} [code]
 * @property {string} branch
 * @property {string} [commit]
 * @property {string} [worktree]
 * @property {{ref: string, commit: string, applied: boolean}} [recovery]
 * @property {number} unpushedCommits
 * @property {number} appliedFiles
 * @property {{path: string, reason: string}[]} leftOut
 * @property {number} [maybeLostSeconds]
 * @property {string} note
 * @property {number} durationMs
 * @property {string} [error]
 */

/**
 * A container instance; the newest row is the one that has the town.
 * @typedef {object} ContainerRow
 * @property {number} epoch
 * @property {string} instance_id
 * @property {string} version
 * @property {string} disk
 * @property {string | null} control_url
 * @property {string | null} control_token
 * @property {string} started_at
 * @property {number} booted_at
 * @property {number} heard_at
 * @property {number | null} ready_at
 * @property {string | null} outcome
 * @property {number | null} evicted_at
 * @property {string | null} drain_nonce
 * @property {number | null} drained_at
 * @property {string | null} drained_agents
 * @property {number} live_at_succession  1 when it was live at the moment its successor booted
 * @property {string | null} progress
 * @property {number} last_report  the greatest number of a ready report that was taken, 0 before the first
 */

/**
 * @typedef {object} RigRow
 * @property {string} rig_id
 * @property {string} name
 * @property {string} git_url
 * @property {string} default_branch
 * @property {string | null} report
 * @property {string | null} git_token
 * @property {string | null} git_username
 * @property {string | null} git_expires_at
 */

/**
 * @typedef {object} AgentRow
 * @property {string} agent_id
 * @property {string} rig_id
 * @property {string} name
 * @property {Role} role
 * @property {string} identity
 * @property {AgentStatus} status
 * @property {string} branch
 * @property {string | null} base_ref
 * @property {string | null} head_commit    as the operator said
 * @property {string | null} pushed_commit  the branch on the remote as the last recovery point saw it
 * @property {string | null} bead
 * @property {number} priority
 * @property {number} checkpoint_seq
 * @property {string | null} recovery
 * @property {number | null} maybe_lost_seconds
 * @property {string | null} report
 * @property {number | null} report_epoch
 * @property {number} attempts   starts that failed since the last success or boot
 * @property {number} refusals   starts that were refused since then; they only space the next try
 * @property {number} restarts   runs that ended soon after their start
 * @property {number | null} due_at
 * @property {string | null} dispatch_id  the wish to start it, until it has a final answer
 * @property {number | null} working_since
 * @property {string | null} last_error
 * @property {string | null} status_message
 * @property {number | null} status_at
 * @property {number | null} heartbeat_at
 * @property {number | null} unsaved_age_seconds
 * @property {string | null} process
 * @property {string | null} done
 * @property {string | null} completed
 */

/**
 * @typedef {object} DispatchRow
 * @property {number} id
 * @property {number | null} seq
 * @property {number} at
 * @property {number} epoch
 * @property {string} dispatch_id
 * @property {string} rig_id
 * @property {string} agent_id
 * @property {number | null} status
 * @property {string | null} error
 * @property {number | null} completed_at
 */

export {};
