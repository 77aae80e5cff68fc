// The town's clock. In production it is the wall clock. `TOWN_TIME_SCALE` (tests only, unset anywhere else) makes it run that
// many times faster, so that 24 hours, 90 seconds and the backoff can be waited for without changing any of them.

// The fast clock starts here and not at the start of the process: after a restart it must go on from where it was.
const SCALED_SINCE_MS = Date.UTC(2026, 0, 1);

export class Clock {
  /** @param {number} scale 1 in production */
  constructor(scale) {
    this.scale = scale;
  }

  /** @param {string | null | undefined} setting */
  static from(setting) {
    const scale = setting ? Number(setting) : 1;
    if (!(scale >= 1)) throw new Error(`TOWN_TIME_SCALE is '${setting}': unset it, or give a number of at least 1`);
    return new Clock(scale);
  }

  /** Milliseconds since the Unix epoch, on the town's clock. */
  now() {
    const real = Date.now();
    return this.scale === 1 ? real : Math.round(SCALED_SINCE_MS + (real - SCALED_SINCE_MS) * this.scale);
  }

  /** The wall-clock time at which this clock shows `at_ms`: what the runtime's alarm wants. @param {number} at_ms */
  real(at_ms) {
    return this.scale === 1 ? at_ms : Math.ceil(SCALED_SINCE_MS + (at_ms - SCALED_SINCE_MS) / this.scale);
  }

  /** How long a timer must really run for a span of this clock. @param {number} span_ms */
  realSpan(span_ms) {
    return Math.max(1, Math.ceil(span_ms / this.scale));
  }
}

/** @param {number | null} at_ms @returns {string | null} ISO 8601 in UTC */
export function iso(at_ms) {
  return at_ms === null ? null : new Date(at_ms).toISOString();
}
