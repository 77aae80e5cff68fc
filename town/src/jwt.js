// Tokens of a town: JSON Web Tokens (RFC 7519), HS256 only, key = the UTF-8 bytes of TOWN_SECRET.

/** @typedef {{townId: string, scope: import("./types.js").Scope, iat: number, exp: number}} Claims */

const HEADER = { alg: "HS256", typ: "JWT" };
const utf8 = new TextEncoder();

/** @param {string} secret @param {"sign" | "verify"} use */
function key(secret, use) {
  return crypto.subtle.importKey("raw", utf8.encode(secret), { name: "HMAC", hash: "SHA-256" }, false, [use]);
}

/** @param {Uint8Array} bytes */
function toBase64Url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer> | null} null when it is not base64url */
function fromBase64Url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

/** @param {string} part @returns {any} undefined when it is not base64url of JSON */
function decode(part) {
  const bytes = fromBase64Url(part);
  if (!bytes) return undefined;
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    return undefined;
  }
}

/** @param {string} secret @param {Claims} claims */
export async function mint(secret, claims) {
  const signed = [HEADER, claims].map((part) => toBase64Url(utf8.encode(JSON.stringify(part)))).join(".");
  const mac = await crypto.subtle.sign("HMAC", await key(secret, "sign"), utf8.encode(signed));
  return `${signed}.${toBase64Url(new Uint8Array(mac))}`;
}

/**
 * The claims of a token that is really ours, whether or not it has expired; null for any other.
 * @param {string} secret
 * @param {string} token
 * @returns {Promise<Claims | null>}
 */
export async function verify(secret, token) {
  const [header, payload, signature, ...rest] = token.split(".");
  if (!header || !payload || !signature || rest.length > 0) return null;
  if (decode(header)?.alg !== HEADER.alg) return null;
  const mac = fromBase64Url(signature);
  // WebCrypto compares the signature in constant time.
  if (!mac || !(await crypto.subtle.verify("HMAC", await key(secret, "verify"), mac, utf8.encode(`${header}.${payload}`)))) return null;
  const claims = decode(payload);
  if (typeof claims !== "object" || claims === null) return null;
  const { townId, scope, iat, exp } = claims;
  if (typeof townId !== "string" || !Number.isFinite(iat) || !Number.isFinite(exp)) return null;
  return scope === "container" || scope === "admin" ? { townId, scope, iat, exp } : null;
}
