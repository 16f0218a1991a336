// What several pages are made of.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { adviceIn } from "./advice";
import { clock } from "./clock";
import { countdown } from "./format";
import { OrderState } from "./gen/firstcome/order/v1/order_service_pb";
import { language } from "./language";
import type { Line } from "./live";
import { type Refusal, refusalOf } from "./refusal";
import { useStore } from "./store";
import { useTexts } from "./texts";

/** A page: its title is the document's, and focus moves to it when the page is shown. */
export function Page(props: { title: string; class?: string; lead?: string; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${props.title} · firstcome`;
  }, [props.title]);
  useLayoutEffect(() => {
    // Not on the first visit, where the browser itself begins at the top.
    if (navigated) heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, []);
  return (
    <main id="content" class={props.class} tabIndex={-1}>
      <h1 ref={heading} tabIndex={-1}>{props.title}</h1>
      {props.lead && <p class="lead">{props.lead}</p>}
      {props.children}
    </main>
  );
}

/** Where focus goes when what had it is no longer there. */
export function focusHeading(): void {
  document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
}

let navigated = false;
/** The visitor has moved within the page. */
export function haveNavigated(): void {
  navigated = true;
}

/** Drawn again every `everyMs`. */
export function useTick(everyMs: number, running = true): void {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => tick((count) => count + 1), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, running]);
}

/** Time left by the shop's clock. Not a live region: a number a second is noise. */
export function Countdown(props: { untilMs: number; label: string; onEnd?: () => void }) {
  const left = props.untilMs - clock.now();
  useTick(250, left > 0);
  const ended = left <= 0;
  useEffect(() => {
    if (ended) props.onEnd?.();
  }, [ended]);
  return (
    <div class="countdown">
      <span class="label">{props.label}</span>
      <span role="timer" aria-live="off" class="digits">{countdown(left)}</span>
    </div>
  );
}

/** How good the countdown is. */
export function ClockNote() {
  const texts = useTexts();
  useTick(500);
  const reading = clock.reading();
  if (reading === undefined) return <p class="note">{texts.clockUnknown}</p>;
  const error = reading.errorMs;
  const words = error < 1000 ? texts.milliseconds(error) : texts.seconds(Math.ceil(error / 1000));
  return <p class="note">{texts.clock(words)}</p>;
}

/** Whether what is shown moves by itself. */
export function LiveDot(props: { line: Line }) {
  const texts = useTexts();
  if (props.line === "ended") return null;
  const words = { connecting: texts.loading, live: texts.live, broken: texts.liveBroken }[props.line];
  return <p class={`live ${props.line}`}>{words}</p>;
}

/** A refusal, in words. */
export function Told(props: { refusal: Refusal | undefined; children?: ComponentChildren }) {
  const spoken = useStore(language);
  if (props.refusal === undefined) return null;
  return (
    <div class="told bad" role="alert">
      <p>{adviceIn(spoken, props.refusal)}</p>
      {props.children}
    </div>
  );
}

/** What an order's state looks like: never by colour alone, the word is always there. */
export function OrderChip(props: { state: OrderState }) {
  const texts = useTexts();
  return <span class={`chip ${tone(props.state)}`}>{texts.orderState[props.state]}</span>;
}

function tone(state: OrderState): string {
  switch (state) {
    case OrderState.PENDING_PAYMENT:
    case OrderState.RETURN_REQUESTED:
      return "wait";
    case OrderState.PREPARING:
    case OrderState.SHIPPING:
    case OrderState.DELIVERED:
    case OrderState.CONFIRMED:
      return "good";
    default:
      return "over";
  }
}

interface FieldProps {
  name: string;
  label: string;
  rule?: string;
  fault?: string;
  type?: "text" | "email" | "password" | "tel";
  autocomplete?: string;
  inputMode?: "numeric" | "tel" | "email" | "url" | "text";
  value?: string;
  optional?: boolean;
  maxLength?: number;
  /** As browsers read it: with the flag `v`, under which ( ) and - want a backslash in a class. */
  pattern?: string;
}

/** A field with its label, rule and fault. */
export function Field(props: FieldProps): VNode {
  const { name, label, rule, fault } = props;
  // What differs between the kinds of input is not worth five branches to the compiler.
  const kind = { type: props.type ?? "text", autocomplete: props.autocomplete ?? "off" } as { type: "text" };
  const described = [rule && `${name}-rule`, fault && `${name}-fault`].filter(Boolean).join(" ");
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input
        id={name}
        name={name}
        {...kind}
        inputMode={props.inputMode}
        defaultValue={props.value}
        required={!props.optional}
        maxLength={props.maxLength}
        pattern={props.pattern}
        aria-invalid={fault ? "true" : undefined}
        aria-describedby={described || undefined}
      />
      {rule && <p id={`${name}-rule`} class="rule">{rule}</p>}
      {fault && <p id={`${name}-fault`} class="fault">{fault}</p>}
    </div>
  );
}

/** A phone number as people write it; `e164` makes of it what the contract wants. */
export function PhoneField(props: Omit<FieldProps, "name" | "type" | "inputMode" | "pattern">): VNode {
  return <Field {...props} name="phone" type="tel" inputMode="tel" pattern={PHONE_PATTERN} />;
}

const PHONE_PATTERN = "[+0][\\d\\s\\(\\)\\.\\-]{7,20}";

/** A letter, a digit and a special character, as the contract wants it. */
export const PASSWORD_PATTERN = "(?=.*\\p{L})(?=.*\\d)(?=.*[^\\p{L}\\d]).{8,128}";

/** Runs what a form sends and keeps what was refused. */
export function useSending() {
  const [refusal, setRefusal] = useState<Refusal>();
  async function send(run: () => Promise<void>) {
    setRefusal(undefined);
    try {
      await run();
    } catch (thrown) {
      setRefusal(refusalOf(thrown));
    }
  }
  return { refusal, send, wrong: useWrong(refusal) };
}

const NONE: readonly string[] = [];
function useWrong(refusal: Refusal | undefined): readonly string[] {
  return refusal?.reason === "INVALID_ARGUMENT" ? refusal.fields : NONE;
}

/** A form that checks itself in the page's words, and sends once at a time. */
export function Form(props: {
  label: string;
  send: (fields: Record<string, string>) => Promise<void>;
  busy: string;
  submit: string;
  children: (faults: Record<string, string>) => ComponentChildren;
  wrong: readonly string[];
  tone?: "primary" | "danger";
}) {
  const texts = useTexts();
  const [faults, setFaults] = useState<Record<string, string>>({});
  const [sending, setSending] = useState(false);
  const form = useRef<HTMLFormElement>(null);

  const show = (found: Record<string, string>) => {
    setFaults(found);
    const first = Object.keys(found)[0];
    if (first) form.current?.querySelector<HTMLElement>(`[name="${first}"]`)?.focus();
  };
  // The shop's own word on a field, which may be `address.postal_code`, comes after ours.
  useEffect(() => {
    const names = props.wrong.map((path) => path.split(".").at(-1) ?? path);
    if (names.length > 0) show(Object.fromEntries(names.map((name) => [name, texts.fieldWrong])));
  }, [props.wrong]);

  async function submit(event: Event) {
    event.preventDefault();
    if (sending || form.current === null) return;
    const found: Record<string, string> = {};
    for (const input of form.current.querySelectorAll("input")) {
      if (input.validity.valueMissing) found[input.name] = texts.required;
      else if (!input.validity.valid) found[input.name] = texts.fieldWrong;
    }
    show(found);
    if (Object.keys(found).length > 0) return;
    const fields: Record<string, string> = {};
    new FormData(form.current).forEach((value, name) => {
      // A password may begin with a space.
      fields[name] = name.includes("password") ? String(value) : String(value).trim();
    });
    setSending(true);
    await props.send(fields).finally(() => setSending(false));
  }

  return (
    <form ref={form} noValidate aria-label={props.label} onSubmit={submit} class="form">
      {props.children(faults)}
      <button type="submit" class={props.tone ?? "primary"} aria-disabled={sending}>
        {sending ? props.busy : props.submit}
      </button>
    </form>
  );
}

/** A button that asks first. */
export function Sure(props: {
  label: string;
  /** What it is done to, where several such buttons stand on a page. */
  of?: string;
  question: string;
  yes: string;
  no: string;
  act: () => void;
}) {
  const [asked, setAsked] = useState(false);
  const group = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const before = useRef(asked);
  // Focus follows the question, and comes back.
  useEffect(() => {
    if (before.current !== asked) (asked ? group : button).current?.focus();
    before.current = asked;
  }, [asked]);
  if (!asked) {
    const name = props.of === undefined ? undefined : `${props.label}: ${props.of}`;
    return <button type="button" ref={button} aria-label={name} onClick={() => setAsked(true)}>{props.label}</button>;
  }
  return (
    <div class="sure" role="group" aria-label={props.question} tabIndex={-1} ref={group}>
      <p>{props.question}</p>
      <div class="row">
        <button type="button" class="danger" onClick={() => { setAsked(false); props.act(); }}>{props.yes}</button>
        <button type="button" onClick={() => setAsked(false)}>{props.no}</button>
      </div>
    </div>
  );
}
