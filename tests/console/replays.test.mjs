// Fixing: replaying one event and many, editing a copy, erasing; with scripts and without.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, findings, logIn, screenshot, window } from "./harness.mjs";
import { deliver, seed } from "./seed.mjs";

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

const event = async (id) => (await server.api("GET", `/v1/events/${id}`)).json;
const audit = async (action) => (await server.api("GET", "/v1/admin/audit?limit=1000")).json.data.filter((it) => it.action === action);

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";

  test(`one event is replayed, ${how}`, async () => {
    const page = await window(server, { javaScriptEnabled });
    await logIn(page, `/console/events/${ids.events.refused}/replay`);
    await page.getByRole("button", { name: "Replay" }).click();
    await page.waitForURL((it) => it.pathname === `/console/events/${ids.events.refused}` && it.searchParams.get("done") === "replayed");
    assert.deepEqual(page.problems, []);
  });

  test(`a copy is edited, tried, and stored once, ${how}`, async () => {
    const page = await window(server, { javaScriptEnabled });
    await logIn(page, `/console/events/${ids.events.booking}/edit`);
    const body = page.getByLabel("Body");
    assert.equal(JSON.parse(await body.inputValue()).id, "b-1");
    await body.fill("{\"id\": \"b-1\",");
    await page.getByRole("button", { name: "Try without storing" }).click();
    await page.getByRole("heading", { name: "What would become of it" }).waitFor();
    await page.getByText("Nothing was stored.").waitFor();
    assert.equal(await page.getByLabel("Body").inputValue(), "{\"id\": \"b-1\",");
    const edited = "{\n  \"id\": \"b-1\",\n  \"kind\": \"visit\",\n  \"name\": \"Mia Example\",\n  \"notes\": \"n\",\n  \"guests\": 2\n}";
    await page.getByLabel("Body").fill(edited);
    await page.getByRole("button", { name: "Try without storing" }).click();
    await page.getByText("Nothing was stored.").waitFor();
    const before = (await audit("event.copied")).length;
    await screenshot(page, `fixing-edit-${javaScriptEnabled}`);
    await page.getByRole("button", { name: "Store and process the copy" }).click();
    await page.waitForURL((it) => it.searchParams.get("done") === "copied");
    const id = new URL(page.url()).pathname.split("/").pop();
    const copy = await event(id);
    assert.equal(copy.body, edited, "line ends are those of the body");
    assert.equal(copy.origin.copy_of, ids.events.booking);
    assert.equal(copy.status, "stored", JSON.stringify(copy.reason));
    assert.equal((await audit("event.copied")).length, before + 1);
    assert.deepEqual(page.problems, []);
  });

  test(`a patient is erased only with the id repeated, ${how}`, async () => {
    const patient = `patient-${how.replace(" ", "-")}`;
    const sent = await server.api("POST", "/v1/tasks", { title: "t", description: "d", assigned_user_ids: ["u"], created_by_id: "u", deadline: "2026-12-01T09:00:00Z", patient_id: patient });
    const id = sent.headers.get("x-event-id");
    const page = await window(server, { javaScriptEnabled });
    await logIn(page, "/console/erase");
    await page.getByLabel("Id of the patient").fill(patient);
    await page.getByRole("button", { name: "Show what would be erased" }).click();
    await page.getByRole("link", { name: id }).waitFor();
    if (javaScriptEnabled) assert.deepEqual(await findings(page), []);
    assert.ok(!page.url().includes(patient));
    await page.getByLabel("Repeat the id of the patient").fill("another");
    await page.getByRole("button", { name: "Erase 1 events" }).click();
    await page.getByRole("alert").getByText("Nothing was erased").waitFor();
    assert.equal((await event(id)).erased_at, undefined);
    await page.getByLabel("Repeat the id of the patient").fill(patient);
    await page.getByRole("button", { name: "Erase 1 events" }).click();
    await page.getByText("1 events were erased.").waitFor();
    assert.ok((await event(id)).erased_at);
  });
}

test("an event that cannot be replayed says why", async () => {
  const sent = await server.api("POST", "/v1/hooks/bookings", {}, { "X-API-Key": "wrong" });
  assert.equal(sent.status, 401);
  const page = await window(server);
  await logIn(page, `/console/events/${sent.headers.get("x-event-id")}/replay`);
  await page.getByText("rejected events are stored without their body").waitFor();
  assert.equal(await page.getByRole("button", { name: "Replay" }).count(), 0);
});

test("many events are replayed after a preview, with progress, and a replay is stopped", async () => {
  for (let n = 0; n < 300; n += 1) await deliver(server, "bookings", { id: `many-${n}`, kind: "call" });
  const page = await window(server);
  await logIn(page, "/console/events/replay?status=quarantined&integration=bookings");
  await page.getByRole("heading", { name: /events match/ }).waitFor();
  assert.ok(await page.getByRole("table").locator("tbody tr").count() === 20);
  await screenshot(page, "fixing-replay-many");
  await page.getByRole("button", { name: /^Replay .* events$/ }).click();
  await page.waitForURL(/\/console\/replays\//);
  await page.getByRole("progressbar", { name: "Events that were replayed" }).waitFor();
  const stop = page.getByRole("button", { name: "Stop" });
  if (await stop.count()) await stop.click().catch(() => {});
  await page.getByText(/It has ended|It was stopped by/).waitFor();
  await page.getByRole("heading", { name: "Failures" }).waitFor();
  assert.deepEqual(await findings(page), []);
  await screenshot(page, "fixing-replay-job");
  await page.getByRole("link", { name: "All replays" }).click();
  await page.getByRole("table").waitFor();
  assert.deepEqual(page.problems, []);
});

test("a list with a filter that a replay lacks is not replayed", async () => {
  const page = await window(server);
  await logIn(page, "/console/events/replay?status=quarantined&text=Noa");
  await page.getByText("A replay has no filter text.").waitFor();
  assert.equal(await page.getByRole("button", { name: /^Replay .* events$/ }).count(), 0);
});

test("no events match", async () => {
  const page = await window(server);
  await logIn(page, "/console/events/replay?integration=nobody");
  await page.getByRole("heading", { name: "No events match" }).waitFor();
});
