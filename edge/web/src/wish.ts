// Which lines of a list were ordered under a key: they are asked for again with it, and with no other.
import { chest } from "./chest";
import { type Chest } from "./keys";

const PREFIX = "firstcome.wish.";

export class Wish {
  /** What this page asked for last, under whichever key. */
  #asked: readonly string[] | undefined;

  constructor(
    private readonly slot: string,
    private readonly kept: Chest = chest,
  ) {}

  /** Before the key is used for the first time. */
  keep(key: string, skuIds: readonly string[]): void {
    this.kept.setItem(PREFIX + this.slot, JSON.stringify({ key, skuIds }));
  }

  /** Whether this is the key under which something was wished last, in any tab. */
  knows(key: string): boolean {
    return this.#read(key) !== undefined;
  }

  /**
   * What to ask for under this key. Another tab may have wished something else since, under a newer
   * one; what this page asked for then stays what it was. Never nothing, which would mean all.
   */
  of(key: string): readonly string[] {
    const skuIds = this.#read(key) ?? this.#asked;
    if (skuIds === undefined) throw new Error("nothing was wished under this key");
    this.#asked = skuIds;
    return skuIds;
  }

  #read(key: string): readonly string[] | undefined {
    try {
      const wish = JSON.parse(this.kept.getItem(PREFIX + this.slot) ?? "null") as Record<string, unknown> | null;
      const { skuIds } = wish ?? {};
      if (wish?.key !== key || !Array.isArray(skuIds)) return undefined;
      return skuIds.length > 0 && skuIds.every((id) => typeof id === "string") ? skuIds : undefined;
    } catch {
      return undefined;
    }
  }
}
