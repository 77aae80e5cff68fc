import { TownError } from "./errors.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").ContainerRow} ContainerRow */
/** @typedef {import("./types.js").RigRow} RigRow */

/** The states in which an agent stands in the desired state. */
export const HOLDS_WORK = ["pending", "restoring", "working", "stalled"];
export const HOLDS_WORK_SQL = `status IN (${HOLDS_WORK.map((s) => `'${s}'`).join(", ")})`;

/** The rows of one town, with the questions every module asks. All of it is synchronous: no other event comes in between. */
export class Store {
  /** @param {SqlStorage} sql */
  constructor(sql) {
    this.sql = sql;
  }

  /**
   * @template T
   * @param {string} query
   * @param {...(string | number | null)} values
   * @returns {T[]}
   */
  all(query, ...values) {
    return /** @type {T[]} */ (this.sql.exec(query, ...values).toArray());
  }

  /**
   * @template T
   * @param {string} query
   * @param {...(string | number | null)} values
   * @returns {T | null}
   */
  one(query, ...values) {
    return /** @type {T | undefined} */ (this.all(query, ...values)[0]) ?? null;
  }

  /** @param {string} query @param {...(string | number | null)} values @returns {number} rows written, index rows among them */
  run(query, ...values) {
    return this.sql.exec(query, ...values).rowsWritten;
  }

  /**
   * Sets the named columns of one row.
   * @param {"agents" | "containers" | "rigs" | "dispatches"} table
   * @param {string | number} key  of the table's primary key
   * @param {Record<string, string | number | null>} columns  names are ours, never a caller's
   */
  set(table, key, columns) {
    const primary = { agents: "agent_id", containers: "epoch", rigs: "rig_id", dispatches: "id" }[table];
    const names = Object.keys(columns);
    this.run(`UPDATE ${table} SET ${names.map((n) => `${n} = ?`).join(", ")} WHERE ${primary} = ?`, ...Object.values(columns), key);
  }

  /** @param {string} key @returns {string | null} */
  meta(key) {
    return this.one("SELECT value FROM meta WHERE key = ?", key)?.value ?? null;
  }

  /** @param {string} key @param {string} value */
  setMeta(key, value) {
    this.run("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value);
  }

  /** The version of the desired state: 1 for a town nobody has touched. */
  version() {
    return Number(this.meta("version") ?? 1);
  }

  /** To be called by whoever changes what a container should hold, and by nobody else. */
  bumpVersion() {
    this.setMeta("version", String(this.version() + 1));
  }

  /** @returns {ContainerRow | null} the container that has the town */
  container() {
    return this.one("SELECT * FROM containers ORDER BY epoch DESC LIMIT 1");
  }

  /** @param {number} epoch @returns {ContainerRow | null} */
  containerOf(epoch) {
    return this.one("SELECT * FROM containers WHERE epoch = ?", epoch);
  }

  /** @returns {RigRow[]} */
  rigs() {
    return this.all("SELECT * FROM rigs ORDER BY rig_id");
  }

  /** @param {string} rigId @returns {RigRow} */
  rig(rigId) {
    /** @type {RigRow | null} */
    const row = this.one("SELECT * FROM rigs WHERE rig_id = ?", rigId);
    if (!row) throw new TownError(404, "unknown_rig", `rig '${rigId}' is not in this town: PUT it first`);
    return row;
  }

  /** @param {string} agentId @returns {AgentRow | null} in whichever rig */
  findAgent(agentId) {
    return this.one("SELECT * FROM agents WHERE agent_id = ?", agentId);
  }

  /** @param {Record<string, string>} params rigId and agentId of a path @returns {AgentRow} */
  agent({ rigId, agentId }) {
    this.rig(rigId);
    const row = this.findAgent(agentId);
    if (row?.rig_id !== rigId) throw new TownError(404, "unknown_agent", `agent '${agentId}' is not in rig '${rigId}'`);
    return row;
  }

  /** @param {string} rigId @returns {AgentRow[]} highest priority first */
  agentsOf(rigId) {
    return this.all("SELECT * FROM agents WHERE rig_id = ? ORDER BY priority DESC, agent_id", rigId);
  }
}
