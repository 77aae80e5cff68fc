// The alarm: starts agents that are due. At-least-once delivery (a crash runs it again) becomes exactly one run per dispatch by
// two things: the dispatchId is on disk before the call goes out, and the container starts each dispatchId at most once.
import { backoff } from "./backoff.js";
import { ALARM_SAFETY_MS, DISPATCH_ROWS, STALLED_RETRY_MS, START_ATTEMPTS, STARTS_AT_ONCE } from "./limits.js";
import { redactor } from "./redact.js";
import { startRequest } from "./start_request.js";

/** @typedef {import("./types.js").AgentRow} AgentRow */
/** @typedef {import("./types.js").ContainerRow} ContainerRow */
/** @typedef {import("./control.js").StartAnswer} StartAnswer */

const DUE_SQL = "status IN ('pending', 'stalled') AND due_at IS NOT NULL";

export class Dispatcher {
  /**
   * @param {DurableObjectStorage} storage
   * @param {import("./store.js").Store} store
   * @param {import("./clock.js").Clock} clock
   * @param {import("./control.js").Control} control
   * @param {{model: string, secret: string | null | undefined}} settings
   */
  constructor(storage, store, clock, control, settings) {
    this.storage = storage;
    this.store = store;
    this.clock = clock;
    this.control = control;
    this.settings = settings;
    /** @type {Map<string, Promise<void>>} calls on their way, by agent */
    this.calls = new Map();
    /** @type {(() => void) | null} ends the wait of a run that is going on */
    this.wakeRun = null;
    this.running = false;
  }

