// Sign up, verify, log in, and a new password.
import { useEffect, useState } from "preact/hooks";

import { announce } from "../announce";
import { account, options, persist, session } from "../api";
import { chest, keys } from "../chest";
import { e164 } from "../format";
import { followProfile } from "../profile";
import { Field, Form, Page, PASSWORD_PATTERN, PhoneField, Told, useSending, useTick } from "../parts";
import { type Refusal, refusalOf } from "../refusal";
import { go, next } from "../route";
import { useTexts } from "../texts";

/** The shop mails one code in this time. */
const RESEND_MS = 60_000;

/** Between sign-up and log-in, in memory: a password is written nowhere. */
let signingUp: { email: string; password?: string; mailedMs: number } | undefined;

/** What only this sign-up is verified with, until it is: a reload must not cost it. */
const SIGN_UP = "firstcome.sign-up";

function keptSignUp(): { email?: string; token?: string } {
  try {
    return (JSON.parse(chest.getItem(SIGN_UP) ?? "null") as { email?: string; token?: string } | null) ?? {};
  } catch {
    return {};
  }
}

/** The token of an address that signed up in this browser. */
function signUpToken(address: string): string | undefined {
  const { email, token } = keptSignUp();
  return email?.trim().toLowerCase() === address.trim().toLowerCase() ? token : undefined;
}

/** A log-in's key is kept like a purchase's; the address is only told apart, not written down. */
function logInSlot(email: string): string {
  let digest = 0x811c9dc5;
  for (const unit of email.toLowerCase()) digest = Math.imul(digest ^ (unit.codePointAt(0) ?? 0), 0x01000193);
  return `log-in.${(digest >>> 0).toString(16)}`;
}

async function logIn(email: string, password: string): Promise<void> {
  const slot = logInSlot(email);
  const { key } = keys.take(slot);
  try {
    const request = { email, password, idempotencyKey: key, device: device() };
    const answer = await persist(() => account.logIn(request, options()));
    keys.drop(slot, key);
    if (answer.tokens === undefined) throw new Error("no tokens in the answer");
    session.begin(answer.userId, answer.tokens);
    void followProfile();
  } catch (thrown) {
    const { reason } = refusalOf(thrown);
    const known = ["BAD_CREDENTIALS", "EMAIL_NOT_VERIFIED", "ACCOUNT_BANNED", "INVALID_ARGUMENT"];
    if (known.includes(reason)) keys.drop(slot, key);
    throw thrown;
  }
}

/** As the list of sessions names this device. */
function device(): string {
  const agent = navigator.userAgent;
  const browser = /(Firefox|Edg|Chrome|Safari)\//.exec(agent)?.[1]?.replace("Edg", "Edge") ?? "Browser";
  const system = /(Android|iPhone|iPad|Windows|Mac OS|Linux)/.exec(agent)?.[1] ?? "";
  return `${browser} ${system}`.trim();
}

export function Account(props: { which: "log-in" | "sign-up" | "verify" | "forgot" }) {
  switch (props.which) {
    case "log-in":
      return <LogIn />;
    case "sign-up":
      return <SignUp />;
    case "verify":
      return <Verify />;
    case "forgot":
      return <Forgot />;
  }
}

const withNext = (path: string) => `${path}${location.search}`;

function LogIn() {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  // For the way through the mailed code and back in.
  const [tried, setTried] = useState<{ email: string; password: string }>();
  const told = new URLSearchParams(location.search).get("told");
  return (
    <Page title={texts.logInTitle} class="narrow">
      {told === "verified" && <p class="told good" role="status">{texts.verified}</p>}
      {told === "password" && <p class="told good" role="status">{texts.passwordSet}</p>}
      <Told refusal={refusal}>
        {refusal?.reason === "EMAIL_NOT_VERIFIED" && (
          <p><a href={withNext("/verify")} onClick={() => { signingUp = tried && { ...tried, mailedMs: 0 }; }}>{texts.verifyTitle}</a></p>
        )}
      </Told>
      <Form
        label={texts.logInTitle}
        submit={texts.logIn}
        busy={texts.working}
        wrong={wrong}
        send={(fields) => send(async () => {
          const { email = "", password = "" } = fields;
          setTried({ email, password });
          await logIn(email, password);
          go(next(), "replace");
        })}
      >
        {(faults) => (
          <>
            <Field name="email" label={texts.email} type="email" autocomplete="username" maxLength={254} fault={faults.email} value={signingUp?.email} />
            <Field name="password" label={texts.password} type="password" autocomplete="current-password" fault={faults.password} />
          </>
        )}
      </Form>
      <p><a href={withNext("/forgot")}>{texts.forgot}</a></p>
      <p>{texts.noAccount} <a href={withNext("/sign-up")}>{texts.signUp}</a></p>
    </Page>
  );
}

