// A page whose script comes when it is asked for: what few need, others do not load.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

import { Page, Told } from "./parts";
import { type Refusal, refusalOf } from "./refusal";
import { useTexts } from "./texts";

export function Lazily<P extends object>(props: { load: () => Promise<ComponentType<P>>; with: P }) {
  const texts = useTexts();
  const [Shown, setShown] = useState<ComponentType<P>>();
  const [refusal, setRefusal] = useState<Refusal>();
  useEffect(() => {
    props.load().then((shown) => setShown(() => shown), (thrown) => setRefusal(refusalOf(thrown)));
  }, []);
  if (Shown !== undefined) return <Shown {...props.with} />;
  return (
    <Page title={texts.loading}>
      <Told refusal={refusal}>
        <button type="button" onClick={() => location.reload()}>{texts.tryAgain}</button>
      </Told>
    </Page>
  );
}
