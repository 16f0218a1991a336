// A browser has six connections to a shop without TLS, for all of its tabs, and a stream keeps one
// for as long as it lives. The seventh would hang, and with it every purchase. So a browser keeps a
// few streams; whoever comes later asks now and then until one is free.
import { sleep } from "./backoff";

/** Streams of one browser: at least two of its six connections stay for calls. */
const STREAMS_MAX = 4;
/** Who has no stream asks this often. */
const ASK_EVERY_MS = 2_000;

const LOCK = "firstcome.line.";

/** Reads a stream if the browser may have one more, and else asks, where one can ask, until it may. */
export async function* rationed<T>(
  open: (signal: AbortSignal) => AsyncIterable<T>,
  ask: ((signal: AbortSignal) => Promise<T>) | undefined,
  signal: AbortSignal,
): AsyncIterable<T> {
  while (!signal.aborted) {
    const release = await take();
    if (release !== undefined) {
      try {
        return yield* open(signal);
      } finally {
        release();
      }
    }
    if (ask !== undefined) yield await ask(signal);
    await sleep(ASK_EVERY_MS, signal);
  }
}

/** One of the browser's streams, until it is given back; undefined when all are in use. */
async function take(): Promise<(() => void) | undefined> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  // A page without TLS that is not localhost knows nothing of other tabs.
  if (locks === undefined) return () => {};
  for (let number = 0; number < STREAMS_MAX; number += 1) {
    const release = await new Promise<(() => void) | undefined>((told) => {
      void locks.request(LOCK + number, { ifAvailable: true }, (lock) => {
        if (lock === null) return told(undefined);
        return new Promise<void>((release) => told(release));
      });
    });
    if (release !== undefined) return release;
  }
  return undefined;
}
