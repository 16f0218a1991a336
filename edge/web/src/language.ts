// English and Korean: the visitor's choice, else the first of the browser's languages that we speak.
import { chest } from "./chest";
import { Store } from "./store";

export type Language = "en" | "ko";

export const LANGUAGES: Readonly<Record<Language, string>> = { en: "English", ko: "한국어" };

const KEPT_AS = "firstcome.language";

/** Chosen by the browser: its languages in the order of preference. */
export function preferred(languages: readonly string[]): Language {
  for (const tag of languages) {
    const primary = tag.toLowerCase().split("-")[0];
    if (primary === "en" || primary === "ko") return primary;
  }
  return "en";
}

function first(): Language {
  const kept = chest.getItem(KEPT_AS);
  return kept === "en" || kept === "ko" ? kept : preferred(globalThis.navigator?.languages ?? []);
}

export const language = new Store<Language>(first());

let switched = false;
/** Whether the switch in the page was used since it was loaded. */
export function chosenHere(): boolean {
  return switched;
}

/** The visitor used the switch. */
export function switchTo(chosen: Language): void {
  switched = true;
  choose(chosen);
}

/** The visitor chose, here or in the profile. */
export function choose(chosen: Language): void {
  chest.setItem(KEPT_AS, chosen);
  language.set(chosen);
}
