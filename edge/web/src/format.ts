// Money and times, as a person reads them.
import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";

import type { Money } from "./gen/firstcome/money/v1/money_pb";
import { language } from "./language";

const locale = () => (language.get() === "ko" ? "ko-KR" : "en-GB");

/** 129000 KRW as ₩129,000; a currency knows how many of its digits are minor. */
export function money(amount: Money | undefined): string {
  if (amount === undefined) return "–";
  try {
    const format = new Intl.NumberFormat(locale(), {
      style: "currency",
      currency: amount.currencyCode,
      currencyDisplay: "narrowSymbol",
    });
    const digits = format.resolvedOptions().maximumFractionDigits ?? 0;
    return format.format(Number(amount.amountMinor) / 10 ** digits);
  } catch {
    return `${amount.amountMinor} ${amount.currencyCode}`;
  }
}

/** A number with as many digits after the point. */
export function figure(value: number, digits = 0): string {
  const format = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locale(), format).format(value);
}

/** Milliseconds since 1970. */
export function ms(timestamp: Timestamp | undefined): number | undefined {
  return timestamp === undefined ? undefined : timestampMs(timestamp);
}

/** A day and a time of day. */
export function moment(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return "";
  return new Intl.DateTimeFormat(locale(), {
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  }).format(timestampMs(timestamp));
}

/** 90061000 as 1:01:01:01; 61000 as 01:01. */
export function countdown(leftMs: number): string {
  const seconds = Math.max(0, Math.ceil(leftMs / 1000));
  const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
  if (seconds >= 3600) parts.unshift(Math.floor(seconds / 3600) % 24);
  if (seconds >= 86_400) parts.unshift(Math.floor(seconds / 86_400));
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/** A length of time in words: 300 s as 5 minutes. */
export function duration(seconds: number): string {
  const [value, unit] = seconds >= 60 && seconds % 60 === 0 ? [seconds / 60, "minute"] : [seconds, "second"];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "long" }).format(value);
}

/** A phone number as the contract wants it: a Korean one written at home gets its country. */
export function e164(phone: string): string {
  const digits = phone.replace(/[\s().-]/g, "");
  if (digits.startsWith("00")) return `+${digits.slice(2)}`;
  return digits.startsWith("0") ? `+82${digits.slice(1)}` : digits;
}
