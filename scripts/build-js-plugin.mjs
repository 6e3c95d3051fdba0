// Builds a JavaScript mapper into a component: build-js-plugin.mjs MAPPER.js WIT_DIR OUT.wasm
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [source, witPath, out] = process.argv.slice(2);
// The package is in the guest cache, not next to this file.
const found = createRequire(`${process.env.GUEST_NODE}/package.json`).resolve("componentize-qjs");
const { componentize } = await import(pathToFileURL(found));
const result = await componentize({
  witPath,
  world: "mapper",
  jsSource: readFileSync(source, "utf8"),
  stubWasi: true,
  sync: true,
  optSize: true,
});
writeFileSync(out, result.component ?? result);
