// Words for people who hear the page: two live regions, one polite and one that interrupts.
import { Store } from "./store";

export const polite = new Store("");
export const urgent = new Store("");

/** Says it once. The same words twice need a change between them to be heard. */
export function announce(words: string, how: "polite" | "urgent" = "polite"): void {
  const region = how === "polite" ? polite : urgent;
  region.set("");
  setTimeout(() => region.set(words), 50);
}
