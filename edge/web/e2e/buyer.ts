// A person with a browser.
import { type Browser, type BrowserContext, chromium, type Page, type Route } from "playwright-core";

import type { Language } from "../src/language";
import { TEXTS, type Texts } from "../src/texts";
import { claimSeeded, enter, mailedCode, newAddress } from "./shop";

/** What `firstcome-user seed` gives everybody, and we whoever signs up. */
export const PASSWORD = "Seeded-buyer-1";

export function launch(): Promise<Browser> {
  const executablePath = process.env.FIRSTCOME_CHROMIUM ?? "/usr/bin/chromium";
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
    public email: string,
  ) {
    page.on("pageerror", (error) => this.complaints.push(error.stack ?? String(error)));
    page.on("console", (message) => {
      const text = message.text();
      // That a call failed is a matter of each story.
      if (message.type() === "error" && !/Failed to load resource|net::ERR_/.test(text)) this.complaints.push(text);
    });
  }

  static async arrive(browser: Browser, url: string, language: Language, look: object = {}): Promise<Buyer> {
    const context = await browser.newContext({
      baseURL: url,
      locale: language === "ko" ? "ko-KR" : "en-GB",
      timezoneId: "Asia/Seoul",
      // Everybody calls from somewhere else: the shop counts tries by address.
      extraHTTPHeaders: { "x-forwarded-for": newAddress() },
      ...look,
    });
    context.setDefaultTimeout(30_000);
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

  /** Somebody with an account, who is logged in: made beforehand where there are such, else now. */
  async join(): Promise<void> {
    const seeded = await claimSeeded();
    if (seeded === undefined) return this.signUp();
    this.email = seeded.email;
    const { userId, tokens } = await enter(seeded.email, PASSWORD);
    // As a page of an earlier visit has left it.
    const kept = JSON.stringify({ userId, refreshToken: tokens?.refreshToken });
    await this.page.goto("/nowhere");
    await this.page.evaluate(([name, value]) => localStorage.setItem(name ?? "", value ?? ""), ["firstcome.session", kept]);
    await this.page.goto("/");
    await this.button(this.texts.logOut).waitFor();
  }

  async logIn(password = PASSWORD): Promise<void> {
    const { page, texts } = this;
    await page.goto("/log-in");
    await page.getByLabel(texts.email).fill(this.email);
    await page.getByLabel(texts.password).fill(password);
    await page.getByRole("main").getByRole("button", { name: texts.logIn, exact: true }).click();
  }

  async writeAddress(line1 = "12 Seongsui-ro"): Promise<void> {
    const { page, texts } = this;
    await page.getByLabel(texts.recipient).fill("Kim Minji");
    await page.getByLabel(texts.phone).fill("010-1234-5678");
    await page.getByLabel(texts.line1).fill(line1);
    await page.getByLabel(texts.city).fill("Seoul");
    await page.getByLabel(texts.postalCode).fill("04784");
  }

  async pay(card?: string): Promise<void> {
    await this.writeAddress();
    if (card) await this.page.getByLabel(card).check();
    await this.page.locator(".pay button[type=submit]").click();
  }

  /**
   * From now on no call to this address is answered; `befalls` says what happens to each before its
   * connection is lost. What is returned lets later calls pass. The route stays until the browser is
   * closed: taking it away would settle calls that are in the middle of it.
   */
  async loseAnswers(address: string, befalls: (route: Route) => Promise<void> | void): Promise<() => void> {
    let losing = true;
    await this.context.route(address, async (route) => {
      if (!losing) return route.continue();
      await befalls(route);
      await route.abort("connectionreset");
    });
    return () => {
      losing = false;
    };
  }

  /** Waits for the words in the page's content; whoever waits in vain is told what it says instead. */
  async reads(words: string): Promise<void> {
    const content = this.page.getByRole("main");
    try {
      await content.getByText(words, { exact: false }).first().waitFor();
    } catch (cause) {
      const said = [await content.innerText().catch(String), ...this.complaints];
      throw new Error(`${this.page.url()} never said "${words}", but:\n${said.join("\n")}`, { cause });
    }
  }
}
