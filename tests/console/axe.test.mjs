// Every page: axe-core finds nothing in light, dark, at 320 px and with forced colours, and nothing of a payload runs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, findings, logIn, screenshot, window } from "./harness.mjs";
import { pages } from "./pages.mjs";
import { seed } from "./seed.mjs";

const VIEWS = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  narrow: { viewport: { width: 320, height: 700 } },
  forced: { forcedColors: "active" },
  wide: { viewport: { width: 2560, height: 1300 } },
};

let server, ids;
before(async () => { server = await Server.start(); ids = await seed(server); });
after(async () => { await closeBrowser(); await server.close(); });

for (const [view, options] of Object.entries(VIEWS)) {
  test(`every page in the view ${view}`, async (t) => {
    const page = await window(server, options);
    await page.goto("/console/login");
    assert.deepEqual(await findings(page), []);
    await logIn(page);
    for (const [name, url] of Object.entries(pages(ids))) {
      await t.test(name, async () => {
        const response = await page.goto(url);
        assert.ok(response.status() === 200 || (name === "plugin-shadow" && response.status() === 404), `${response.status()} ${await page.locator("main").innerText()}`);
        await page.locator("main h1").first().waitFor();
        await screenshot(page, `${view}-${name}`);
        assert.deepEqual(await findings(page), []);
        assert.doesNotMatch(await page.title(), /owned/);
        const [wide, shown] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
        assert.ok(wide <= shown, `the page is ${wide - shown} px too wide`);
        assert.deepEqual(page.problems, []);
      });
    }
  });
}

test("without scripts, every page shows the same", async (t) => {
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page);
  for (const [name, url] of Object.entries(pages(ids))) {
    await t.test(name, async () => {
      const response = await page.goto(url);
      assert.ok(response.status() === 200 || (name === "plugin-shadow" && response.status() === 404), `${response.status()}`);
      assert.ok(await page.locator("main h1").first().isVisible());
    });
  }
});

test("a key sees the sections of its scopes, and no other", async () => {
  const made = await server.api("POST", "/v1/admin/keys", { label: "reader", scopes: ["tasks:read"], company_id: "company-1" });
  const page = await window(server);
  await logIn(page, "/console", made.json.key);
  const names = await page.getByRole("navigation", { name: "Sections" }).getByRole("link").allInnerTexts();
  assert.deepEqual(names, ["Overview", "Events", "Tasks"]);
  const response = await page.goto("/console/keys");
  assert.equal(response.status(), 403);
  await page.getByRole("alert").waitFor();
});
