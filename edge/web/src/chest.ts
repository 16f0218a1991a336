// Where the page keeps things between two visits. Some browsers forbid it; then they are kept until
// the tab is closed, and nothing else changes.
import { type Chest, Keys } from "./keys";

/** What stands in for localStorage. */
export class MapChest implements Chest {
  readonly #map = new Map<string, string>();

  get length(): number {
    return this.#map.size;
  }

  key(index: number): string | null {
    return [...this.#map.keys()][index] ?? null;
  }

  getItem(name: string): string | null {
    return this.#map.get(name) ?? null;
  }

  setItem(name: string, value: string): void {
    this.#map.set(name, value);
  }

  removeItem(name: string): void {
    this.#map.delete(name);
  }
}

function open(): Chest {
  try {
    const probe = "firstcome.probe";
    localStorage.setItem(probe, "1");
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    return new MapChest();
  }
}

/** Takes away what is kept under a user's id: the account is gone. */
export function forgetUser(userId: string, kept: Chest = chest): void {
  const names = Array.from({ length: kept.length }, (_, index) => kept.key(index) ?? "");
  for (const name of names) {
    if (name.startsWith("firstcome.") && name.includes(`.${userId}.`)) kept.removeItem(name);
  }
}

/** The one of this browser. */
export const chest = open();
/** The keys that wait for their answer. */
export const keys = new Keys(chest);
