// The bench in detail: places in payload and script, the gate of the fixtures, versions, and the pages of plugins.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, existsSync, join, logIn, readFileSync, screenshot, window } from "./harness.mjs";
import { seed } from "./seed.mjs";
import { placesOf } from "../../src/http/console/assets/js/pointer.js";

let server, ids;
before(async () => {
  server = await Server.start({ settings: "[plugins]\nsettle_ms = 50\n" });
  ids = await seed(server);
});
after(async () => { await closeBrowser(); await server.close(); });

const count = async () => (await server.api("GET", "/v1/events?limit=100")).json.data.length;

test("an event is tried, edited and compared with what was stored, and nothing is stored", async () => {
  const before = await count();
  const page = await window(server);
  await logIn(page, `/console/bench/bookings?event=${ids.events.booking}`);
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("1 task", { exact: true }).waitFor();
  await result.getByText("the same", { exact: true }).waitFor();
  const payload = page.getByLabel("Payload (JSON)");
  await payload.fill((await payload.inputValue()).replace("Noa Example", "Bo Example"));
  await result.getByText("changed", { exact: true }).waitFor();
  await result.getByRole("cell", { name: "Call Bo Example" }).waitFor();
  await result.getByText("booking of visit").waitFor();
  assert.equal(await result.getByRole("meter").count(), 5);
  await screenshot(page, "bench-changed");
  await payload.fill('{\n  "id": "b-1",\n  "kind": "journey"\n}');
  await result.getByText("the payload does not fit", { exact: true }).waitFor();
  await result.getByRole("button", { name: "/kind" }).click();
  assert.equal(await payload.evaluate((it) => it.value.slice(it.selectionStart, it.selectionEnd)), '"journey"');
  await screenshot(page, "bench-violation");
  await payload.fill("{");
  await result.getByText("not JSON").waitFor();
  assert.equal(await count(), before);
  assert.deepEqual(page.problems, []);
});

test("a script runs on every pause in typing, marks its error, and is saved only through its fixtures", async () => {
  const page = await window(server);
  await logIn(page, `/console/bench/bookings?event=${ids.events.booking}`);
  const result = page.getByRole("region", { name: "Result" });
  const script = page.getByLabel("Script mapper.js");
  const text = await script.inputValue();
  await script.fill(text.replace("`Call ${event.name}`", "event.nobody.name"));
  await result.getByText("the plugin failed", { exact: true }).waitFor();
  assert.equal(await page.locator(".gutter .bad").innerText(), "6");
  await screenshot(page, "bench-error");
  await result.getByRole("button", { name: "Go to line 6" }).click();
  assert.match(await script.evaluate((it) => it.value.slice(it.selectionStart, it.selectionEnd)), /nobody/);

  await script.fill(text.replace("Call", "Ring"));
  await result.getByText("changed", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Save as new version" }).click();
  const alert = page.getByRole("alert").first();
  await alert.getByText("fixtures/visit.json: /0/title").first().waitFor();
  await screenshot(page, "bench-gate");
  assert.equal(readFileSync(join(server.plugins, "bookings/mapper.js"), "utf8"), text, "nothing was saved");
  assert.match(await page.getByLabel("Script mapper.js").inputValue(), /Ring/, "what was typed is still there");

  await page.getByLabel("Script mapper.js").fill(`// another version\n${text}`);
  await page.getByRole("button", { name: "Save as new version" }).click();
  await page.getByText("Saved, and live").waitFor();
  assert.match(readFileSync(join(server.plugins, "bookings/mapper.js"), "utf8"), /^\/\/ another version\n/);
  const versions = page.locator("#versions");
  assert.equal(await versions.getByRole("row").count(), 3);
  await versions.getByRole("link", { name: "Compare" }).click();
  await page.getByText("// another version").waitFor();
  await screenshot(page, "bench-compare");
  await page.getByRole("button", { name: "Go back to this version" }).click();
  await page.getByText("This version is live again").waitFor();
  assert.equal(readFileSync(join(server.plugins, "bookings/mapper.js"), "utf8"), text);
  assert.deepEqual(page.problems, []);
});

test("only places in the payload are links into it", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  const result = page.getByRole("region", { name: "Result" });
  const payload = page.getByLabel("Payload (JSON)");
  await payload.fill('{"id":"o","kind":"call","name":"Out","0":{"description":"of the payload"}}');
  const script = page.getByLabel("Script mapper.js");
  await script.fill((await script.inputValue()).replace('event.notes ?? "No notes."', "[]"));
  await result.getByText("What is wrong with the output").waitFor();
  await result.getByText("/0/description", { exact: true }).waitFor();
  assert.equal(await result.locator("button.pointer").count(), 0);
  await payload.fill('{"id":"o","kind":"journey"}');
  await result.getByRole("button", { name: "/kind" }).waitFor();
  assert.deepEqual(page.problems, []);
});

