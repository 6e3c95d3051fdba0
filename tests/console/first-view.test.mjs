// The first view: its size, that it asks nobody else, and the keyboard. The time until something is painted is printed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Server, closeBrowser, logIn, window } from "./harness.mjs";
import { seed } from "./seed.mjs";

let server, visitor;
before(async () => {
  server = await Server.start();
  await seed(server);
  visitor = await window(server);
  await logIn(visitor);
});
after(async () => { await closeBrowser(); await server.close(); });

/** Of a page that is opened with an empty cache: bytes as they are sent, and the first contentful paint in ms. */
async function firstView(path) {
  await visitor.goto("about:blank");
  const session = await visitor.context().newCDPSession(visitor);
  await session.send("Network.enable");
  await session.send("Network.clearBrowserCache");
  let bytes = 0;
  session.on("Network.loadingFinished", (it) => { bytes += it.encodedDataLength; });
  await visitor.goto(path, { waitUntil: "load" });
  await visitor.waitForLoadState("networkidle");
  const painted = await visitor.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  assert.deepEqual(visitor.problems, []);
  await session.detach();
  return { bytes, painted };
}

// The window is there before: a new one loads pages of the browser's own at the same time.
test("the first view is at most 40 KB as it is sent", async (t) => {
  for (const path of ["/console", "/console/events", "/console/tasks"]) {
    const views = [];
    for (let n = 0; n < 9; n += 1) views.push(await firstView(path));
    const paints = views.map((it) => it.painted).sort((a, b) => a - b);
    t.diagnostic(`${path}: ${views[0].bytes} bytes, first contentful paint ${paints.map((it) => it.toFixed(0)).join(", ")} ms`);
    for (const { bytes } of views) assert.ok(bytes > 10_000 && bytes <= 40_000, `${path}: ${bytes} bytes`);
  }
});

test("the keyboard alone is enough", async () => {
  const page = await window(server);
  await logIn(page);
  await page.keyboard.press("Tab");
  const skip = page.getByRole("link", { name: "Skip to the content" });
  assert.ok(await skip.evaluate((it) => it === document.activeElement && it.getBoundingClientRect().top >= 0));
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.keyboard.press("Shift+?");
  await page.getByRole("dialog", { name: "Help" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("e");
  await page.waitForURL("**/console/events*");
  await page.keyboard.press("/");
  assert.ok(await page.evaluate(() => document.activeElement.matches("input")));
  // In a field, keys are text.
  await page.keyboard.type("g?t");
  assert.ok(await page.evaluate(() => document.activeElement.value.endsWith("g?t")));
  // The focus is visible.
  const width = await page.evaluate(() => getComputedStyle(document.activeElement).outlineWidth);
  assert.notEqual(width, "0px");
});

test("times are in the viewer's zone, and exact on hover", async () => {
  const page = await window(server, { timezoneId: "America/New_York" });
  await logIn(page, "/console/events");
  const time = page.locator("main time").first();
  const [shown, exact, sent] = await time.evaluate((it) => [it.textContent, it.title, it.dateTime]);
  const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", hour12: false, timeZone: "America/New_York" }).format(new Date(sent));
  assert.ok(shown.includes(`${hour}:`), `${shown} is not ${sent} in New York`);
  assert.ok(exact.includes(sent), exact);
});
