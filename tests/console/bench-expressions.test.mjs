// Expressions in plugin.toml on the bench: edited like a script, and nothing else of the file.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { Server, closeBrowser, join, logIn, readFileSync, screenshot, window, writeFileSync } from "./harness.mjs";

const TASK = "[task]\ntitle = \"Call {{ $json.name }}\"\n# of the text\ndescription = \"x\"\n";
const MANIFEST = `name = "calls"
version = "1"
schema = "input.schema.json"
company_id = "company-1"

[auth]
scheme = "api-key"

[defaults]
assigned_user_ids = ["user_1"]
created_by_id = "test"
deadline = "2d"

${TASK}
[limits] # the operator's
time_ms = 900
`;

let server;
const file = () => join(server.plugins, "calls/plugin.toml");
before(async () => {
  server = await Server.start({ settings: "[plugins]\nsettle_ms = 50\n" });
  await server.stop();
  mkdirSync(join(server.plugins, "calls"));
  writeFileSync(file(), MANIFEST);
  writeFileSync(join(server.plugins, "calls/input.schema.json"), '{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}');
  await server.run();
});
after(async () => { await closeBrowser(); await server.close(); });

for (const javaScriptEnabled of [true, false]) {
  test(`expressions are tried, saved and brought back, ${javaScriptEnabled ? "with scripts" : "without scripts"}`, async () => {
    const page = await window(server, { javaScriptEnabled });
    await logIn(page, "/console/bench/calls");
    const result = page.getByRole("region", { name: "Result" });
    const field = () => page.getByLabel("Expressions plugin.toml#task");
    const run = async () => { if (!javaScriptEnabled) await page.locator("button.primary", { hasText: "Run" }).click(); };
    assert.equal(await field().inputValue(), TASK);
    await page.getByLabel("Payload (JSON)").fill('{"name": "Ada"}');
    await field().fill(TASK.replace("$json.name", "$json.a.b"));
    await run();
    await result.getByText("the plugin failed", { exact: true }).waitFor();
    if (javaScriptEnabled) {
      assert.equal(await page.locator(".gutter .bad").innerText(), "2");
      await result.getByRole("button", { name: "Go to line 2" }).waitFor();
    }
    await field().fill(TASK.replace("Call", "Ring"));
    await run();
    await result.getByText("Task 1: Ring Ada").waitFor();
    assert.equal(readFileSync(file(), "utf8"), MANIFEST, "trying changes nothing");

    await field().fill(`${TASK}\n[limits]\ntime_ms = 60000\n`);
    await page.getByRole("button", { name: "Save as new version" }).click();
    await page.getByText("only the table [task] of plugin.toml can be changed here").first().waitFor();
    assert.equal(readFileSync(file(), "utf8"), MANIFEST);

    await field().fill(TASK.replace("Call", "Ring"));
    await page.getByRole("button", { name: "Save as new version" }).click();
    await page.getByText("Saved, and live").waitFor();
    assert.equal(readFileSync(file(), "utf8"), MANIFEST.replace("Call", "Ring"));
    await screenshot(page, `bench-expressions-${javaScriptEnabled}`);
    await page.locator("#versions").getByRole("link", { name: "Compare" }).last().click();
    await page.getByText("Ring {{ $json.name }}").waitFor();
    await page.getByRole("button", { name: "Go back to this version" }).click();
    await page.getByText("This version is live again").waitFor();
    assert.equal(readFileSync(file(), "utf8"), MANIFEST);
    assert.deepEqual(page.problems, []);
  });
}
