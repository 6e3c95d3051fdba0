// Fixing: one replay, many, a changed copy, and an erasure.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, join, logIn, readFileSync, window, writeFileSync } from "./harness.mjs";
import { deliver, seed } from "./seed.mjs";

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

/** Lets the mapper accept bookings without a name. */
async function fixMapper() {
  const file = join(server.plugins, "bookings", "mapper.js");
  writeFileSync(file, readFileSync(file, "utf8").replace("if (!event.name) throw refuse(\"a booking needs a name\", \"/name\");", "").replace("${event.name}", "${event.name ?? 'somebody'}"));
  const passed = await server.api("POST", "/v1/admin/plugins/reload");
  assert.ok(passed.text.includes("bookings"), passed.text);
}

test("one event is replayed, and its page shows the result", async () => {
  const page = await window(server);
  await logIn(page, `/console/events/${ids.events.refused}`);
  await fixMapper();
  await page.getByRole("link", { name: "Replay", exact: true }).click();
  await page.getByRole("heading", { name: "Replay an event" }).waitFor();
  await page.getByRole("button", { name: "Replay" }).click();
  await page.getByRole("status").first().waitFor();
  assert.ok(new URL(page.url()).pathname.startsWith(`/console/events/${ids.events.refused}`));
  assert.equal((await server.api("GET", `/v1/events?id=${ids.events.refused}`)).json.data[0].status, "stored");
  assert.deepEqual(page.problems, []);
});

test("many events are replayed after a preview, with progress", async () => {
  for (let n = 0; n < 30; n += 1) await deliver(server, "bookings", { id: `many-${n}`, kind: "journey", name: "Many" });
  const file = join(server.plugins, "bookings", "input.schema.json");
  writeFileSync(file, readFileSync(file, "utf8").replace('"visit", "call"', '"visit", "journey", "call"'));
  await server.api("POST", "/v1/admin/plugins/reload");
  const page = await window(server);
  await logIn(page, "/console/events/replay?status=quarantined&integration=bookings");
  const main = page.locator("main");
  assert.match(await main.innerText(), /3\d\D.*events|events.*3\d/s, "the preview counts");
  await main.getByRole("button", { name: /^Replay/ }).click();
  await page.waitForURL(/\/console\/replays\//);
  await page.getByText(/(finished|done)/i).first().waitFor({ timeout: 60_000 });
  const left = await server.api("GET", "/v1/events?status=quarantined&integration=bookings");
  assert.ok(left.json.data.length <= 1, left.text);
});

test("a copy is edited and replayed, and is marked as one", async () => {
  const page = await window(server);
  await logIn(page, `/console/events/${ids.events.booking}/edit`);
  const body = page.getByLabel("Body");
  await body.fill((await body.inputValue()).replace("Noa Example", "Noa Corrected").replace("b-1", "b-corrected"));
  await page.getByRole("button", { name: "Try without storing" }).click();
  await page.getByText("Call Noa Corrected").first().waitFor();
  await page.getByRole("button", { name: "Store and process the copy" }).click();
  await page.waitForURL((it) => /\/console\/events\/[0-9a-f-]{36}$/.test(it.pathname));
  const id = new URL(page.url()).pathname.split("/").pop();
  assert.notEqual(id, ids.events.booking);
  const copy = (await server.api("GET", `/v1/events/${id}`)).json;
  assert.equal(copy.origin?.copy_of, ids.events.booking, JSON.stringify(copy).slice(0, 500));
  const audit = (await server.api("GET", "/v1/admin/audit?limit=100")).text;
  assert.ok(audit.includes("event.copied"), audit.slice(0, 300));
  await page.getByText(/copy/i).first().waitFor();
});

test("an erasure lists what it would erase, and asks for the id again", async () => {
  const made = await server.api("POST", "/v1/tasks", { title: "Patient", description: "about p-erase-77", patient_id: "p-erase-77", assigned_user_ids: ["u"], created_by_id: "u", deadline: "2026-12-01T09:00:00Z" });
  assert.equal(made.status, 201);
  const page = await window(server);
  await logIn(page, "/console/erase");
  await page.getByLabel("Id of the patient").fill("p-erase-77");
  await page.getByRole("button", { name: "Show what would be erased" }).click();
  await page.getByText("1 events would be erased").waitFor();
  assert.ok(!page.url().includes("p-erase-77"));
  await page.getByLabel("Repeat the id of the patient").fill("p-other");
  await page.getByRole("button", { name: /^Erase/ }).click();
  await page.getByText("Nothing was erased").waitFor();
  await page.getByLabel("Repeat the id of the patient").fill("p-erase-77");
  await page.getByRole("button", { name: /^Erase/ }).click();
  await page.getByText("1 events were erased").waitFor();
  assert.deepEqual(page.problems, []);
});
