// An address, as it is written into a form and read on a page.
import type { MessageInitShape } from "@bufbuild/protobuf";

import { e164 } from "./format";
import type { Address, AddressSchema } from "./gen/firstcome/address/v1/address_pb";
import { Field, PhoneField } from "./parts";
import { useTexts } from "./texts";

/** What stands in the form, as the contract wants it. */
export function addressOf(fields: Record<string, string>): MessageInitShape<typeof AddressSchema> {
  return {
    recipient: fields.recipient ?? "",
    phone: e164(fields.phone ?? ""),
    line1: fields.line1 ?? "",
    line2: fields.line2 ?? "",
    city: fields.city ?? "",
    postalCode: fields.postal_code ?? "",
    countryCode: (fields.country_code ?? "").toUpperCase(),
  };
}

/** In one line. */
export function addressLine(address: Address | undefined): string {
  const { recipient, line1, line2, city } = address ?? {};
  return [recipient, [line1, line2].filter(Boolean).join(" "), city].filter(Boolean).join(", ");
}

export function AddressFields(props: { faults: Record<string, string>; value?: Address }) {
  const texts = useTexts();
  const { faults, value } = props;
  return (
    <>
      <Field name="recipient" label={texts.recipient} autocomplete="shipping name" maxLength={100} value={value?.recipient} fault={faults.recipient} />
      <PhoneField label={texts.phone} autocomplete="shipping tel" value={value?.phone} fault={faults.phone} />
      <Field name="line1" label={texts.line1} autocomplete="shipping address-line1" maxLength={200} value={value?.line1} fault={faults.line1} />
      <Field name="line2" label={texts.line2} autocomplete="shipping address-line2" maxLength={200} optional value={value?.line2} fault={faults.line2} />
      <div class="row">
        <Field name="city" label={texts.city} autocomplete="shipping address-level2" maxLength={100} value={value?.city} fault={faults.city} />
        <Field name="postal_code" label={texts.postalCode} autocomplete="shipping postal-code" maxLength={20} value={value?.postalCode} fault={faults.postal_code} />
        <Field name="country_code" label={texts.country} autocomplete="shipping country" value={value?.countryCode ?? "KR"} maxLength={2} pattern="[A-Za-z]{2}" fault={faults.country_code} />
      </div>
    </>
  );
}
