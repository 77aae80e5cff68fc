// Every route of the contract, once. `access` says who may come, `epoch` how it is fenced:
//   write  a container's write: refused from an older epoch, and without the header while a container is live
//   read   changes nothing, or only hands out what an old container still needs for its last save: never fenced
//   boot   what gives the epoch
//   admin  an operator's act: never fenced

/** @typedef {"write" | "read" | "boot" | "admin"} Fence */
/** @typedef {{name: string, method: string, path: string, access: "container" | "admin", fence: Fence}} Route */

/** @param {string} name @param {string} methodAndPath @param {Fence} fence @returns {Route} */
function route(name, methodAndPath, fence) {
  const [method, path] = methodAndPath.split(" ");
  return { name, method, path, access: fence === "admin" ? "admin" : "container", fence };
}

const AGENT = "/rigs/:rigId/agents/:agentId";

/** @type {Route[]} */
export const ROUTES = [
  route("boot", "POST /container-boot", "boot"),
  route("desiredState", "GET /desired-state", "read"),
  route("restoreProgress", "POST /restore-progress", "write"),
  route("ready", "POST /container-ready", "write"),
  route("containerHeartbeat", "POST /container-heartbeat", "write"),
  route("eviction", "POST /container-eviction", "write"),
  route("drained", "POST /container-drained", "write"),
  route("refreshContainerToken", "POST /refresh-container-token", "read"),
  route("refreshGitToken", "POST /rigs/:rigId/refresh-git-token", "read"),
  route("agentHeartbeat", `POST ${AGENT}/heartbeat`, "write"),
  route("writeCheckpoint", `POST ${AGENT}/checkpoint`, "write"),
  route("listCheckpoints", `GET ${AGENT}/checkpoints`, "read"),
  route("prime", `GET ${AGENT}/prime`, "read"),
  route("ackMail", `POST ${AGENT}/mail-ack`, "write"),
  route("recordRecoveryPoint", `POST ${AGENT}/recovery-point`, "write"),
  route("recordKept", `POST ${AGENT}/kept`, "write"),
  route("dropKept", `DELETE ${AGENT}/kept/:commit`, "write"),
  route("done", `POST ${AGENT}/done`, "write"),
  route("completed", `POST ${AGENT}/completed`, "write"),
  route("status", `POST ${AGENT}/status`, "write"),

  route("putRig", "PUT /rigs/:rigId", "admin"),
  route("deleteRig", "DELETE /rigs/:rigId", "admin"),
  route("putGitToken", "PUT /rigs/:rigId/git-token", "admin"),
  route("putAgent", `PUT ${AGENT}`, "admin"),
  route("deleteAgent", `DELETE ${AGENT}`, "admin"),
  route("acceptLoss", `DELETE ${AGENT}/recovery`, "admin"),
  route("sendMail", `POST ${AGENT}/mail`, "admin"),
  route("state", "GET /state", "admin"),
  route("dispatches", "GET /dispatches", "admin"),
];

const compiled = ROUTES.map((r) => ({ route: r, segments: r.path.split("/").slice(1) }));

/** @type {Map<string, Route>} */
export const ROUTE_BY_NAME = new Map(ROUTES.map((r) => [r.name, r]));

/**
 * @param {string} method
 * @param {string[]} segments what follows /api/towns/{townId}, decoded
 * @returns {{route: Route, params: Record<string, string>} | {allow: string[]}} `allow`: the methods the path knows, none for an unknown path
 */
export function match(method, segments) {
  /** @type {string[]} */
  const allow = [];
  for (const { route: candidate, segments: pattern } of compiled) {
    if (pattern.length !== segments.length) continue;
    if (!pattern.every((part, i) => part.startsWith(":") || part === segments[i])) continue;
    allow.push(candidate.method);
    if (candidate.method !== method) continue;
    const params = pattern.flatMap((part, i) => (part.startsWith(":") ? [[part.slice(1), segments[i]]] : []));
    return { route: candidate, params: Object.fromEntries(params) };
  }
  return { allow };
}
