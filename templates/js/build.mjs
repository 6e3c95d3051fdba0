// Builds mapper.wasm: one component with the mapping and a small JavaScript engine (QuickJS).
import { readFileSync, writeFileSync } from "node:fs";
import { componentize } from "componentize-qjs";

const result = await componentize({
  witPath: "wit",
  world: "mapper",
  jsSource: readFileSync("mapper.js", "utf8"),
  stubWasi: true,
  sync: true,
  optSize: true,
});
writeFileSync("mapper.wasm", result.component ?? result);
