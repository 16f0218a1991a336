// What the edge tells a browser about the page, in the words of edge/src/pages.rs; a test compares
// the two. Vite's servers say the same, so that whoever changes the page meets it at once.

/** Nothing is loaded from elsewhere, nothing inline runs, nobody frames the page. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");