  /** The container that may be called now: the newest, neither draining nor drained. @returns {ContainerRow | null} */
  #callable() {
    const container = this.store.container();
    return container && container.evicted_at === null && container.drained_at === null ? container : null;
  }

  /** When the next start is due, on the town's clock. @returns {number | null} */
  nextDue() {
    if (!this.#callable()) return null;
    /** @type {{due_at: number, agent_id: string}[]} */
    const rows = this.store.all(`SELECT due_at, agent_id FROM agents WHERE ${DUE_SQL} ORDER BY due_at LIMIT ?`, this.calls.size + 1);
    return rows.find((row) => !this.calls.has(row.agent_id))?.due_at ?? null;
  }

  /** To be called after anything that may have made an agent due. */
  arm() {
    if (this.running) {
      this.wakeRun?.();
      return;
    }
    const due = this.nextDue();
    // The answer to whoever caused this is held back by the runtime until the alarm is on disk.
    if (due !== null) void this.storage.setAlarm(this.clock.real(due));
  }

  /** After a restart: calls that were on their way have no answer any more, and what is due must have an alarm. */
  async recover() {
    /** @type {{id: number}[]} */
    const lost = this.store.all("SELECT id FROM dispatches WHERE seq IS NULL ORDER BY id");
    for (const { id } of lost) this.#conclude(id, 0, "the town restarted before the answer came");
    const due = this.nextDue();
    if (due === null) return;
    const alarm = await this.storage.getAlarm();
    if (alarm === null || alarm > this.clock.real(due)) await this.storage.setAlarm(this.clock.real(due));
  }

  /** One run of the alarm: goes on until nothing is due and no call is on its way. */
  async run() {
    // Set before the first await: should this run die, the next one picks up its dispatches under their old ids.
    void this.storage.setAlarm(this.clock.real(this.clock.now() + ALARM_SAFETY_MS));
    this.running = true;
    try {
      for (;;) {
        this.#startDue();
        if (this.calls.size === 0) break;
        await this.#somethingHappens();
      }
    } finally {
      this.running = false;
      const due = this.nextDue();
      await (due === null ? this.storage.deleteAlarm() : this.storage.setAlarm(this.clock.real(due)));
    }
  }

  /** A call ends, an agent becomes due by an event, or by its backoff. */
  async #somethingHappens() {
    const due = this.calls.size < STARTS_AT_ONCE ? this.nextDue() : null;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    /** @type {Promise<void>} */
    const nudged = new Promise((resolve) => {
      this.wakeRun = resolve;
      if (due !== null) timer = setTimeout(resolve, this.clock.realSpan(Math.max(0, due - this.clock.now())));
    });
    await Promise.race([nudged, ...this.calls.values()]);
    this.wakeRun = null;
    clearTimeout(timer ?? null);
  }

  #startDue() {
    const container = this.#callable();
    if (!container) return;
    /** @type {AgentRow[]} */
    const due = this.store.all(
      `SELECT * FROM agents WHERE ${DUE_SQL} AND due_at <= ? ORDER BY priority DESC, due_at, agent_id`, this.clock.now(),
    );
    for (const agent of due) {
      if (this.calls.size >= STARTS_AT_ONCE) return;
      if (this.calls.has(agent.agent_id)) continue;
      const call = this.#dispatch(agent, container).catch((e) => {
        console.error("dispatch failed", agent.agent_id, e);
        // A bug of ours must not become a busy loop.
        this.store.set("agents", agent.agent_id, { due_at: this.clock.now() + STALLED_RETRY_MS });
      });
      this.calls.set(agent.agent_id, call.finally(() => this.calls.delete(agent.agent_id)));
    }
  }

  /** @param {AgentRow} agent @param {ContainerRow} container */
  async #dispatch(agent, container) {
    const dispatchId = agent.dispatch_id ?? crypto.randomUUID();
    const row = this.storage.transactionSync(() => {
      this.store.set("agents", agent.agent_id, { dispatch_id: dispatchId });
      return /** @type {{id: number}} */ (
        this.store.one(
          "INSERT INTO dispatches (at, epoch, dispatch_id, rig_id, agent_id) VALUES (?, ?, ?, ?, ?) RETURNING id",
          this.clock.now(), container.epoch, dispatchId, agent.rig_id, agent.agent_id,
        )
      );
    });
    // On disk before a byte goes out, whatever the runtime's output gate does.
    await this.storage.sync();
    if (!this.#callable() || !this.#waiting(agent.agent_id, container.epoch, dispatchId)) {
      // It began to drain, has a successor, or the agent is done meanwhile: nothing has gone out, and nothing may.
      this.store.run("DELETE FROM dispatches WHERE id = ?", row.id);
      return;
    }
    const answer = await this.#call(agent, container, dispatchId);
    this.storage.transactionSync(() => {
      this.#conclude(row.id, answer.status, answer.error);
      this.#apply(agent.agent_id, container.epoch, dispatchId, answer);
    });
  }

  /** @param {AgentRow} agent @param {ContainerRow} container @param {string} dispatchId @returns {Promise<StartAnswer>} */
  async #call(agent, container, dispatchId) {
    /** @type {unknown} */
    let body;
    try {
      const rig = this.store.rig(agent.rig_id);
      const townId = this.store.meta("townId") ?? "";
      body = startRequest(agent, rig, { townId, model: this.settings.model, dispatchId });
    } catch (e) {
      // A broken prompt costs an attempt like any failed start, with its reason.
      return { status: 0, error: e instanceof Error ? e.message : String(e), retryAfter_ms: 0, timedOut: true };
    }
    const answer = await this.control.start(container, body);
    return { ...answer, error: answer.error === null ? null : redactor(this.store, this.settings.secret)(answer.error) };
  }

  /** Gives the row its place in GET /dispatches. @param {number} id @param {number} status @param {string | null} error */
  #conclude(id, status, error) {
    const seq = Number(this.store.one("SELECT COALESCE(MAX(seq), 0) + 1 AS next FROM dispatches")?.next);
    this.store.set("dispatches", id, { seq, status, error });
    // One that still runs stays, however old: without its row its end would not be believed (work.js).
    this.store.run(
      "DELETE FROM dispatches WHERE seq <= ? AND dispatch_id NOT IN (SELECT dispatch_id FROM agents WHERE dispatch_id IS NOT NULL)",
      seq - DISPATCH_ROWS,
    );
  }

  /**
   * The compare of every compare-and-set after an await.
   * @param {string} agentId
   * @param {number} epoch
   * @param {string} dispatchId
   * @returns {AgentRow | null} the agent, if it still waits for this very dispatch
   */
  #waiting(agentId, epoch, dispatchId) {
    const agent = this.store.findAgent(agentId);
    const same = agent?.dispatch_id === dispatchId && this.store.container()?.epoch === epoch;
    return same && (agent.status === "pending" || agent.status === "stalled") ? agent : null;
  }

  /**
   * The table of the contract.
   * @param {string} agentId
   * @param {number} epoch
   * @param {string} dispatchId
   * @param {StartAnswer} answer
   */
  #apply(agentId, epoch, dispatchId, { status, error, retryAfter_ms, timedOut }) {
    const agent = this.#waiting(agentId, epoch, dispatchId);
    if (!agent) return;
    const now = this.clock.now();
    if (status === 200 || status === 201) {
      this.store.set("agents", agentId, { status: "working", attempts: 0, refusals: 0, due_at: null, working_since: now, last_error: null });
      return;
    }
    // Without an answer it may have been started: the same id again, so that it cannot be started twice. Gateways do not know either.
    const next = status === 0 || status === 502 || status === 504 ? dispatchId : null;
    if ((status === 0 && !timedOut) || status === 503 || status === 409) {
      const refusals = agent.refusals + 1;
      const wait_ms = agent.status === "stalled" ? STALLED_RETRY_MS : Math.max(backoff(refusals), retryAfter_ms);
      this.store.set("agents", agentId, { refusals, due_at: now + wait_ms, last_error: error, dispatch_id: next });
      return;
    }
    const attempts = agent.attempts + 1;
    const stalled = attempts >= START_ATTEMPTS;
    this.store.set("agents", agentId, {
      status: stalled ? "stalled" : "pending",
      attempts,
      due_at: now + (stalled ? STALLED_RETRY_MS : backoff(attempts)),
      last_error: error,
      dispatch_id: next,
    });
  }
}
