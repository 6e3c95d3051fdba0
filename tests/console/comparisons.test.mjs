// A plugin over stored history: progress, the way to stop it, and the result; with scripts and without.
import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { after, before, test } from "node:test";
import { Server, closeBrowser, findings, join, readFileSync, screenshot, window, writeFileSync } from "./harness.mjs";
import { deliver, seed } from "./seed.mjs";

let server;
const folder = (name) => join(server.folder, name, "bookings");
before(async () => {
  server = await Server.start();
  await seed(server);
  for (let n = 0; n < 60; n += 1) await deliver(server, "bookings", { id: `c-${n}`, kind: "visit", name: "Noa Example", notes: "n", guests: 2 });
  for (const [name, script] of [["slow", "export default () => { for (;;); };"], ["other", null]]) {
    cpSync(join(server.plugins, "bookings"), folder(name), { recursive: true });
    rmSync(join(folder(name), "fixtures"), { recursive: true });
    const file = join(folder(name), "mapper.js");
    writeFileSync(file, script ?? readFileSync(file, "utf8").replace("Call", "Ring"));
  }
});
after(async () => { await closeBrowser(); await server.close(); });

async function operator(options) {
  const page = await window(server, options);
  await page.goto(server.command("console", "--data-dir", "data").trim());
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/console");
  return page;
}

async function begin(page, name) {
  await page.goto("/console/plugins/bookings/diff");
  await page.getByLabel("Folder on the server's machine").fill(folder(name));
  await page.getByRole("button", { name: "Compare" }).click();
  await page.waitForURL((it) => /\/diff\/[0-9a-f-]{36}$/.test(it.pathname));
}

/** Until a condition holds; without scripts, the page is loaded again. */
async function until(page, scripts, condition) {
  for (let n = 0; !(await condition()); n += 1) {
    assert.ok(n < 300, "it takes too long");
    await new Promise((done) => { setTimeout(done, 100); });
    if (!scripts) await page.getByRole("link", { name: "Show the current state" }).click().catch(() => page.reload());
  }
}

for (const javaScriptEnabled of [true, false]) {
  test(`a comparison shows how far it is, and is stopped, ${javaScriptEnabled ? "with scripts" : "without scripts"}`, async () => {
    const page = await operator({ javaScriptEnabled });
    await begin(page, "slow");
    const bar = page.getByRole("progressbar", { name: "Events that were examined" });
    const value = async () => Number(await bar.getAttribute("value"));
    const first = await value();
    await until(page, javaScriptEnabled, async () => await value() > first);
    assert.ok(await value() < Number(await bar.getAttribute("max")), "it still runs");
    await screenshot(page, `comparison-${javaScriptEnabled}`);
    await page.getByRole("button", { name: "Stop" }).click();
    await until(page, javaScriptEnabled, async () => await page.getByText("It was stopped by operator").count() > 0);
    await page.getByRole("heading", { name: "Result" }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Stop" }).count(), 0);
    assert.deepEqual(page.problems, []);
  });

  test(`a comparison ends with its result, ${javaScriptEnabled ? "with scripts" : "without scripts"}`, async () => {
    const page = await operator({ javaScriptEnabled, viewport: { width: 320, height: 700 } });
    await begin(page, "other");
    await until(page, javaScriptEnabled, async () => await page.getByText("It has run over all of them.").count() > 0);
    await page.getByRole("heading", { name: "Fields that differ" }).waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 320), "it fits");
    if (javaScriptEnabled) assert.deepEqual(await findings(page), []);
    await page.getByRole("link", { name: "Compare again" }).click();
    await page.getByRole("heading", { name: "Earlier comparisons" }).waitFor();
    await page.getByLabel("Folder on the server's machine").fill("/nowhere");
    await page.getByRole("button", { name: "Compare" }).click();
    await page.getByText("dir: ").first().waitFor();
    assert.equal(await page.getByLabel("Folder on the server's machine").inputValue(), "/nowhere", "what was typed is still there");
    assert.deepEqual(page.problems, []);
  });
}
