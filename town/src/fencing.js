// Who may write: the container of the newest epoch, and a client that knows no epochs while no container is live.
import { fenced, invalid } from "./errors.js";
import { LIVE_MS } from "./limits.js";

/** @typedef {import("./types.js").ContainerRow} ContainerRow */
/** @typedef {import("./errors.js").TownError} TownError */

/** @param {string | null} header @returns {number | null} */
export function parseEpoch(header) {
  if (header === null) return null;
  if (!/^[1-9][0-9]{0,14}$/.test(header)) throw invalid("X-Gastown-Epoch", "must be the integer that container-boot answered", "invalid_epoch");
  return Number(header);
}

/** Booted, not drained, last heard of at most 90 s ago. @param {ContainerRow | null} container @param {number} now */
export function isLive(container, now) {
  return container !== null && container.drained_at === null && now - container.heard_at <= LIVE_MS;
}

/**
 * @param {import("./routes.js").Route} route
 * @param {ContainerRow | null} current
 * @param {number | null} epoch what the request says it is
 * @param {import("./types.js").Scope} scope
 * @param {number} now
 * @returns {TownError | null} why the request must change nothing
 */
export function fence(route, current, epoch, scope, now) {
  if (route.fence !== "write") return null;
  if (epoch === null) {
    // `recovery drop` is an operator's act as well as a container's.
    if (route.name === "dropKept" && scope === "admin") return null;
    if (!current || !isLive(current, now)) return null;
    return fenced(`the container of epoch ${current.epoch} has this town: a write needs its X-Gastown-Epoch`);
  }
  if (epoch === current?.epoch) return null;
  if (!current || epoch > current.epoch) return fenced(`epoch ${epoch} was never given by this town: boot again`);
  return fenced(`epoch ${epoch} is over: a newer container has this town with epoch ${current.epoch}`);
}

/**
 * A container that knows the epoch must also be the instance that was given it.
 * @param {ContainerRow} container
 * @param {string | undefined} instanceId
 */
export function requireInstance(container, instanceId) {
  if (instanceId !== undefined && instanceId !== container.instance_id) {
    throw fenced(`instance '${instanceId}' does not have epoch ${container.epoch}: '${container.instance_id}' has`);
  }
}
