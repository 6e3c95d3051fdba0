// A real server with a data directory of its own, a real Chromium, and what tests share.
import { spawn, execFileSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const BINARY = resolve(ROOT, process.env.HOOKMILL_BIN ?? "target/release/hookmill");
const SHOTS = process.env.HOOKMILL_SCREENSHOTS ?? join(ROOT, "target/console");
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
export const KEY = "hm_key_of_the_browser_tests_0123456789";
export const COMPANY = "company-1";

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  return port;
}

/** A server with the plugins of the tests, and the API as its clients see it. */
export class Server {
  static async start({ plugins = join(ROOT, "tests/console/plugins"), settings = "", env = {} } = {}) {
    const server = new Server();
    server.folder = mkdtempSync(join(tmpdir(), "hookmill-console-"));
    server.plugins = join(server.folder, "plugins");
    cpSync(plugins, server.plugins, { recursive: true });
    writeFileSync(join(server.folder, "hookmill.toml"), settings);
    server.env = env;
    await server.run();
    return server;
  }

  /** Starts the process, also again on the same data. */
  async run() {
    this.port ??= await freePort();
    this.url = `http://127.0.0.1:${this.port}`;
    const args = ["serve", "--config", "hookmill.toml", "--listen", `127.0.0.1:${this.port}`, "--data-dir", "data", "--plugins-dir", "plugins"];
    const env = { ...process.env, HOOKMILL_BOOTSTRAP_KEY: KEY, GITHUB_SECRET: "the secret of the browser tests", ...this.env };
    this.log = "";
    this.process = spawn(BINARY, args, { cwd: this.folder, env, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (it) => { this.log += it; });
    for (let n = 0; ; n += 1) {
      const ready = await fetch(`${this.url}/readyz`).then((it) => it.status === 200, () => false);
      if (ready) return;
      if (n > 600 || this.process.exitCode !== null) throw new Error(`the server does not start: ${this.log}`);
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  async stop() {
    if (this.process.exitCode !== null) return;
    const ended = once(this.process, "exit");
    this.process.kill("SIGTERM");
    await ended;
  }

  async close() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A request to the API: status and body. */
  async api(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: { "X-API-Key": KEY, ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    });
    const text = await response.text();
    let json = null;
    try { json = JSON.parse(text); } catch { /* not JSON */ }
    return { status: response.status, headers: response.headers, text, json };
  }

  /** A command of the same binary. */
  command(...args) {
    return execFileSync(BINARY, args, { cwd: this.folder, encoding: "utf8" });
  }
}

let browser = null;

/** A new window without cookies. It fails a test when a page logs an error, or asks another host for something. */
export async function window(server, options = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ baseURL: server.url, viewport: { width: 1280, height: 860 }, locale: "en-GB", timezoneId: "Europe/Berlin", ...options });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.problems = [];
  // A page that says that something was refused has a status for it.
  page.on("console", (it) => { if (it.type() === "error" && !/status of (4|5)\d\d/.test(it.text())) page.problems.push(it.text()); });
  page.on("pageerror", (it) => page.problems.push(String(it)));
  page.on("request", (it) => { if (!it.url().startsWith(server.url)) page.problems.push(`asks ${it.url()}`); });
  return page;
}

export async function closeBrowser() {
  await browser?.close();
  browser = null;
}

/** Logs in with a key, and opens a page. */
export async function logIn(page, path = "/console", key = KEY) {
  await page.goto(path);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((it) => it.pathname === path.split("?")[0]);
}

/** Keeps a picture of a page for people to look at. */
export async function screenshot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
}

/** What axe-core finds wrong: rule, element. */
export async function findings(page) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap((it) => it.nodes.map((node) => `${it.id}: ${node.target.join(" ")} ${node.failureSummary?.split("\n")[1]?.trim() ?? ""}`));
}

export { existsSync, readFileSync, writeFileSync, join };
