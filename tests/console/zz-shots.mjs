import { Server, closeBrowser, findings, logIn, screenshot, window } from "./harness.mjs";
import { seed } from "./seed.mjs";
const server = await Server.start();
const ids = await seed(server);
const all = { overview: "/console", o1h: "/console?window=1h", tasks: "/console/tasks", task: `/console/tasks/${ids.tasks[0]}`, keys: "/console/keys", audit: "/console/audit", system: "/console/system" };
for (const [kind, options] of Object.entries({ light: {}, dark: { colorScheme: "dark" }, narrow: { viewport: { width: 320, height: 800 } }, forced: { forcedColors: "active" } })) {
  const page = await window(server, options);
  await logIn(page);
  for (const [name, path] of Object.entries(all)) {
    await page.goto(path);
    await screenshot(page, `cb-${kind}-${name}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    console.log(kind, name, "overflow", wide, JSON.stringify(await findings(page)), JSON.stringify(page.problems));
    page.problems.length = 0;
  }
}
const op = await window(server);
await op.goto(server.command("console", "--data-dir", "data").trim());
await op.getByRole("button", { name: "Log in" }).click();
await op.waitForURL("**/console");
await op.goto("/console/system");
await screenshot(op, "cb-op-system");
console.log("op system", JSON.stringify(await findings(op)), JSON.stringify(op.problems));
await closeBrowser(); await server.close();
