// The cost of a mapping in Node.js, for comparison with `hookmill plugin bench plugins/n8n-intake`: the same JavaScript
// in a reused `vm` context and in a fresh one for every call, as n8n's Function nodes run theirs.
//
//   node benches/peers/node-vm.mjs [SECONDS]
import { readFileSync } from "node:fs";
import vm from "node:vm";

const root = new URL("../../", import.meta.url);
const source = readFileSync(new URL("plugins/n8n-intake/src/mapper.js", root), "utf8").replace("export function", "function");
const script = new vm.Script(`${source}\ntransform(payload, context)`);
const fixture = JSON.parse(readFileSync(new URL("plugins/n8n-intake/fixtures/form.json", root), "utf8"));
const seconds = Number(process.argv[2] ?? 3);
const input = () => ({
  payload: JSON.stringify(fixture.payload),
  context: { receivedAt: fixture.received_at, integration: "n8n-intake", config: '{"default_assignee":"u","created_by_id":"n8n","default_due_days":1}' },
});

function measure(name, call) {
  const times = [];
  for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
    const began = performance.now();
    call();
    times.push(performance.now() - began);
  }
  times.sort((a, b) => a - b);
  const at = (part) => (times[Math.floor(times.length * part)] * 1000).toFixed(1);
  console.log(`${name}: p50 ${at(0.5)} µs, p99 ${at(0.99)} µs, ${Math.round(times.length / seconds)} calls/s`);
}

const { payload, context } = input();
const reused = vm.createContext({ JSON, Date, Map, Object, Array });
new vm.Script(source).runInContext(reused);
const again = new vm.Script("transform(payload, context)");
measure("Node vm, context reused", () => {
  Object.assign(reused, { payload, context });
  return again.runInContext(reused);
});
measure("Node vm, fresh context", () => script.runInContext(vm.createContext({ payload, context })));
