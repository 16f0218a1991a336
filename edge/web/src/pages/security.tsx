// Who is logged in, the password, and the end of an account.
import { useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, persist, session } from "../api";
import { forgetUser } from "../chest";
import { moment } from "../format";
import type { Session } from "../gen/firstcome/user/v1/account_service_pb";
import { Field, focusHeading, Form, PASSWORD_PATTERN, Sure, Told, useSending } from "../parts";
import { go } from "../route";
import { useTexts } from "../texts";
import { Own, Shown, useRead } from "./own";

const PAGE_SIZE = 20;

export function Security() {
  const texts = useTexts();
  return (
    <Own title={texts.own.securityTitle}>
      {(user) => (
        <>
          <Devices />
          <Password />
          <End user={user} />
        </>
      )}
    </Own>
  );
}

/** The pages that were read, and what asks for the next. */
interface Listed {
  readonly sessions: readonly Session[];
  readonly rest: string;
}

async function list(pageToken: string, signal?: AbortSignal): Promise<Listed> {
  const answer = await mine.account.listSessions({ pageSize: PAGE_SIZE, pageToken }, options(signal));
  return { sessions: answer.sessions, rest: answer.nextPageToken };
}

function Devices() {
  const texts = useTexts();
  const read = useRead((signal) => list("", signal));
  const { refusal, send } = useSending();
  return (
    <section aria-labelledby="devices-title">
      <h2 id="devices-title">{texts.own.devices}</h2>
      <Told refusal={refusal} />
      <Shown read={read}>
        {({ sessions, rest }) => (
          <>
            <ul class="list entries">
              {sessions.map((session) => <Device key={session.sessionId} session={session} end={() => end(session)} />)}
            </ul>
            {rest !== "" && <button type="button" onClick={() => void send(more)}>{texts.more}</button>}
          </>
        )}
      </Shown>
      <Sure
        label={texts.logOutEverywhere}
        question={texts.own.everywhereSure}
        yes={texts.own.everywhereYes}
        no={texts.own.back}
        act={() => void send(everywhere)}
      />
    </section>
  );

  async function more() {
    const known = read.is;
    if (known === undefined) return;
    const next = await persist(() => list(known.rest), undefined, 3);
    read.set({ sessions: [...known.sessions, ...next.sessions], rest: next.rest });
  }

  function end({ sessionId }: Session) {
    void send(async () => {
      await persist(() => mine.account.revokeSession({ sessionId }, options()), undefined, 3);
      announce(texts.own.sessionEnded);
      focusHeading();
      read.again();
    });
  }

  async function everywhere() {
    await persist(() => mine.account.logOutEverywhere({}, options()), undefined, 3);
    session.end();
    go("/");
  }
}

function Device(props: { session: Session; end: () => void }) {
  const texts = useTexts();
  const { session } = props;
  const name = session.device || texts.own.deviceUnknown;
  return (
    <li>
      <div>
        <p class="name">{name} {session.isCurrent && <span class="chip good">{texts.own.thisDevice}</span>}</p>
        <p class="note">{texts.own.lastUsed(moment(session.lastUseTime))} · {texts.own.loggedInAt(moment(session.createTime))}</p>
        {session.clientAddress && <p class="note">{session.clientAddress}</p>}
      </div>
      {/* One's own has its button in the head of the page. */}
      {!session.isCurrent && (
        <div class="end">
          <button type="button" aria-label={`${texts.own.endSession}: ${name}`} onClick={props.end}>{texts.own.endSession}</button>
        </div>
      )}
    </li>
  );
}

function Password() {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  /** How often it was changed: each time the form begins anew, with empty fields. */
  const [changes, setChanges] = useState(0);
  async function change(fields: Record<string, string>) {
    const request = { oldPassword: fields.old_password ?? "", newPassword: fields.new_password ?? "" };
    await persist(() => mine.account.changePassword(request, options()), undefined, 3);
    announce(texts.own.passwordChanged);
    setChanges((count) => count + 1);
  }
  return (
    <section aria-labelledby="password-title">
      <h2 id="password-title">{texts.own.changePassword}</h2>
      <Told refusal={refusal} />
      {changes > 0 && refusal === undefined && <p class="told good">{texts.own.passwordChanged}</p>}
      <Form key={changes} label={texts.own.changePassword} submit={texts.own.changePassword} busy={texts.working} wrong={wrong} send={(fields) => send(() => change(fields))}>
        {(faults) => (
          <>
            <Field name="old_password" label={texts.own.oldPassword} type="password" autocomplete="current-password" fault={faults.old_password} />
            <Field name="new_password" label={texts.newPassword} type="password" autocomplete="new-password" pattern={PASSWORD_PATTERN} rule={texts.passwordRule} fault={faults.new_password} />
          </>
        )}
      </Form>
    </section>
  );
}

function End(props: { user: string }) {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  async function end(fields: Record<string, string>) {
    await persist(() => mine.profile.deleteAccount({ password: fields.password ?? "" }, options()), undefined, 3);
    session.end();
    forgetUser(props.user);
    go("/");
    announce(texts.own.deleted);
  }
  return (
    <section aria-labelledby="end-title">
      <h2 id="end-title">{texts.own.deleteTitle}</h2>
      <p>{texts.own.deleteLead}</p>
      <Told refusal={refusal} />
      <Form label={texts.own.deleteTitle} submit={texts.own.deleteNow} busy={texts.working} wrong={wrong} tone="danger" send={(fields) => send(() => end(fields))}>
        {(faults) => (
          <>
            <Field name="password" label={texts.own.deletePassword} type="password" autocomplete="current-password" fault={faults.password} />
            <label class="choice">
              <input type="checkbox" name="sure" required aria-describedby={faults.sure && "sure-fault"} />
              <span>{texts.own.deleteSure}</span>
            </label>
            {faults.sure && <p id="sure-fault" class="fault">{faults.sure}</p>}
          </>
        )}
      </Form>
    </section>
  );
}
