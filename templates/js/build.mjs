// Builds mapper.wasm: one component with the mapping and a small JavaScript engine (QuickJS). Files that mapper.js imports
// ("./other.js") are built in.
import { readFileSync, writeFileSync } from "node:fs";
import { componentize } from "componentize-qjs";

const entry = "hookmill/entry.mjs";
const result = await componentize({
  witPath: "wit",
  world: "mapper",
  jsSource: readFileSync(entry, "utf8"),
  jsPath: entry,
  moduleRoot: ".",
  stubWasi: true,
  sync: true,
  optSize: true,
});
writeFileSync("mapper.wasm", result.component ?? result);
