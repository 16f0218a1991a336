// What the pages of an account have in common: they are its owner's, and lead to each other.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { persist, session } from "../api";
import { Page, Told } from "../parts";
import { type Refusal, refusalOf } from "../refusal";
import { go, logInPath, place } from "../route";
import { useStore } from "../store";
import { useTexts } from "../texts";

/** Its owner's only; anybody else logs in first. */
export function Own(props: { title: string; lead?: string; children: (user: string) => ComponentChildren }) {
  const texts = useTexts();
  const user = useStore(session.user);
  const here = useStore(place);
  useEffect(() => {
    if (user === undefined) go(logInPath(), "replace");
  }, [user]);
  const pages: [string, string][] = [
    ["/me", texts.meTitle],
    ["/profile", texts.own.profileTitle],
    ["/addresses", texts.own.addressesTitle],
    ["/security", texts.own.securityTitle],
  ];
  return (
    <Page title={props.title} lead={props.lead} class="me">
      <nav class="own" aria-label={texts.own.accountMenu}>
        {pages.map(([to, name]) => (
          <a key={to} href={to} aria-current={here === to ? "page" : undefined}>{name}</a>
        ))}
      </nav>
      {user !== undefined && props.children(user)}
    </Page>
  );
}

/** What a page reads when it is shown, and again when `again` is called. */
export function useRead<T>(read: (signal: AbortSignal) => Promise<T>) {
  const [is, setIs] = useState<T>();
  const [refusal, setRefusal] = useState<Refusal>();
  const [round, setRound] = useState(0);
  useEffect(() => {
    const visit = new AbortController();
    persist(() => read(visit.signal), visit.signal)
      .then((answer) => {
        if (visit.signal.aborted) return;
        setIs(() => answer);
        setRefusal(undefined);
      })
      .catch((thrown) => visit.signal.aborted || setRefusal(refusalOf(thrown)));
    return () => visit.abort();
  }, [round]);
  return { is, set: setIs, refusal, again: () => setRound((n) => n + 1) };
}

/** What was read, and why it was not, or not again: then it may have changed since. */
export function Shown<T>(props: { read: { is: T | undefined; refusal: Refusal | undefined; again: () => void }; children: (is: T) => ComponentChildren }) {
  const texts = useTexts();
  const { is, refusal, again } = props.read;
  if (is === undefined && refusal === undefined) return <p class="loading">{texts.loading}</p>;
  return (
    <>
      <Told refusal={refusal}><button type="button" onClick={again}>{texts.tryAgain}</button></Told>
      {is !== undefined && props.children(is)}
    </>
  );
}
