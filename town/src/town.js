// The Town Durable Object: one per town, everything it knows in its own SQLite. A request is one synchronous transaction, so that it
// is done wholly or not at all, and no other event sees it half done; the runtime holds its answer back until it is on disk.
import { DurableObject } from "cloudflare:workers";
import { listCheckpoints, writeCheckpoint } from "./checkpoints.js";
import { Clock } from "./clock.js";
import * as container from "./container_life.js";
import { Control } from "./control.js";
import { Dispatcher } from "./dispatcher.js";
import { TownError, failure, success } from "./errors.js";
import { fence, parseEpoch } from "./fencing.js";
import { parseBody, parseExact } from "./json.js";
import { ackMail, sendMail } from "./mail.js";
import { prime } from "./prime.js";
import * as recovery from "./recovery.js";
import * as registry from "./registry.js";
import { ROUTE_BY_NAME } from "./routes.js";
import { migrate } from "./schema.js";
import { dispatches, state } from "./state.js";
import { Store } from "./store.js";
import * as work from "./work.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Call} Call */
/** @typedef {import("./types.js").Env} Env */

/**
 * What a handler works on.
 * @typedef {object} TownScope
 * @property {Store} store
 * @property {number} now         one time for the whole request
 * @property {string} townId
 * @property {string | null | undefined} secret  for redaction only
 * @property {string | null} controlUrlAllow     null where the container binding is used and controlUrl is not
 */

/**
 * What a handler is asked.
 * @typedef {object} TownRequest
 * @property {string} route
 * @property {Record<string, string>} params
 * @property {Record<string, string>} query
 * @property {unknown} body
 * @property {number | null} epoch
 * @property {string | null} idempotencyKey
 */

/** @type {Record<string, (town: TownScope, request: TownRequest) => unknown>} */
const HANDLERS = {
  boot: container.boot,
  desiredState: container.readDesiredState,
  restoreProgress: container.restoreProgress,
  ready: container.ready,
  containerHeartbeat: container.containerHeartbeat,
  eviction: container.eviction,
  drained: container.drained,
  refreshGitToken: registry.refreshGitToken,
  agentHeartbeat: container.agentHeartbeat,
  writeCheckpoint,
  listCheckpoints,
  prime,
  ackMail,
  recordRecoveryPoint: recovery.recordRecoveryPoint,
  recordKept: recovery.recordKept,
  dropKept: recovery.dropKept,
  done: work.done,
  completed: work.completed,
  status: work.status,
  putRig: registry.putRig,
  deleteRig: registry.deleteRig,
  putGitToken: registry.putGitToken,
  putAgent: registry.putAgent,
  deleteAgent: registry.deleteAgent,
  acceptLoss: recovery.acceptLoss,
  sendMail,
  state,
  dispatches,
};

/**
 * The two words of an older epoch that still count. A handler that returns the refusal has changed something and refuses all the same.
 * @type {Record<string, (town: TownScope, request: TownRequest, refusal: TownError) => unknown>}
 */
const LATE_HANDLERS = {
  recordRecoveryPoint: recovery.keepLatePoint,
  drained: container.drainedLate,
};

/** Routes whose data must come back as it was written, number by number. */
const EXACT = new Set(["writeCheckpoint"]);

/** @extends {DurableObject<Env>} */
export class Town extends DurableObject {
  /** @param {DurableObjectState} ctx @param {Env} env */
  constructor(ctx, env) {
    super(ctx, env);
    const allow = env.CONTROL_URL_ALLOW ?? "127.0.0.1,localhost";
    this.controlUrlAllow = ctx.container ? null : allow;
    this.clock = Clock.from(env.TOWN_TIME_SCALE);
    this.store = new Store(ctx.storage.sql);
    this.dispatcher = new Dispatcher(ctx.storage, this.store, this.clock, new Control(this.clock, allow, ctx.container), {
      model: env.AGENT_MODEL ?? "default",
      secret: env.TOWN_SECRET,
    });
    void ctx.blockConcurrencyWhile(async () => {
      migrate(ctx.storage);
      await this.dispatcher.recover();
    });
  }

  /** @param {Call} call @returns {Promise<Answer>} */
  async handle(call) {
    try {
      const data = this.#perform(call);
      return data instanceof TownError ? failure(data) : success(data);
    } catch (e) {
      if (e instanceof TownError) return failure(e);
      console.error(call.route, "failed", e instanceof Error ? e.stack : e);
      return failure(new TownError(500, "internal", "the town failed; its log says why"));
    }
  }

  /** @override */
  async alarm() {
    await this.dispatcher.run();
  }

  /** @param {Call} call @returns {unknown} */
  #perform(call) {
    const route = ROUTE_BY_NAME.get(call.route);
    const handler = HANDLERS[call.route];
    if (!route || !handler) throw new Error(`route '${call.route}' has no handler`);
    const now = this.clock.now();
    const epoch = route.fence === "boot" || route.fence === "admin" ? null : parseEpoch(call.epoch);
    if (this.store.meta("townId") !== call.townId) this.store.setMeta("townId", call.townId);
    const current = this.store.container();
    // Heard of, even when what it says is refused below for its form.
    if (current && epoch === current.epoch) this.store.set("containers", epoch, { heard_at: now });

    /** @type {TownScope} */
    const town = { store: this.store, now, townId: call.townId, secret: this.env.TOWN_SECRET, controlUrlAllow: this.controlUrlAllow };
    const refusal = fence(route, current, epoch, call.scope, now);
    const late = LATE_HANDLERS[call.route];
    if (refusal && !late) throw refusal;
    /** @type {unknown} */
    let data;
    try {
      const body = parseBody(call.body, EXACT.has(call.route) ? parseExact : undefined);
      /** @type {TownRequest} */
      const request = { route: call.route, params: call.params, query: call.query, body, epoch, idempotencyKey: call.idempotencyKey };
      data = this.ctx.storage.transactionSync(() => (refusal ? late(town, request, refusal) : handler(town, request)));
    } catch (e) {
      // Whatever else is wrong with what an old container says: that it is fenced is what it must learn.
      throw refusal && e instanceof TownError ? refusal : e;
    }
    if (route.method !== "GET") this.dispatcher.arm();
    return data;
  }
}
