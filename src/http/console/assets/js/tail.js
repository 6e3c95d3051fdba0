// The live tail of the list of events. It keeps at most 200 rows, changes the page once per frame, and waits while the list
// is being read: the pointer or the focus is on it.
import { showTimes } from "./console.js";

const ROWS = 200;

const cell = (row, content) => {
  const td = document.createElement("td");
  td.append(content);
  row.append(td);
};

const element = (name, text, attributes = {}) => {
  const it = document.createElement(name);
  it.textContent = text;
  for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
  return it;
};

const KINDS = { stored: "chip-ok", quarantined: "chip-bad", rejected: "chip-bad", duplicate: "chip-info" };

function rowOf(event) {
  const row = document.createElement("tr");
  row.dataset.event = event.id;
  row.dataset.status = event.status;
  const company = new URLSearchParams(location.search).get("company");
  const query = company ? `?company=${encodeURIComponent(company)}` : "";
  const url = `/console/events/${encodeURIComponent(event.id)}${query}`;
  const link = element("a", "", { href: url });
  link.append(element("time", event.received_at, { datetime: event.received_at, title: event.received_at }));
  cell(row, link);
  cell(row, event.integration);
  cell(row, element("span", event.status, { class: `chip ${KINDS[event.status] ?? "chip-warn"}` }));
  cell(row, event.code ? element("code", event.code) : "");
  cell(row, event.tasks ? String(event.tasks) : "");
  cell(row, element("a", event.id.slice(24), { href: url, class: "mono", title: event.id }));
  cell(row, event.size);
  const compare = new URLSearchParams(location.search);
  compare.set("compare", event.id);
  cell(row, element("a", "Compare", { href: `?${compare}` }));
  return row;
}

/** Starts the toggle in this element. */
export function start(root) {
  const button = root.querySelector("button");
  const state = root.querySelector("[data-tail-state]");
  const body = document.querySelector("#events tbody");
  if (!button) return;
  if (!body) {
    // The list is empty: with the first event, the page has a table.
    button.addEventListener("click", () => location.reload());
    button.textContent = "Refresh";
    return;
  }
  const table = body.closest("table");
  let source = null;
  let waiting = new Map();
  let omitted = 0;
  let lost = false;
  let shown = 0;
  let isPlanned = false;
  let isHeld = false;
  let said = 0;
  let planned = null;
  // Of a list with more pages, older events are on those.
  const rowIds = () => [...body.rows].map((row) => row.dataset.event).sort();
  const oldest = document.querySelector("nav.pager a[rel=next]") ? rowIds()[0] ?? "" : "";

  const say = (text) => {
    clearTimeout(planned);
    planned = null;
    state.textContent = text;
  };
  // Not each event is announced, but at most every two seconds how many there were.
  const sayCounts = () => {
    const left = said + 2000 - performance.now();
    if (left > 0) {
      planned ??= setTimeout(() => { planned = null; sayCounts(); }, left);
      return;
    }
    if (isHeld || !source) return;
    said = performance.now();
    if (!shown && !omitted && !lost) say("live");
    else say(`${shown} new${omitted ? `, ${omitted} more not shown` : ""}${lost ? ", and some were missed" : ""}`);
  };
  const draw = () => {
    isPlanned = false;
    if (isHeld || !source) return;
    const fragment = document.createDocumentFragment();
    for (const event of [...waiting.values()].reverse()) {
      const row = rowOf(event);
      const before = rowWith(event.id);
      if (before) {
        row.lastElementChild.replaceWith(before.lastElementChild);
        before.replaceWith(row);
        showTimes(row);
      } else {
        fragment.append(row);
        shown += 1;
      }
    }
    waiting = new Map();
    showTimes(fragment);
    body.prepend(fragment);
    while (body.rows.length > ROWS) body.deleteRow(-1);
    sayCounts();
  };
  const plan = () => {
    if (!isPlanned) {
      isPlanned = true;
      requestAnimationFrame(draw);
    }
  };
  const rowWith = (id) => body.querySelector(`tr[data-event="${CSS.escape(id)}"]`);
  const take = (message) => {
    const batch = JSON.parse(message.data);
    omitted += batch.omitted;
    // Ids are in the order of receipt. The page may have been loaded long ago, or lost its connection.
    const newest = [...rowIds(), ...waiting.keys()].sort().at(-1) ?? "";
    if (batch.older && batch.older > newest) lost = true;
    const isShown = (event) => event.id < oldest || (waiting.get(event.id) ?? rowWith(event.id)?.dataset)?.status === event.status;
    for (const event of [...batch.known.filter((it) => !isShown(it)), ...batch.events]) {
      waiting.delete(event.id);
      waiting.set(event.id, event);
      if (waiting.size > ROWS) {
        waiting.delete(waiting.keys().next().value);
        omitted += 1;
      }
    }
    if (isHeld && waiting.size) say(`paused, ${waiting.size} waiting`);
    if (waiting.size || omitted || lost) plan();
  };
  const stop = (text) => {
    isHeld = false;
    draw();
    source?.close();
    source = null;
    button.setAttribute("aria-pressed", "false");
    say(text);
  };
  const begin = () => {
    source = new EventSource(root.dataset.url);
    [shown, omitted, said, lost] = [0, 0, 0, false];
    button.setAttribute("aria-pressed", "true");
    say("live");
    source.onmessage = take;
    source.addEventListener("end", () => stop("ended"));
    source.onerror = () => {
      if (source?.readyState === EventSource.CLOSED) stop("not available now");
      else say("connecting again");
    };
    source.onopen = () => say("live");
  };
  const hold = (value) => {
    isHeld = value;
    if (!value) plan();
  };
  table.addEventListener("pointerenter", () => hold(true));
  table.addEventListener("pointerleave", () => hold(table.contains(document.activeElement)));
  table.addEventListener("focusin", () => hold(true));
  table.addEventListener("focusout", (event) => hold(table.contains(event.relatedTarget)));
  button.addEventListener("click", () => (source ? stop("") : begin()));
}
