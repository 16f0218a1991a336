// The language that an account is written to in, and the page's.
import { mine, options, persist } from "./api";
import { Language as Spoken } from "./gen/firstcome/user/v1/profile_service_pb";
import { choose, chosenHere, type Language } from "./language";

const SPOKEN: Readonly<Partial<Record<Spoken, Language>>> = {
  [Spoken.ENGLISH]: "en",
  [Spoken.KOREAN]: "ko",
};

/** As the page knows it. */
export function languageOf(spoken: Spoken): Language | undefined {
  return SPOKEN[spoken];
}

/** As the contract knows it. */
export function spokenOf(language: Language): Spoken {
  return language === "ko" ? Spoken.KOREAN : Spoken.ENGLISH;
}

/** The page speaks as its owner wants it, unless the switch in the page has been used just now. */
export async function followProfile(): Promise<void> {
  const read = () => mine.profile.getProfile({}, options());
  const answer = await persist(read, undefined, 2).catch(() => undefined);
  const wanted = languageOf(answer?.profile?.language ?? Spoken.UNSPECIFIED);
  if (wanted !== undefined && !chosenHere()) choose(wanted);
}
