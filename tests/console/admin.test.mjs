// Overview, tasks, keys, audit, system, and connecting a sender.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { COMPANY, Server, closeBrowser, logIn, window } from "./harness.mjs";
import { seed } from "./seed.mjs";

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

test("the overview begins with what needs attention, and its charts have numbers", async () => {
  const page = await window(server);
  await logIn(page);
  const main = page.locator("main");
  assert.match(await main.innerText(), /quarantine/i);
  for (const window of ["1h", "24h", "7d"]) {
    await page.goto(`/console?window=${window}`);
    assert.ok(await page.locator("main svg").count() >= 4, "deliveries, tasks, quarantine, queue, latency, errors");
    assert.ok(await page.locator("main table").count() >= 1);
  }
  assert.match(await main.innerText(), /bookings/);
  assert.deepEqual(page.problems, []);
});

test("tasks are listed with filters, and lead to their event", async () => {
  const page = await window(server);
  await logIn(page, "/console/tasks?priority=high");
  assert.equal(await page.locator("main tbody tr").count(), 6);
  await page.goto(`/console/tasks/${ids.tasks[0]}`);
  await page.locator("main").getByRole("link", { name: /[0-9a-f]{8}-/i }).first().click();
  await page.waitForURL(/\/console\/events\//);
});

test("a key is made, shown once, and revoked", async () => {
  const page = await window(server);
  await logIn(page, "/console/keys");
  await page.getByLabel("Label").fill("made in the console");
  await page.getByLabel("tasks:read").check();
  await page.getByRole("button", { name: /^Create/ }).click();
  const main = page.locator("main");
  await main.getByText(/hm_[A-Za-z0-9_-]{43}/).first().waitFor();
  const secret = (await main.innerText()).match(/hm_[A-Za-z0-9_-]{43}/)?.[0] ?? await main.locator("input[readonly]").inputValue();
  assert.ok(!page.url().includes(secret));
  const tasks = (key) => fetch(`${server.url}/v1/tasks`, { headers: { "x-api-key": key } }).then((it) => it.status);
  assert.equal(await tasks(secret), 200);
  await page.goto("/console/keys");
  assert.ok(!(await page.content()).includes(secret));
  await page.getByRole("row", { name: /made in the console/ }).getByRole("link", { name: /Revoke/ }).click();
  await page.getByRole("button", { name: /^Revoke/ }).click();
  await page.waitForURL(/\/console\/keys/);
  assert.equal(await tasks(secret), 401);
  assert.deepEqual(page.problems, []);
});

test("the audit log and the system's pages show what the API has", async () => {
  const page = await window(server);
  await logIn(page, "/console/audit");
  assert.match(await page.locator("main").innerText(), /console\.login|logged in/i);
  const link = server.command("console", "--data-dir", "data").trim();
  await page.goto(link);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/console");
  await page.goto("/console/system");
  const text = await page.locator("main").innerText();
  assert.match(text, /store/i);
  assert.ok(!text.includes("hm_key_of_the_browser_tests"));
  // The operator chooses a company, and keeps it.
  await page.getByLabel("Company").fill(COMPANY);
  await page.getByRole("banner").getByRole("button", { name: "Show" }).click();
  await page.goto(`/console/events?company=${COMPANY}`);
  assert.ok(await page.locator("main tbody tr").count() > 5);
});

test("a sender is connected: lines to paste, and a test with a real signature", async () => {
  const page = await window(server);
  await logIn(page, "/console/connect");
  await page.getByLabel("Find a sender").fill("github");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: /GitHub/ }).first().click();
  await page.waitForURL(/\/console\/connect\/github/);
  assert.match(await page.locator("main").textContent(), /sender = "github"/);
  await page.getByRole("button", { name: "Send a test" }).click();
  await page.locator(".notice-ok").first().waitFor();
  const list = (await server.api("GET", "/v1/events?integration=signed")).json.data;
  assert.equal(list[0]?.status, "stored", JSON.stringify(list));
  assert.ok(!(await page.content()).includes("the secret of the browser tests"));
  assert.deepEqual(page.problems, []);
});