function SignUp() {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  return (
    <Page title={texts.signUpTitle} lead={texts.signUpLead} class="narrow">
      <Told refusal={refusal} />
      <Form
        label={texts.signUpTitle}
        submit={texts.signUp}
        busy={texts.working}
        wrong={wrong}
        send={(fields) => send(async () => {
          const { name = "", email = "", password = "" } = fields;
          const request = { name, email, password, phone: e164(fields.phone ?? "") };
          const answer = await persist(() => account.signUp(request, options()));
          chest.setItem(SIGN_UP, JSON.stringify({ email, token: answer.signUpToken }));
          signingUp = { email, password, mailedMs: Date.now() };
          go(withNext("/verify"));
        })}
      >
        {(faults) => (
          <>
            <Field name="name" label={texts.name} autocomplete="name" maxLength={100} fault={faults.name} />
            <Field name="email" label={texts.email} type="email" autocomplete="username" maxLength={254} fault={faults.email} />
            <Field name="password" label={texts.password} type="password" autocomplete="new-password" pattern={PASSWORD_PATTERN} rule={texts.passwordRule} fault={faults.password} />
            <PhoneField label={texts.phone} autocomplete="tel" rule={texts.phoneRule} fault={faults.phone} />
          </>
        )}
      </Form>
      <p>{texts.haveAccount} <a href={withNext("/log-in")}>{texts.logIn}</a></p>
    </Page>
  );
}

function Verify() {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  const [email] = useState(() => signingUp?.email ?? keptSignUp().email ?? "");
  return (
    <Page title={texts.verifyTitle} lead={email ? texts.verifyLead(email) : texts.signUpLead} class="narrow">
      <Told refusal={refusal} />
      <Form
        label={texts.verifyTitle}
        submit={texts.verify}
        busy={texts.working}
        wrong={wrong}
        send={(fields) => send(async () => {
          const address = email || (fields.email ?? "");
          const token = signUpToken(address);
          // Signed up elsewhere, or never: here another sign-up is the way on.
          if (token === undefined) return go(withNext("/sign-up"));
          const request = { email: address, code: fields.code ?? "", signUpToken: token };
          await persist(() => account.verifyEmail(request, options()));
          chest.removeItem(SIGN_UP);
          const password = signingUp?.email === address ? signingUp.password : undefined;
          signingUp = { email: address, mailedMs: 0 };
          if (password === undefined) return go(`/log-in?told=verified&next=${encodeURIComponent(next())}`, "replace");
          await logIn(address, password);
          go(next(), "replace");
        })}
      >
        {(faults) => (
          <>
            {!email && <Field name="email" label={texts.email} type="email" autocomplete="username" maxLength={254} fault={faults.email} />}
            <Field name="code" label={texts.code} inputMode="numeric" autocomplete="one-time-code" pattern="\d{6}" maxLength={6} fault={faults.code} />
          </>
        )}
      </Form>
      {email && <Resend mailedMs={signingUp?.mailedMs ?? 0} ask={() => account.resendVerification({ email }, options())} />}
    </Page>
  );
}

/** Asks for another code, as often as the shop mails one; gone where the shop does not know how. */
function Resend(props: { mailedMs: number; ask: () => Promise<unknown> }) {
  const texts = useTexts();
  const [fromMs, setFromMs] = useState(props.mailedMs + RESEND_MS);
  const [refusal, setRefusal] = useState<Refusal>();
  const left = Math.ceil((fromMs - Date.now()) / 1000);
  useTick(500, left > 0);
  if (refusal?.reason === "NO_SUCH_METHOD") return <p class="note">{texts.notHere}</p>;
  async function ask() {
    try {
      await persist(props.ask, undefined, 2);
      setRefusal(undefined);
      setFromMs(Date.now() + RESEND_MS);
      announce(texts.resent);
    } catch (thrown) {
      const refused = refusalOf(thrown);
      setRefusal(refused);
      if (refused.retryAfterMs) setFromMs(Date.now() + refused.retryAfterMs);
    }
  }
  return (
    <div class="resend">
      <Told refusal={refusal} />
      {left > 0 ? <p class="note">{texts.resendIn(left)}</p> : <button type="button" onClick={ask}>{texts.resend}</button>}
    </div>
  );
}

function Forgot() {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  const [email, setEmail] = useState<string>();
  useEffect(() => {
    if (email) announce(texts.resetLead(email));
  }, [email]);
  if (refusal?.reason === "NO_SUCH_METHOD") {
    return <Page title={texts.forgotTitle} class="narrow"><p>{texts.notHere}</p></Page>;
  }
  return (
    <Page title={texts.forgotTitle} lead={email ? texts.resetLead(email) : texts.forgotLead} class="narrow">
      <Told refusal={refusal} />
      {email === undefined ? (
        <Form
          key="ask"
          label={texts.forgotTitle}
          submit={texts.mailCode}
          busy={texts.working}
          wrong={wrong}
          send={(fields) => send(async () => {
            const address = fields.email ?? "";
            await persist(() => account.requestPasswordReset({ email: address }, options()), undefined, 2);
            setEmail(address);
          })}
        >
          {(faults) => <Field name="email" label={texts.email} type="email" autocomplete="username" maxLength={254} fault={faults.email} />}
        </Form>
      ) : (
        <Form
          key="set"
          label={texts.forgotTitle}
          submit={texts.setPassword}
          busy={texts.working}
          wrong={wrong}
          send={(fields) => send(async () => {
            const request = { email, code: fields.code ?? "", newPassword: fields.new_password ?? "" };
            await persist(() => account.resetPassword(request, options()));
            session.end();
            go("/log-in?told=password", "replace");
          })}
        >
          {(faults) => (
            <>
              <Field name="code" label={texts.resetCode} autocomplete="one-time-code" pattern="[A-Za-z0-9]{8}" maxLength={8} fault={faults.code} />
              <Field name="new_password" label={texts.newPassword} type="password" autocomplete="new-password" pattern={PASSWORD_PATTERN} rule={texts.passwordRule} fault={faults.new_password} />
            </>
          )}
        </Form>
      )}
    </Page>
  );
}
