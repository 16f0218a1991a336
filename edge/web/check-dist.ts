// Fails when dist/ is not what the sources build: whoever changes the page commits both.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";

import { build } from "vite";

/** What a visitor loads before the page answers, compressed. */
const SCRIPT_MAX_BYTES = 120_000;

function files(folder: string): Map<string, Buffer> {
  const found = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const names = found.filter((name) => statSync(join(folder, name)).isFile());
  return new Map(names.map((name) => [relative(".", name), readFileSync(join(folder, name))]));
}

const fresh = mkdtempSync(join(tmpdir(), "firstcome-web-"));
try {
  await build({ build: { outDir: fresh, emptyOutDir: true }, logLevel: "warn" });
  const [built, kept] = [files(fresh), files("dist")];
  const stale = new Set([...built.keys(), ...kept.keys()]);
  for (const [name, bytes] of built) if (kept.get(name)?.equals(bytes)) stale.delete(name);
  let scripts = 0;
  for (const [name, bytes] of built) if (name.endsWith(".js")) scripts += gzipSync(bytes, { level: 9 }).length;
  console.log(`scripts: ${scripts} bytes compressed, of ${SCRIPT_MAX_BYTES}`);
  if (stale.size > 0) {
    console.error(`dist is stale: ${[...stale].join(", ")}; run \`npm run build\` and commit it`);
    process.exitCode = 1;
  }
  if (scripts > SCRIPT_MAX_BYTES) {
    console.error("the scripts are too large");
    process.exitCode = 1;
  }
  // What git does not know is not there for anybody else.
  const unknown = execFileSync("git", ["ls-files", "--others", "--", "dist"], { encoding: "utf8" });
  if (unknown !== "") {
    console.error(`not in git:\n${unknown}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(fresh, { recursive: true });
}
