// Connecting a sender: from its choice to what arrived.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, findings, logIn, screenshot, window } from "./harness.mjs";

let server;
before(async () => { server = await Server.start(); });
after(async () => { await closeBrowser(); await server.close(); });

for (const javaScriptEnabled of [true, false]) {
  test(`a sender is chosen, its steps are shown, and a test arrives, ${javaScriptEnabled ? "with" : "without"} scripts`, async () => {
    const page = await window(server, { javaScriptEnabled });
    await logIn(page, "/console/connect");
    await page.getByLabel("Find a sender").fill("github");
    await page.getByRole("button", { name: "Find" }).click();
    await page.getByRole("link", { name: "GitHub", exact: true }).click();
    await page.getByRole("heading", { name: "Connect GitHub" }).waitFor();
    const url = await page.getByLabel("URL").first().inputValue();
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/v1\/hooks\/signed$/);
    assert.equal(await page.getByRole("button", { name: "Copy the URL" }).first().isVisible(), javaScriptEnabled);
    await page.getByRole("button", { name: "Send a test" }).click();
    await page.getByRole("status").getByText("signed with the integration's secret").waitFor();
    const link = page.getByRole("status").getByRole("link").first();
    const id = await link.innerText();
    const stored = (await server.api("GET", `/v1/events/${id}`)).json;
    assert.equal(stored.origin.kind, "test");
    assert.notEqual(stored.status, "rejected", JSON.stringify(stored.reason));
    if (javaScriptEnabled) {
      assert.deepEqual(await findings(page), []);
      await screenshot(page, "connect-tested");
    }
    assert.ok(!(await page.content()).includes("the secret of the browser tests"));
    assert.deepEqual(page.problems, []);
  });
}

test("the lines for plugin.toml have the name that was asked for", async () => {
  const page = await window(server);
  await logIn(page, "/console/connect/retell");
  await page.getByLabel("Name of the integration").fill("front-desk");
  await page.getByRole("button", { name: "Use this name" }).click();
  await page.waitForURL((it) => it.searchParams.get("name") === "front-desk");
  assert.match(await page.getByLabel("URL").first().inputValue(), /\/v1\/hooks\/front-desk$/);
  assert.match(await page.locator("#lines").innerText(), /sender = "retell"/);
  assert.deepEqual(await findings(page), []);
});

test("a sender that nobody knows has a page that says so", async () => {
  const page = await window(server);
  await logIn(page);
  const response = await page.goto("/console/connect/nobody");
  assert.equal(response.status(), 404);
  await page.goto("/console/connect?q=zzzz");
  await page.getByRole("heading", { name: "No sender has this name" }).waitFor();
});
