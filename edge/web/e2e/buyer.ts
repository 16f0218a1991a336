// A person with a browser.
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

import type { Language } from "../src/language";
import { TEXTS, type Texts } from "../src/texts";
import { mailedCode } from "./shop";

export const PASSWORD = "Seeded-buyer-1";

export function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  // As root there is no sandbox to be had.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath, args });
}

export class Buyer {
  /** What the browser complained of: the tests want none. */
  readonly complaints: string[] = [];

  private constructor(
    readonly context: BrowserContext,
    readonly page: Page,
    readonly texts: Texts,
    readonly email: string,
  ) {
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      if (message.type() === "error" && /Content Security Policy|TrustedHTML/.test(text)) this.complaints.push(text);
    });
  }

  static async arrive(browser: Browser, url: string, language: Language, look: object = {}): Promise<Buyer> {
    const context = await browser.newContext({
      baseURL: url,
      locale: language === "ko" ? "ko-KR" : "en-GB",
      timezoneId: "Asia/Seoul",
      ...look,
    });
    context.setDefaultTimeout(20_000);
    const email = `e2e-${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}@buyer.example`;
    return new Buyer(context, await context.newPage(), TEXTS[language], email);
  }

  button(name: string) {
    return this.page.getByRole("button", { name, exact: true });
  }

  link(name: string) {
    return this.page.getByRole("main").getByRole("link", { name, exact: true }).first();
  }

  async signUp(): Promise<void> {
    const { page, texts } = this;
    await page.goto("/sign-up");
    await page.getByLabel(texts.name, { exact: true }).fill("Kim Minji");
    await page.getByLabel(texts.email).fill(this.email);
    await page.getByLabel(texts.password).fill(PASSWORD);
    await page.getByLabel(texts.phone).fill("010-1234-5678");
    await this.button(texts.signUp).click();
    await page.getByLabel(texts.code).fill(await mailedCode(this.email));
    await this.button(texts.verify).click();
    await this.button(texts.logOut).waitFor();
  }

  async pay(card?: string): Promise<void> {
    const { page, texts } = this;
    await page.getByLabel(texts.recipient).fill("Kim Minji");
    await page.getByLabel(texts.phone).fill("010-1234-5678");
    await page.getByLabel(texts.line1).fill("12 Seongsui-ro");
    await page.getByLabel(texts.city).fill("Seoul");
    await page.getByLabel(texts.postalCode).fill("04784");
    if (card) await page.getByLabel(card).check();
    await page.locator(".pay button[type=submit]").click();
  }

  /** Waits for the words in the page's content. */
  async reads(words: string): Promise<void> {
    await this.page.getByRole("main").getByText(words, { exact: false }).first().waitFor();
  }
}
