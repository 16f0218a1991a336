// What the bundler adds to the language: sheets that are imported for their effect.
/// <reference types="vite/client" />