test("places of many pointers are found in one pass", () => {
  const items = Array.from({ length: 10_000 }, (_, n) => ({ "a/b": [n, `"}${n}`] }));
  const text = JSON.stringify({ items, "": { "~": null } }, null, 2);
  const parse = JSON.parse;
  let parsed = 0;
  JSON.parse = (it) => { if (it.length > 1000) parsed += 1; return parse(it); };
  let places;
  try {
    places = placesOf(text, [...items.map((_, n) => `/items/${n}/a~1b/1`), "", "//~0", "/items/3", "/none", "/items/10000", "/items/3/a~1b/1/x"]);
  } finally {
    JSON.parse = parse;
  }
  const at = (pointer) => { const it = places.get(pointer); return text.slice(it.from, it.to); };
  assert.equal(parsed, 1);
  assert.equal(places.size, 10_003);
  assert.equal(at("/items/9999/a~1b/1"), '"\\"}9999"');
  assert.equal(at("//~0"), "null");
  assert.deepEqual(JSON.parse(at("/items/3")), items[3]);
  assert.equal(at(""), text);
  const twice = placesOf('{"a":{"b":1},"a":{"c":2}}', ["/a/b", "/a/c", "/a"]);
  assert.deepEqual([...twice.keys()].sort(), ["/a", "/a/c"], "the last member of a name counts");
  assert.equal(placesOf("{", [""]).size, 0);
});

test("Tab indents, Escape and Tab leave the field", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  const script = page.getByLabel("Script mapper.js");
  await page.locator(".gutter").first().waitFor();
  await script.focus();
  await script.evaluate((it) => it.setSelectionRange(0, 0));
  await page.keyboard.press("Tab");
  assert.match(await script.inputValue(), /^ {2}export/);
  await page.keyboard.press("Shift+Tab");
  assert.match(await script.inputValue(), /^export/);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Save as new version");
});

test("without scripts, a payload is run and saved as a fixture", async () => {
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page, "/console/bench");
  await page.getByRole("link", { name: "bookings" }).click();
  await page.getByLabel("Payload (JSON)").fill('{\n  "id": "b-9", "kind": "call", "name": "Kim Example"\n}');
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByText("Task 1: Call Kim Example").waitFor();
  await page.getByLabel("Name").fill("call");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as fixtures/call.json").waitFor();
  assert.ok(existsSync(join(server.plugins, "bookings/fixtures/call.json")));
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.goto("/console/plugins/bookings");
  await page.getByRole("cell", { name: "fixtures/call.json" }).waitFor();
  assert.equal(await page.getByText("passes", { exact: true }).count(), 2);
});

test("plugins are listed with their state, and the operator compares one with stored history", async () => {
  const page = await window(server);
  await page.goto(server.command("console", "--data-dir", "data").trim());
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/console");
  await page.goto("/console/plugins");
  await page.getByRole("row", { name: /broken/ }).getByText("refused").first().waitFor();
  await screenshot(page, "plugins-operator");
  await page.goto("/console/plugins/bookings/diff");
  await page.getByRole("button", { name: "Compare" }).click();
  await page.getByText("The same", { exact: false }).first().waitFor();
  await screenshot(page, "plugin-diff-result");
  assert.deepEqual(page.problems, []);
  const admin = await window(server);
  await logIn(admin, "/console/plugins/bookings/diff");
  await admin.getByText("Only the operator runs a plugin over stored history").waitFor();
});

test("instructions are counted if the box is checked, without scripts too", async () => {
  const page = await window(server);
  await logIn(page, `/console/bench/bookings?event=${ids.events.booking}`);
  const result = page.getByRole("region", { name: "Result" });
  await result.getByText("1 task", { exact: true }).waitFor();
  assert.equal(await result.getByText("instructions").count(), 0);
  await page.getByLabel("Count instructions (fuel)").check();
  await result.getByText(/\d instructions/).waitFor();
  assert.match(await result.innerText(), /this one took \d+\.\d % of its limit/);
  await screenshot(page, "bench-fuel");
  assert.deepEqual(page.problems, []);
  const plain = await window(server, { javaScriptEnabled: false });
  await logIn(plain, `/console/bench/bookings?event=${ids.events.booking}`);
  await plain.getByLabel("Count instructions (fuel)").check();
  await plain.getByRole("button", { name: "Run", exact: true }).click();
  await plain.getByText(/\d instructions/).waitFor();
  assert.equal(await plain.getByLabel("Count instructions (fuel)").isChecked(), true);
});

test("the body of an event is run as it was sent while it is not changed, also one that fills a request", async () => {
  const limit = 1 << 20;
  const whole = (pad) => `{"id":"large","kind":"visit","name":"Large Body","n":1234567890.123456789,"pad":"${pad}"}`;
  const body = whole("x".repeat(limit - whole("").length));
  const sent = await server.api("POST", "/v1/hooks/bookings", body);
  assert.equal(sent.status, 201, sent.text.slice(0, 200));
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page, `/console/bench/bookings?event=${sent.headers.get("x-event-id")}`);
  assert.match(await page.getByLabel("Payload (JSON)").inputValue(), /"n": 1234567890\.123456789,\n/);
  await page.getByText("run as it was sent").waitFor();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("Task 1: Call Large Body").waitFor();
  await page.getByText("the same", { exact: true }).waitFor();
});
