// Idempotency keys that outlive the page. A key is made when a button is first pressed and stays in
// the drawer until the answer is known, so that a buyer who reloads, goes back, opens a second tab
// or loses the network asks for the same purchase again, and ends with one order.

/** What the drawer lies in: localStorage, or a map where there is none. */
export type Chest = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** A key and when its button was pressed. */
export interface Kept {
  readonly key: string;
  readonly sinceMs: number;
  /** The buyer gave the wish up; other tabs must not go on with it. */
  readonly abandoned?: true;
}

const PREFIX = "firstcome.key.";
/** An answer that was not known after this is of no use to anybody: the hold is long over. */
const KEPT_MAX_MS = 7 * 24 * 3600_000;

export class Keys {
  constructor(
    private readonly chest: Chest,
    private readonly now: () => number = Date.now,
    private readonly make: () => string = newKey,
  ) {
    this.#sweep();
  }

  /**
   * The slot's key: the one that waits for its answer, else a new one. A wish that was given up and
   * is wished again keeps its key: a tab that has slept since, and knows of neither, asks for it too.
   */
  take(slot: string): Kept {
    const kept = this.#read(slot);
    if (kept !== undefined && !kept.abandoned) return kept;
    const made = { key: kept?.key ?? this.make(), sinceMs: this.now() };
    this.chest.setItem(PREFIX + slot, JSON.stringify(made));
    return made;
  }

  /** The key that waits for its answer, if one does. */
  peek(slot: string): Kept | undefined {
    const kept = this.#read(slot);
    return kept?.abandoned ? undefined : kept;
  }

  /** The answer is known. A key that another tab has put there since stays. */
  drop(slot: string, key: string): void {
    if (this.#read(slot)?.key === key) this.chest.removeItem(PREFIX + slot);
  }

  /** The buyer does not want it any more, in any tab. */
  abandon(slot: string): void {
    const kept = this.peek(slot);
    if (kept === undefined) return;
    this.chest.setItem(PREFIX + slot, JSON.stringify({ ...kept, abandoned: true }));
  }

  /** Whether a tab gave this wish up. */
  isAbandoned(slot: string, key: string): boolean {
    const kept = this.#read(slot);
    return kept?.key === key && kept.abandoned === true;
  }

  #read(slot: string): Kept | undefined {
    const kept = read(this.chest.getItem(PREFIX + slot));
    return kept !== undefined && this.now() - kept.sinceMs < KEPT_MAX_MS ? kept : undefined;
  }

  #sweep(): void {
    const names = Array.from({ length: this.chest.length }, (_, index) => this.chest.key(index));
    for (const name of names) {
      if (name?.startsWith(PREFIX) && this.#read(name.slice(PREFIX.length)) === undefined) {
        this.chest.removeItem(name);
      }
    }
  }
}

function read(text: string | null): Kept | undefined {
  if (text === null) return undefined;
  try {
    const kept: unknown = JSON.parse(text);
    if (typeof kept !== "object" || kept === null) return undefined;
    const { key, sinceMs, abandoned } = kept as Record<string, unknown>;
    if (typeof key !== "string" || typeof sinceMs !== "number") return undefined;
    return { key, sinceMs, ...(abandoned === true && { abandoned }) };
  } catch {
    return undefined;
  }
}

/** 128 random bits. Not crypto.randomUUID, which a page without TLS does not have. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A purchase: whose, and of what. */
export function purchaseSlot(userId: string, productId: string, skuId: string): string {
  return `buy.${userId}.${productId}.${skuId}`;
}
