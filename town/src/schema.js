// The tables. Append a step to change them: every object runs the steps it has not had yet, in order, when it wakes.

const STEPS = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

  CREATE TABLE containers (
    epoch INTEGER PRIMARY KEY,
    instance_id TEXT NOT NULL UNIQUE,
    version TEXT NOT NULL,
    disk TEXT NOT NULL,
    control_url TEXT,
    control_token TEXT,
    started_at TEXT NOT NULL,
    booted_at INTEGER NOT NULL,
    heard_at INTEGER NOT NULL,
    ready_at INTEGER,
    outcome TEXT,
    evicted_at INTEGER,
    drain_nonce TEXT,
    drained_at INTEGER,
    drained_agents TEXT,
    live_at_succession INTEGER NOT NULL DEFAULT 0,
    progress TEXT
  );

  CREATE TABLE rigs (
    rig_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    git_url TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    report TEXT,
    git_token TEXT,
    git_username TEXT,
    git_expires_at TEXT
  ) WITHOUT ROWID;

  CREATE TABLE agents (
    agent_id TEXT PRIMARY KEY,
    rig_id TEXT NOT NULL REFERENCES rigs (rig_id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    identity TEXT NOT NULL,
    status TEXT NOT NULL,
    branch TEXT NOT NULL,
    base_ref TEXT,
    head_commit TEXT,
    pushed_commit TEXT,
    bead TEXT,
    priority INTEGER NOT NULL,
    checkpoint_seq INTEGER NOT NULL DEFAULT 0,
    recovery TEXT,
    maybe_lost_seconds REAL,
    report TEXT,
    report_epoch INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0,
    restarts INTEGER NOT NULL DEFAULT 0,
    due_at INTEGER,
    dispatch_id TEXT,
    working_since INTEGER,
    last_error TEXT,
    status_message TEXT,
    status_at INTEGER,
    heartbeat_at INTEGER,
    unsaved_age_seconds REAL,
    process TEXT,
    done TEXT,
    completed TEXT
  ) WITHOUT ROWID;
  CREATE INDEX agents_by_rig ON agents (rig_id);
  CREATE INDEX agents_due ON agents (due_at) WHERE status IN ('pending', 'stalled');

  CREATE TABLE checkpoints (
    agent_id TEXT NOT NULL REFERENCES agents (agent_id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    saved_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    bead_id TEXT,
    commit_id TEXT,
    data TEXT NOT NULL,
    PRIMARY KEY (agent_id, seq)
  ) WITHOUT ROWID;

  CREATE TABLE kept (
    agent_id TEXT NOT NULL REFERENCES agents (agent_id) ON DELETE CASCADE,
    commit_id TEXT NOT NULL,
    ref TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    point TEXT NOT NULL,
    PRIMARY KEY (agent_id, commit_id)
  ) WITHOUT ROWID;

  CREATE TABLE mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id TEXT NOT NULL REFERENCES agents (agent_id) ON DELETE CASCADE,
    sender TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    delivered_at INTEGER
  );
  CREATE INDEX mail_by_agent ON mail (agent_id) WHERE delivered_at IS NULL;

  CREATE TABLE idempotency (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (scope, key)
  ) WITHOUT ROWID;
  CREATE INDEX idempotency_by_age ON idempotency (at);

  CREATE TABLE dispatches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER UNIQUE,
    at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    dispatch_id TEXT NOT NULL,
    rig_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    status INTEGER,
    error TEXT,
    completed_at INTEGER
  );
  CREATE INDEX dispatches_by_dispatch ON dispatches (dispatch_id);
  `,
  "ALTER TABLE containers ADD COLUMN last_report INTEGER NOT NULL DEFAULT 0",
];

/** @param {DurableObjectStorage} storage */
export function migrate(storage) {
  const { sql } = storage;
  storage.transactionSync(() => {
    sql.exec("CREATE TABLE IF NOT EXISTS schema_steps (done INTEGER NOT NULL)");
    const [row] = sql.exec("SELECT done FROM schema_steps").toArray();
    const done = row ? Number(row.done) : 0;
    if (done === STEPS.length) return;
    if (done > STEPS.length) throw new Error(`the town's storage was written by a newer version (step ${done}): deploy that one`);
    for (const step of STEPS.slice(done)) sql.exec(step);
    sql.exec("DELETE FROM schema_steps");
    sql.exec("INSERT INTO schema_steps VALUES (?)", STEPS.length);
  });
}
