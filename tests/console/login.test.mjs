// Logging in: sessions, cookies, other sites, and links of the operator.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { COMPANY, KEY, Server, closeBrowser, logIn, screenshot, window } from "./harness.mjs";

let server;
before(async () => { server = await Server.start(); });
after(async () => { await closeBrowser(); await server.close(); });

async function key(scopes) {
  const made = await server.api("POST", "/v1/admin/keys", { label: scopes.join(" "), scopes, company_id: COMPANY });
  assert.equal(made.status, 201, made.text);
  return made.json;
}

test("a key begins a session whose cookie no script reads, and which ends with logging out", async () => {
  const page = await window(server);
  await page.goto("/console?window=24h");
  await screenshot(page, "login");
  assert.equal(new URL(page.url()).pathname, "/console/login");
  await page.getByLabel("API key").fill("wrong");
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("alert").waitFor();
  await logIn(page);
  const [cookie] = await page.context().cookies(`${server.url}/console`);
  assert.equal(cookie.httpOnly && cookie.sameSite, "Strict");
  assert.ok(!cookie.value.includes(KEY) && (await page.evaluate(() => document.cookie)) === "");
  assert.equal((await page.context().cookies(`${server.url}/v1/tasks`)).length, 0, "the API is not called with it");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL("**/console/login");
  const again = await fetch(`${server.url}/console`, { headers: { cookie: `hookmill=${cookie.value}` }, redirect: "manual" });
  assert.equal(again.status, 303, "a copy of the cookie is worth nothing afterwards");
  assert.deepEqual(page.problems, []);
});

test("a session ends with its key", async () => {
  const { details: { id }, key: secret } = await key(["tasks:read"]);
  const page = await window(server);
  await logIn(page, "/console", secret);
  assert.equal((await server.api("DELETE", `/v1/admin/keys/${id}`)).status, 204);
  await page.goto("/console");
  assert.equal(new URL(page.url()).pathname, "/console/login");
});

test("another site's form changes nothing", async () => {
  const page = await window(server);
  await logIn(page);
  const [cookie] = await page.context().cookies(`${server.url}/console`);
  const headers = { cookie: `hookmill=${cookie.value}`, "content-type": "application/x-www-form-urlencoded" };
  const send = (more, body) => fetch(`${server.url}/console/logout`, { method: "POST", headers: { ...headers, ...more }, body, redirect: "manual" });
  const token = await page.locator("input[name=form_token]").first().inputValue();
  assert.equal((await send({ "sec-fetch-site": "cross-site" }, `form_token=${token}`)).status, 403);
  assert.equal((await send({ origin: "https://example.com" }, `form_token=${token}`)).status, 403);
  assert.equal((await send({}, "form_token=")).status, 403);
  assert.equal((await send({}, "")).status, 403);
  await page.goto("/console");
  assert.equal(new URL(page.url()).pathname, "/console");
  assert.equal((await send({ origin: server.url }, `form_token=${token}`)).status, 303);
});

test("the operator's link works once", async () => {
  const link = server.command("console", "--data-dir", "data").trim();
  assert.ok(link.startsWith(`${server.url}/console/login/`), link);
  const page = await window(server);
  await page.goto(link);
  // A program that looks at links before people do does not use it up.
  assert.equal((await fetch(link)).status, 200);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL("**/console");
  assert.ok(await page.getByText("operator", { exact: true }).isVisible());
  const other = await window(server);
  await other.goto(link);
  await other.getByRole("button", { name: "Log in" }).click();
  await other.getByText("has been used").waitFor();
});

test("behind a proxy with TLS the cookie is secure", async () => {
  const proxied = await Server.start({ settings: 'trusted_proxies = ["127.0.0.1"]\n' });
  const login = (headers) => fetch(`${proxied.url}/console/login`, {
    method: "POST", redirect: "manual", body: new URLSearchParams({ key: KEY }), headers,
  });
  const secure = (await login({ "x-forwarded-proto": "https" })).headers.get("set-cookie");
  assert.match(secure, /^__Secure-hookmill=.*; HttpOnly; SameSite=Strict; Secure$/);
  assert.doesNotMatch((await login({})).headers.get("set-cookie"), /Secure/);
  await proxied.close();
});

test("logins are limited for each address, and the page says for how long", async () => {
  const limited = await Server.start();
  const tries = [];
  for (let n = 0; n < 14; n += 1) {
    tries.push((await fetch(`${limited.url}/console/login`, { method: "POST", body: new URLSearchParams({ key: `no-${n}` }) })).status);
  }
  assert.deepEqual(new Set(tries.slice(0, 10)), new Set([401]));
  assert.ok(tries.includes(429));
  const page = await window(limited);
  await page.goto("/console/login");
  await page.getByLabel("API key").fill(KEY);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByText("Too many attempts").waitFor();
  await limited.close();
});

test("logging in and out is in the audit log", async () => {
  const { json } = await server.api("GET", "/v1/admin/audit?limit=100");
  const actions = json.data.map((it) => it.action);
  assert.ok(actions.includes("console.login") && actions.includes("console.logout"), actions.join(" "));
  assert.ok(!JSON.stringify(json).includes(KEY));
});

test("a form whose session has ended is kept through the login, and sent again with a button, without scripts", async () => {
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page, "/console/bench/bookings");
  await page.getByLabel("Payload (JSON)").fill('{\n  "id": "k", "kind": "visit", "name": "Kept Example"\n}');
  await page.context().clearCookies();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("You were logged out").waitFor();
  await screenshot(page, "login-kept");
  await page.getByRole("button", { name: "another tab" }).click();
  await page.getByText("no session yet").waitFor();
  await page.getByLabel("API key").fill("wrong");
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("API key").fill(KEY);
  await page.getByRole("button", { name: "Log in", exact: true }).click();
  await page.getByRole("heading", { name: "Send it again?" }).waitFor();
  await screenshot(page, "login-send-again");
  assert.equal(await page.getByText("Call Kept Example").count(), 0, "it is not sent by itself");
  await page.getByRole("button", { name: "Send it again" }).click();
  await page.getByText("Task 1: Call Kept Example").waitFor();
  assert.match(await page.getByLabel("Payload (JSON)").inputValue(), /Kept Example/);
  assert.deepEqual(page.problems, []);
});

test("a form that is too large to be kept is still in the previous page", async () => {
  const page = await window(server, { javaScriptEnabled: false });
  await logIn(page, "/console/bench/bookings");
  const large = `{"id":"k","kind":"visit","name":"Large Example","pad":"${"x".repeat(400_000)}"}`;
  await page.getByLabel("Payload (JSON)").fill(large);
  await page.context().clearCookies();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("larger than 256.0 KiB").waitFor();
  const other = await page.context().newPage();
  await logIn(other, "/console/events");
  await page.goBack();
  assert.equal(await page.getByLabel("Payload (JSON)").inputValue(), large);
  // The browser has loaded the page again, with the new session's token, and put back what was typed.
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("Task 1: Call Large Example").waitFor();
});
