// Every number of the town in one place. Times are milliseconds of the town's clock (clock.js).

export const BODY_BYTES = 1024 * 1024;
/** A body over its limit is read on (and thrown away) up to here, so that the client is still there to read the 413. */
export const BODY_DRAIN_BYTES = 8 * 1024 * 1024;
export const CHECKPOINT_BYTES = 256 * 1024;
/** Deeper JSON is refused: recursive parsers, ours and the clients', must not run out of stack. */
export const JSON_DEPTH = 128;

export const TOKEN_TTL_SECONDS = 8 * 3600;
export const TOKEN_REFRESH_GRACE_SECONDS = 24 * 3600;

export const LIVE_MS = 90_000;
export const MAYBE_LOST_MAX_SECONDS = 90;

export const CHECKPOINTS_KEPT = 20;
export const IDEMPOTENCY_MS = 24 * 3600_000;
export const STATUS_MESSAGE_CHARS = 280;
export const LIST_ENTRIES = 10_000;

export const START_TIMEOUT_MS = 10_000;
export const STARTS_AT_ONCE = 8;
export const START_ATTEMPTS = 5;
export const BACKOFF_FIRST_MS = 2_000;
export const BACKOFF_MAX_MS = 60_000;
export const STALLED_RETRY_MS = 60_000;
/** An alarm run that dies is followed by another after this long: every call of the dead run has timed out by then. */
export const ALARM_SAFETY_MS = START_TIMEOUT_MS + 2_000;
export const START_ANSWER_CHARS = 300;

export const DISPATCH_ROWS = 1_000;
export const CONTAINER_ROWS = 1_000;
export const CONTROL_PORT = 8080;
