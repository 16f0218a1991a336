// A look at a page: its picture, whether it fits its screen, and what axe finds.
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import type { Buyer } from "./buyer";

/** Where pictures land; none are taken when it is not set. */
export const PICTURES = process.env.FIRSTCOME_PICTURES;
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

export interface Finding {
  id: string;
  impact: string | null;
  nodes: { html: string; failureSummary: string }[];
}

export interface Looked {
  /** What is wider than the screen and makes people scroll sideways. */
  wide: string[];
  violations: Finding[];
  /** How many of axe's rules held: none would mean that it saw nothing. */
  passed: number;
}

export async function look({ page, context }: Buyer, name: string): Promise<Looked> {
  if (PICTURES) {
    await mkdir(PICTURES, { recursive: true });
    await page.screenshot({ path: join(PICTURES, `${name}.png`), fullPage: true });
  }
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  const session = await context.newCDPSession(page);
  // Through the debugger: the page's policy keeps every other script out.
  await session.send("Runtime.evaluate", { expression: await readFile(AXE, "utf8") });
  const { result } = await session.send("Runtime.evaluate", {
    expression: "axe.run(document).then(({ violations, passes }) => JSON.stringify({ violations, passed: passes.length }))",
    awaitPromise: true,
    returnByValue: true,
  });
  const examined = JSON.parse(String(result.value)) as { violations: Finding[]; passed: number };
  return { wide: (wide ?? 0) > (screen ?? 0) ? [`${name}: ${wide} px wide on ${screen}`] : [], ...examined };
}
