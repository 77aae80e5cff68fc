// What a name may be. Each function says what is wrong, or null: names become parts of refs, paths and command lines in the
// container, so that they are refused here, before anybody touches a file or a socket.

const CONTROL = /[\u0000-\u001f\u007f]/;

/** Ids of towns, rigs and agents. @param {string} s @returns {string | null} */
export function idProblem(s) {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(s)) {
    return "must be 1 to 128 of the characters A-Z a-z 0-9 . _ - and begin with a letter or digit";
  }
  if (s.includes("..")) return "must not hold '..'";
  if (s.endsWith(".") || s.endsWith(".lock")) return "must not end in '.' or '.lock'";
  return null;
}

/** The rules of git-check-ref-format(1), for a full ref or for what follows refs/heads/. @param {string} s @returns {string | null} */
function refNameProblem(s) {
  if (s === "" || s.length > 512) return "must be 1 to 512 characters long";
  if (CONTROL.test(s) || /[ ~^:?*[\\]/.test(s)) return "must not hold a space, a control character or one of ~ ^ : ? * [ \\";
  if (s.includes("..") || s.includes("@{") || s.includes("//")) return "must not hold '..', '@{' or '//'";
  if (s.startsWith("/") || s.endsWith("/") || s.endsWith(".")) return "must not begin with '/' nor end in '/' or '.'";
  if (s.split("/").some((part) => part.startsWith(".") || part.endsWith(".lock"))) {
    return "no part of it may begin with '.' or end in '.lock'";
  }
  if (!s.isWellFormed()) return "must be valid Unicode";
  return null;
}

/** A branch, as `git check-ref-format --branch` takes it. @param {string} s @returns {string | null} */
export function branchProblem(s) {
  if (s.startsWith("-")) return "must not begin with '-'";
  if (s === "@" || s === "HEAD") return `'${s}' is not a branch`;
  return refNameProblem(s);
}

/** @param {string} s @returns {string | null} */
export function refProblem(s) {
  return s.startsWith("refs/") ? refNameProblem(s) : "must begin with 'refs/'";
}

/** @param {string} s @returns {string | null} */
export function commitProblem(s) {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(s) ? null : "must be a full commit id of 40 or 64 lower-case hexadecimal digits";
}

/** One line for people. @param {string} s @returns {string | null} */
export function lineProblem(s) {
  return CONTROL.test(s) ? "must not hold a control character" : null;
}

/** `Name <email>` or a name, as it goes into a commit. @param {string} s @returns {string | null} */
export function identityProblem(s) {
  return /^[^<>\u0000-\u001f\u007f]*[^<>\s\u0000-\u001f\u007f][^<>\u0000-\u001f\u007f]*( <[^<>\s\u0000-\u001f\u007f]+>)?$/.test(s)
    ? null
    : "must be 'Name <email>' or a name, on one line";
}

/** @param {string} host as URL.hostname gives it: lower case, numbers normalised */
function isLinkLocal(host) {
  return /^169\.254\./.test(host) || /^\[(fe[89ab]|::ffff:a9fe:)/.test(host);
}

/** @param {string} s @returns {{url: URL} | string} the parsed URL, or what is wrong with it */
function httpUrl(s) {
  if (CONTROL.test(s) || /[\s\\]/.test(s)) return "must not hold white space, a backslash or a control character";
  if (s.length > 2048) return "must be at most 2048 characters long";
  if (!/^https?:\/\/[^/?#]+/i.test(s)) return "must be an https:// or http:// URL";
  const url = URL.parse(s);
  if (!url) return "is not a valid URL";
  if (url.username || url.password || s.split("/", 3)[2].includes("@")) {
    return "must not hold a user name, password or token; give the rig a git token instead";
  }
  if (isLinkLocal(url.hostname)) return "must not point to a link-local address";
  return { url };
}

/** A remote as the container will open it. @param {string} s @returns {string | null} */
export function gitUrlProblem(s) {
  const parsed = httpUrl(s);
  if (typeof parsed === "string") return parsed;
  return parsed.url.search || parsed.url.hash ? "must not have a query or fragment" : null;
}

/**
 * Where a control call may go.
 * @param {string} s
 * @param {string} allow comma-separated host names
 * @returns {string | null}
 */
export function controlUrlProblem(s, allow) {
  const parsed = httpUrl(s);
  if (typeof parsed === "string") return parsed;
  const { url } = parsed;
  if (url.search || url.hash) return "must not have a query or fragment";
  const hosts = allow.split(",").map((host) => host.trim().toLowerCase()).filter(Boolean);
  if (!hosts.includes(url.hostname)) {
    return `host '${url.hostname}' is not in CONTROL_URL_ALLOW (${hosts.join(",")})`;
  }
  return null;
}
