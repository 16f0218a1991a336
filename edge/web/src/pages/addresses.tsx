// The address book.
import { useEffect, useRef, useState } from "preact/hooks";

import { AddressFields, addressLine, addressOf } from "../address";
import { announce } from "../announce";
import { mine, options, persist } from "../api";
import type { BookAddress } from "../gen/firstcome/user/v1/profile_service_pb";
import { newKey } from "../keys";
import { focusHeading, Form, Sure, Told, useSending } from "../parts";
import { useTexts } from "../texts";
import { Own, Shown, useRead } from "./own";

export function AddressBook() {
  const texts = useTexts();
  const read = useRead(async (signal) => (await mine.profile.listAddresses({}, options(signal))).addresses);
  return (
    <Own title={texts.own.addressesTitle} lead={texts.own.addressesLead}>
      {() => <Shown read={read}>{(book) => <Book book={book} again={read.again} />}</Shown>}
    </Own>
  );
}

function Book(props: { book: readonly BookAddress[]; again: () => void }) {
  const texts = useTexts();
  const { refusal, send } = useSending();
  /** The address that is being written: an entry of the book, or a new one. */
  const [written, setWritten] = useState<BookAddress | "new">();

  const leave = () => {
    setWritten(undefined);
    focusHeading();
  };
  const done = (words: string) => {
    leave();
    announce(words);
    props.again();
  };
  if (written !== undefined) {
    return <Write entry={written === "new" ? undefined : written} done={done} leave={leave} />;
  }
  const act = (call: () => Promise<unknown>, words: string) =>
    void send(async () => {
      await persist(call, undefined, 3);
      done(words);
    });
  return (
    <>
      <Told refusal={refusal} />
      {props.book.length === 0 && <p>{texts.own.noAddresses}</p>}
      <ul class="list entries">
        {props.book.map((entry) => (
          <Entry key={entry.addressId} entry={entry} edit={() => setWritten(entry)} act={act} />
        ))}
      </ul>
      <button type="button" class="primary" onClick={() => setWritten("new")}>{texts.own.addAddress}</button>
    </>
  );
}

function Entry(props: { entry: BookAddress; edit: () => void; act: (call: () => Promise<unknown>, words: string) => void }) {
  const texts = useTexts();
  const { entry, act } = props;
  const { address, addressId } = entry;
  const line = addressLine(address);
  return (
    <li>
      <div>
        <p class="name">{address?.recipient} {entry.isDefault && <span class="chip good">{texts.own.isDefault}</span>}</p>
        <p>{[address?.line1, address?.line2].filter(Boolean).join(" ")}, {address?.city} {address?.postalCode} {address?.countryCode}</p>
        <p class="note">{address?.phone}</p>
      </div>
      <div class="end">
        <button type="button" aria-label={`${texts.own.edit}: ${line}`} onClick={props.edit}>{texts.own.edit}</button>
        {!entry.isDefault && (
          <button
            type="button"
            aria-label={`${texts.own.makeDefault}: ${line}`}
            onClick={() => act(() => mine.profile.setDefaultAddress({ addressId }, options()), texts.own.defaultSet)}
          >
            {texts.own.makeDefault}
          </button>
        )}
        <Sure
          label={texts.own.remove}
          of={line}
          question={texts.own.removeSure}
          yes={texts.own.removeYes}
          no={texts.keep}
          act={() => act(() => mine.profile.deleteAddress({ addressId }, options()), texts.own.addressDeleted)}
        />
      </div>
    </li>
  );
}

function Write(props: { entry: BookAddress | undefined; done: (words: string) => void; leave: () => void }) {
  const texts = useTexts();
  const { refusal, send, wrong } = useSending();
  const { entry } = props;
  /** One key for each contents: whoever presses twice adds once, and a mended address is another. */
  const key = useRef({ of: "", is: "" });
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const title = entry === undefined ? texts.own.addAddress : texts.own.editAddress;

  async function save(fields: Record<string, string>) {
    const address = addressOf(fields);
    if (entry === undefined) {
      const of = JSON.stringify(address);
      if (key.current.of !== of) key.current = { of, is: newKey() };
      const request = { idempotencyKey: key.current.is, address };
      await persist(() => mine.profile.createAddress(request, options()));
    } else {
      const request = { addressId: entry.addressId, address };
      await persist(() => mine.profile.updateAddress(request, options()));
    }
    props.done(texts.own.addressAdded);
  }

  return (
    <section class="pay" aria-labelledby="address-title">
      <h2 id="address-title" ref={heading} tabIndex={-1}>{title}</h2>
      <Told refusal={refusal} />
      <Form label={title} submit={texts.own.save} busy={texts.working} wrong={wrong} send={(fields) => send(() => save(fields))}>
        {(faults) => <AddressFields faults={faults} {...(entry?.address && { value: entry.address })} />}
      </Form>
      <button type="button" class="plain" onClick={props.leave}>{texts.own.back}</button>
    </section>
  );
}
