// How the page is built and tried. A trial speaks to a running mesh through a proxy, so that page
// and calls have one origin, as they have behind the edge.
import { defineConfig } from "vite";

import { POLICY } from "./security.ts";

const edge = process.env.FIRSTCOME_EDGE ?? "http://127.0.0.1:8080";
const proxy = { "^/firstcome\\.": { target: edge } };

export default defineConfig({
  build: {
    target: "es2022",
    // One script and one sheet for visitors: a page this small gains nothing by parts. The rush view
    // has its own, which few load.
    modulePreload: { polyfill: false },
    // The names end in a digest of the contents, so they may be cached for ever.
    assetsDir: "assets",
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: { proxy },
  preview: { proxy, headers: { "content-security-policy": POLICY } },
});
