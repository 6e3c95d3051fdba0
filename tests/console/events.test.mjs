// Events: filters in the URL, search in payloads, live tail, one event, and a comparison of two.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, logIn, window } from "./harness.mjs";
import { deliver, seed } from "./seed.mjs";

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

const rows = (page) => page.locator("main tbody tr");

test("filters are in the URL, and an empty list says what to do", async () => {
  const page = await window(server);
  await logIn(page, "/console/events");
  const all = await rows(page).count();
  await page.getByLabel("quarantined", { exact: false }).first().check();
  await page.getByRole("button", { name: "Show", exact: true }).last().click();
  await page.waitForURL(/status=quarantined/);
  const some = await rows(page).count();
  assert.ok(some > 0 && some < all, `${some} of ${all}`);
  await page.goto("/console/events?integration=nothing");
  await page.locator(".empty").waitFor();
});

test("payloads are searched by words, and by pointer and value", async () => {
  const page = await window(server);
  await logIn(page, "/console/events?text=guests+two");
  assert.equal(await rows(page).count(), 1);
  await page.goto("/console/events?pointer=/kind&value=call");
  assert.equal(await rows(page).count(), 1);
  assert.ok((await page.locator("main").innerHTML()).includes(ids.events.refused));
  await page.goto("/console/events?text=nobodyhaswrittenthisword");
  await page.locator(".empty").waitFor();
});

test("an event shows what became of it, and its body only when it is asked for", async () => {
  const page = await window(server);
  await logIn(page, `/console/events/${ids.events.violating}`);
  const main = page.locator("main");
  // The reason may quote a value.
  assert.ok(!(await main.locator("#body").innerText()).includes("journey"), "the body is hidden");
  const before = (await server.api("GET", "/v1/admin/audit?limit=1000")).json.data.filter((it) => it.action === "event.read").length;
  await page.getByRole("link", { name: "Show the body" }).click();
  await page.locator("#body").getByText("journey").first().waitFor();
  const after = (await server.api("GET", "/v1/admin/audit?limit=1000")).json.data.filter((it) => it.action === "event.read").length;
  assert.equal(after, before + 1, "reading a body is audited");
  // The violation is at its place: the value and the sentence are in one entry of the tree.
  const marked = page.locator("#body li, #body dd, #body div").filter({ hasText: /kind/ }).filter({ hasText: /journey/ });
  assert.ok(await marked.count() > 0);
  const curl = await page.locator("#curl").textContent();
  assert.ok(curl.includes("curl") && curl.includes("/v1/hooks/bookings") && !curl.includes("hm_key"), curl);
  assert.deepEqual(page.problems, []);
});

test("numbers are shown with the digits that were sent", async () => {
  const sent = await deliver(server, "bookings", '{"id":"n-1","kind":"visit","name":"N","big":12345678901234567890123,"exact":1.10,"exp":1e3}');
  const page = await window(server);
  await logIn(page, `/console/events/${sent.headers.get("x-event-id")}?body=1`);
  const body = await page.locator("#body").innerText();
  for (const it of ["12345678901234567890123", "1.10", "1e3"]) assert.ok(body.includes(it), `${it} in ${body}`);
});

test("earlier and later deliveries with the same id are linked", async () => {
  const page = await window(server);
  await logIn(page, `/console/events/${ids.events.booking}`);
  await deliver(server, "bookings", { id: "b-1", kind: "visit", name: "Noa Example", notes: "Brings four guests", guests: 4 });
  await page.reload();
  assert.ok(await page.getByText("same id").first().isVisible());
});

test("two events are compared field by field", async () => {
  const page = await window(server);
  await logIn(page, `/console/events/compare?a=${ids.events.booking}&b=${ids.events.refused}&body=1`);
  const text = await page.locator("#payloads").innerText();
  assert.ok(text.includes("visit") && text.includes("call"), text);
  assert.deepEqual(page.problems, []);
});

test("the live tail shows new events, keeps up with a flood, and the page stays responsive", async (t) => {
  const page = await window(server);
  await logIn(page, "/console/events");
  // What arrives between the page and its tail is not left out.
  const between = await deliver(server, "bookings", { id: "tail-0", kind: "test" });
  await page.getByRole("button", { name: "Live" }).click();
  await page.locator(`main tbody a[href*="${between.headers.get("x-event-id")}"]`).first().waitFor();
  const sent = await deliver(server, "bookings", { id: "tail-1", kind: "test" });
  await page.locator(`main tbody a[href*="${sent.headers.get("x-event-id")}"]`).first().waitFor();

  // A thousand events a second for five seconds, in batches; meanwhile the page answers to the keyboard.
  await page.evaluate(() => {
    globalThis.longest = 0;
    let last = performance.now();
    const tick = () => { const now = performance.now(); globalThis.longest = Math.max(globalThis.longest, now - last); last = now; requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
  });
  const task = { title: "t", description: "d", assigned_user_ids: ["u"], created_by_id: "u", deadline: "2026-12-01T09:00:00Z" };
  const began = Date.now();
  let count = 0;
  while (count < 5000) {
    const made = await Promise.all(Array.from({ length: 5 }, () => server.api("POST", "/v1/tasks/batch", { tasks: Array.from({ length: 50 }, () => task) })));
    assert.ok(made.every((it) => it.status < 300), made[0].text);
    count += 250;
  }
  const rate = count / ((Date.now() - began) / 1000);
  await page.waitForTimeout(1000);
  const longest = await page.evaluate(() => globalThis.longest);
  t.diagnostic(`${rate.toFixed(0)} events/s; longest time between two frames ${longest.toFixed(0)} ms`);
  assert.ok(await rows(page).count() <= 260, "the list is bounded");
  await page.getByRole("button", { name: "Live" }).click();
  assert.deepEqual(page.problems, []);
});
