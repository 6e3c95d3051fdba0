// The bench: a payload is tried without storing anything, and a script is changed through its fixtures.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, existsSync, join, logIn, readFileSync, window } from "./harness.mjs";
import { deliver, seed } from "./seed.mjs";

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

const total = async () => (await server.api("GET", "/v1/tasks")).json.pagination.total;

test("a stored event is tried, without scripts too, and nothing is stored", async () => {
  const before = await total();
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page, `/console/bench/bookings?event=${ids.events.booking}`);
  await page.getByRole("button", { name: "Run", exact: true }).click();
  const result = page.getByRole("region", { name: "Result" });
  assert.match(await result.innerText(), /Call Noa Example/);
  assert.equal(await result.locator("meter, progress").count() >= 2, true, "time, memory and fuel against their limits");
  assert.equal(await total(), before);
});

test("violations and refusals of an edited payload are shown", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  await page.getByLabel("Payload (JSON)").fill('{"id":"x","kind":"journey"}');
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText(/kind/).first().waitFor();
  await page.getByLabel("Payload (JSON)").fill('{"id":"x","kind":"call"}');
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("a booking needs a name").first().waitFor();
  assert.deepEqual(page.problems, []);
});

test("a payload becomes a fixture", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  await page.getByLabel("Payload (JSON)").fill('{"id":"f","kind":"call","name":"Fixture"}');
  await page.getByLabel("Name", { exact: true }).fill("call");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Every new version must pass it").waitFor();
  assert.ok(existsSync(join(server.plugins, "bookings/fixtures/call.json")));
});

test("a script runs on a pause in typing, shows its error's line, and is saved only through its fixtures", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  await page.getByLabel("Payload (JSON)").fill('{"id":"s","kind":"visit","name":"Typed"}');
  const script = page.getByLabel(/Script/);
  const good = await script.inputValue();
  await script.fill(good.replace("`Call ${event.name}`", "`Ring ${event.name}`"));
  await page.getByText("Ring Typed").first().waitFor();
  await script.fill("export default (event) => {\n  return event.no.such;\n};\n");
  await page.getByText("mapper.js").first().waitFor();
  await page.locator("#result").getByText(/:2|line 2/).first().waitFor();

  // It would break a fixture: nothing changes.
  await script.fill(good.replace("`Call ${event.name}`", "`Ring ${event.name}`"));
  await page.getByRole("button", { name: "Save as new version" }).click();
  await page.getByRole("alert").first().waitFor();
  const file = join(server.plugins, "bookings/mapper.js");
  assert.equal(readFileSync(file, "utf8"), good);

  // This one passes, and is live.
  await page.getByLabel(/Script/).fill(good.replace("a test booking", "only a test"));
  await page.getByRole("button", { name: "Save as new version" }).click();
  await page.getByText(/has passed/).first().waitFor({ timeout: 30_000 });
  assert.ok(readFileSync(file, "utf8").includes("only a test"));
  const skipped = await deliver(server, "bookings", { id: "after-save", kind: "test" });
  assert.match(skipped.text, /only a test/);

  // And a way back.
  await page.getByRole("button", { name: "Go back to it" }).first().click();
  await page.getByText("This version is live again").waitFor({ timeout: 30_000 });
  assert.equal(readFileSync(file, "utf8"), good);
  assert.deepEqual(page.problems, []);
});

test("plugins show their state, and why one was refused", async () => {
  const page = await window(server);
  await logIn(page, "/console/plugins");
  assert.match(await page.locator("main").innerText(), /bookings/);
  await page.goto("/console/plugins/bookings");
  await page.getByText("visit.json").first().waitFor();
  const link = server.command("console", "--data-dir", "data").trim();
  const operator = await window(server);
  await operator.goto(link);
  await operator.getByRole("button", { name: "Log in" }).click();
  await operator.waitForURL("**/console");
  await operator.goto("/console/plugins/broken");
  await operator.getByText("missing.js").first().waitFor();
});

test("Enter in a field runs, and saves nothing", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  const file = join(server.plugins, "bookings/mapper.js");
  const good = readFileSync(file, "utf8");
  await page.getByLabel("Payload (JSON)").fill('{"id":"e","kind":"visit","name":"Enter"}');
  await page.getByLabel(/Script/).fill(good.replace("a test booking", "never saved"));
  await page.getByLabel("Name", { exact: true }).fill("not-a-fixture");
  await page.keyboard.press("Enter");
  await page.getByText("Call Enter").first().waitFor();
  const plain = await window(server, { javaScriptEnabled: false });
  await logIn(plain, "/console/bench/bookings");
  await plain.getByLabel(/Script/).fill(good.replace("a test booking", "never saved"));
  await plain.getByLabel("Name", { exact: true }).fill("not-a-fixture");
  await plain.keyboard.press("Enter");
  await plain.getByRole("region", { name: "Result" }).waitFor();
  assert.equal(readFileSync(file, "utf8"), good);
  assert.ok(!existsSync(join(server.plugins, "bookings/fixtures/not-a-fixture.json")));
});

test("after the session has ended, the bench says so and keeps what was typed", async () => {
  const page = await window(server);
  await logIn(page, "/console/bench/bookings");
  await page.context().clearCookies();
  await page.getByLabel("Payload (JSON)").fill('{"id":"late","kind":"visit","name":"Late"}');
  await page.getByText(/logged out/).first().waitFor();
  assert.match(await page.getByLabel("Payload (JSON)").inputValue(), /Late/);
});
