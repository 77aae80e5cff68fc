// The entry: finds the route, checks the token, reads the body within its limit, and hands the call to its town. Whoever has no
// right to a town never wakes its object.
import { TownError, failure, invalid, success } from "./errors.js";
import { mint, verify } from "./jwt.js";
import { BODY_BYTES, BODY_DRAIN_BYTES, TOKEN_REFRESH_GRACE_SECONDS, TOKEN_TTL_SECONDS } from "./limits.js";
import { idProblem } from "./names.js";
import { match } from "./routes.js";

export { Town } from "./town.js";

/** @typedef {import("./types.js").Env} Env */
/** @typedef {import("./routes.js").Route} Route */

/** @param {Request} request */
function find(request) {
  const url = new URL(request.url);
  /** @type {string[]} */
  let segments;
  try {
    segments = url.pathname.split("/").slice(1).map(decodeURIComponent);
  } catch {
    throw invalid("path", "is not valid percent-encoding", "invalid_id");
  }
  const [api, towns, townId, ...rest] = segments;
  const found = api === "api" && towns === "towns" && townId ? match(request.method, rest) : { allow: [] };
  if (!("route" in found)) {
    if (found.allow.length === 0) throw new TownError(404, "not_found", `${url.pathname}: no such route`);
    throw new TownError(405, "method_not_allowed", `${url.pathname}: takes ${found.allow.join(", ")}, not ${request.method}`);
  }
  for (const [path, id] of Object.entries({ townId, ...found.params })) {
    const wrong = path === "commit" ? null : idProblem(id);
    if (wrong) throw invalid(path, wrong, "invalid_id");
  }
  return { ...found, townId, query: Object.fromEntries(url.searchParams) };
}

/** @param {Request} request @param {Route} route @param {string} townId @param {Env} env */
async function authenticate(request, route, townId, env) {
  const secret = env.TOWN_SECRET;
  if (!secret) throw new TownError(500, "not_configured", "TOWN_SECRET is not set: start the town with it in the environment");
  const token = /^Bearer +(\S+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1];
  if (!token) throw new TownError(401, "unauthorized", "Authorization: send 'Bearer <token>'");
  const claims = await verify(secret, token);
  if (!claims) throw new TownError(401, "unauthorized", "the token was not made with this town's TOWN_SECRET, or is malformed");
  const expiredSeconds = Date.now() / 1000 - claims.exp;
  const grace = route.name === "refreshContainerToken" ? TOKEN_REFRESH_GRACE_SECONDS : 0;
  if (expiredSeconds >= grace) {
    const remedy = grace ? "mint a new one" : "refresh it at /refresh-container-token";
    throw new TownError(401, "token_expired", `the token expired ${Math.round(expiredSeconds)} s ago: ${remedy}`);
  }
  if (claims.townId !== townId) throw new TownError(403, "forbidden", `the token is for town '${claims.townId}', not for '${townId}'`);
  if (route.access === "admin" && claims.scope !== "admin") {
    throw new TownError(403, "forbidden", `${route.method} ${route.path} needs a token of scope admin`);
  }
  return { secret, claims };
}

/** @param {Request} request @returns {Promise<string>} */
async function readBody(request) {
  if (!request.body) return "";
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.byteLength;
    if (size <= BODY_BYTES) chunks.push(chunk);
    if (size > BODY_DRAIN_BYTES) break;
  }
  if (size > BODY_BYTES) throw new TownError(413, "too_large", `the body is larger than ${BODY_BYTES} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(await new Blob(chunks).arrayBuffer());
  } catch {
    throw invalid("", "is not valid UTF-8");
  }
}

/** @param {Request} request @param {Env} env @returns {Promise<import("./types.js").Answer>} */
async function answer(request, env) {
  const { route, params, townId, query } = find(request);
  const { secret, claims } = await authenticate(request, route, townId, env);
  const body = await readBody(request);
  if (route.name === "refreshContainerToken") {
    if (claims.scope !== "container") throw new TownError(403, "forbidden", "only a token of scope container is refreshed here");
    const iat = Math.floor(Date.now() / 1000);
    return success({ token: await mint(secret, { townId, scope: "container", iat, exp: iat + TOKEN_TTL_SECONDS }) });
  }
  /** @type {import("./types.js").Call} */
  const call = {
    townId,
    route: route.name,
    params,
    query,
    scope: claims.scope,
    epoch: request.headers.get("X-Gastown-Epoch"),
    idempotencyKey: request.headers.get("Idempotency-Key"),
    body,
  };
  return env.TOWN.get(env.TOWN.idFromName(townId)).handle(call);
}

export default {
  /** @param {Request} request @param {Env} env @returns {Promise<Response>} */
  async fetch(request, env) {
    /** @type {import("./types.js").Answer} */
    let given;
    try {
      given = await answer(request, env);
    } catch (e) {
      if (!(e instanceof TownError)) console.error("request failed", e instanceof Error ? e.stack : e);
      given = failure(e instanceof TownError ? e : new TownError(500, "internal", "the town failed; its log says why"));
    }
    return new Response(given.text, {
      status: given.status,
      headers: {
        "Content-Type": "application/json; charset=utf-8",
        "Cache-Control": "no-store",
        ...(given.status === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
      },
    });
  },
};
