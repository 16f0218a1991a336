// How long to wait before the next try. Many buyers are refused in the same instant; what spreads
// them again is the jitter.

/** The first wait, when nobody said how long. */
export const DELAY_FIRST_MS = 400;
/** The longest wait that we choose ourselves; a server may ask for more. */
export const DELAY_MAX_MS = 15_000;
/** A server's wait is believed up to this. */
const RETRY_AFTER_MAX_MS = 120_000;

/**
 * The wait before try `attempt` (0: the first retry). Never shorter than the server asked for, and
 * up to half again as long; without its word the bound doubles, and the wait lies in its upper half.
 */
export function delayMs(attempt: number, retryAfterMs?: number, random = Math.random): number {
  if (retryAfterMs !== undefined && retryAfterMs > 0) {
    const asked = Math.min(retryAfterMs, RETRY_AFTER_MAX_MS);
    return Math.round(asked * (1 + random() / 2));
  }
  const bound = Math.min(DELAY_FIRST_MS * 2 ** Math.min(attempt, 16), DELAY_MAX_MS);
  return Math.round(bound * (0.5 + random() / 2));
}

/** Waits; ends early, without an error, when the signal does. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    // A timer holds 31 bits; a longer one would fire at once.
    const timer = setTimeout(done, Math.min(Math.max(ms, 0), 2 ** 31 - 1));
    signal?.addEventListener("abort", done, { once: true });
  });
}
