// What a buyer tells of itself.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { useState } from "preact/hooks";

import { announce } from "../announce";
import { mine, options, persist } from "../api";
import { e164 } from "../format";
import type { Profile, ProfileSchema } from "../gen/firstcome/user/v1/profile_service_pb";
import { choose, type Language, language, LANGUAGES } from "../language";
import { Field, Form, PhoneField, Told, useSending } from "../parts";
import { languageOf, spokenOf } from "../profile";
import { TEXTS, useTexts } from "../texts";
import { Own, Shown, useRead } from "./own";

const FIELDS = ["name", "phone", "greeting", "image_url", "language"];

export function ProfilePage() {
  const texts = useTexts();
  const read = useRead(async (signal) => (await mine.profile.getProfile({}, options(signal))).profile);
  return (
    <Own title={texts.own.profileTitle}>
      {() => <Shown read={read}>{(profile) => <Edit profile={profile} />}</Shown>}
    </Own>
  );
}

function Edit(props: { profile: Profile }) {
  const texts = useTexts();
  const { profile } = props;
  const { refusal, send, wrong } = useSending();
  const [saved, setSaved] = useState(false);
  const spoken = languageOf(profile.language) ?? language.get();

  async function save(fields: Record<string, string>) {
    setSaved(false);
    const wanted = fields.language === "ko" ? "ko" : "en";
    const told: MessageInitShape<typeof ProfileSchema> = {
      name: fields.name ?? "",
      phone: fields.phone ? e164(fields.phone) : "",
      greeting: fields.greeting ?? "",
      imageUrl: fields.image_url ?? "",
      language: spokenOf(wanted),
    };
    // An operator has no phone, and keeps having none.
    const paths = FIELDS.filter((field) => field !== "phone" || told.phone !== "");
    const request = { profile: told, updateMask: { paths } };
    await persist(() => mine.profile.updateProfile(request, options()), undefined, 3);
    choose(wanted);
    setSaved(true);
    announce(TEXTS[wanted].own.saved);
  }

  return (
    <>
      <dl><div><dt>{texts.email}</dt><dd>{profile.email}</dd></div></dl>
      <Told refusal={refusal} />
      {saved && <p class="told good">{texts.own.saved}</p>}
      <Form label={texts.own.profileTitle} submit={texts.own.save} busy={texts.working} wrong={wrong} send={(fields) => send(() => save(fields))}>
        {(faults) => (
          <>
            <Field name="name" label={texts.name} autocomplete="name" maxLength={100} value={profile.name} fault={faults.name} />
            <PhoneField label={texts.phone} autocomplete="tel" rule={texts.phoneRule} value={profile.phone} optional={profile.phone === ""} fault={faults.phone} />
            <Field name="greeting" label={texts.own.greeting} maxLength={200} optional value={profile.greeting} fault={faults.greeting} />
            <Field name="image_url" label={texts.own.imageUrl} inputMode="url" maxLength={500} optional pattern="https://.+" rule={texts.own.imageRule} value={profile.imageUrl} fault={faults.image_url} />
            <fieldset>
              <legend>{texts.own.language}</legend>
              {(Object.keys(LANGUAGES) as Language[]).map((tag) => (
                <label class="choice" key={tag} lang={tag}>
                  <input type="radio" name="language" value={tag} defaultChecked={tag === spoken} />
                  <span>{LANGUAGES[tag]}</span>
                </label>
              ))}
            </fieldset>
          </>
        )}
      </Form>
    </>
  );
}
