// Data as a clinic would have it: deliveries that became tasks, some in quarantine, one without a plugin, and hostile ones.
import assert from "node:assert/strict";

/** Markup, hidden characters, and names that look like others. */
export const HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u202egpj.exe\u0000\u001b[31m{{7*7}}'\"`&lt;";

/** A delivery to an integration. */
export async function deliver(server, integration, payload, headers = {}) {
  return server.api("POST", `/v1/hooks/${integration}`, payload, headers);
}

const task = (title, more = {}) => ({
  title, description: "Asks for a refill", assigned_user_ids: ["user_1"], created_by_id: "user_9", deadline: "2026-12-01T09:00:00Z", ...more,
});

/** Fills a server, and returns the ids of what the tests look at. */
export async function seed(server, deliveries = BOOKINGS) {
  const ids = { events: {}, tasks: [] };
  for (let n = 0; n < 12; n += 1) {
    const made = await server.api("POST", "/v1/tasks", task(`Call back ${n}`, { priority: n % 2 ? "high" : "low", patient_id: `p-${n}` }));
    assert.equal(made.status, 201, made.text);
    ids.tasks.push(made.json.id ?? made.json.data?.id);
    ids.events.task = made.headers.get("x-event-id");
  }
  const wrong = await server.api("POST", "/v1/tasks", { title: "", priority: "sometimes", description: HOSTILE });
  ids.events.quarantined = wrong.headers.get("x-event-id") ?? wrong.json?.event_id;
  const hostile = await server.api("POST", "/v1/tasks", task(HOSTILE, { description: HOSTILE, tags: [HOSTILE], note: HOSTILE }));
  ids.events.hostile = hostile.headers.get("x-event-id") ?? hostile.json?.event_id;
  const long = await server.api("POST", "/v1/tasks", task("Long", { description: "x", line: "a".repeat((1 << 20) - 2000) }));
  ids.events.long = long.headers.get("x-event-id") ?? long.json?.event_id;
  const keys = Object.fromEntries(Array.from({ length: 10_000 }, (_, n) => [`key ${n} <b>`, n]));
  const many = await server.api("POST", "/v1/tasks", task("Many", { keys }));
  ids.events.many = many.headers.get("x-event-id") ?? many.json?.event_id;
  for (const [integration, name, payload] of deliveries) {
    const sent = await deliver(server, integration, payload);
    ids.events[name] = sent.headers.get("x-event-id") ?? sent.json?.event_id;
  }
  return ids;
}

/** What the plugins of the tests get. */
export const BOOKINGS = [
  ["bookings", "booking", { id: "b-1", kind: "visit", name: "Noa Example", notes: "Brings two guests", guests: 2 }],
  ["bookings", "again", { id: "b-1", kind: "visit", name: "Noa Example", notes: "Brings three guests", guests: 3 }],
  ["bookings", "skipped", { id: "b-2", kind: "test" }],
  ["bookings", "refused", { id: "b-3", kind: "call" }],
  ["bookings", "violating", { id: "b-4", kind: "journey", guests: 99, name: HOSTILE }],
];
