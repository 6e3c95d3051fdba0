// The bench in detail: places in payload and script, the gate of the fixtures, versions, and the pages of plugins.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, existsSync, join, logIn, readFileSync, screenshot, window } from "./harness.mjs";
import { seed } from "./seed.mjs";

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

test("Tab indents, Escape and Tab leave the field", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  const script = page.getByLabel("Script mapper.js");
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
  await page.getByRole("heading", { name: "Result" }).waitFor();
  await page.getByText("The same", { exact: false }).first().waitFor();
  await screenshot(page, "plugin-diff-result");
  assert.deepEqual(page.problems, []);
  const admin = await window(server);
  await logIn(admin, "/console/plugins/bookings/diff");
  await admin.getByText("Only the operator runs a plugin over stored history").waitFor();
});
