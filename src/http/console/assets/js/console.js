// What every page has: times in the viewer's zone, keys, copy buttons, and the modules that a page asks for.
import { fetchPage } from "./page.js";

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const short = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Shows the times below `root` in the viewer's zone; on hover also exactly, as the API has them. */
export function showTimes(root) {
  for (const it of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(it.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    it.dataset.local = "";
    it.title = `${exact.format(at)} (${it.dateTime})`;
    it.textContent = short.format(at);
  }
}

const GO = { o: "/console", e: "/console/events", t: "/console/tasks", p: "/console/plugins", b: "/console/bench", c: "/console/connect", k: "/console/keys", a: "/console/audit", s: "/console/system" };
let goes = false;

function isTyping(target) {
  return target.closest("input, textarea, select, [contenteditable]") !== null;
}

async function showHelp() {
  let dialog = document.querySelector("dialog.help");
  if (!dialog) {
    const page = await fetchPage("/console/help");
    dialog = document.createElement("dialog");
    dialog.className = "help";
    dialog.setAttribute("aria-label", "Help");
    const close = document.createElement("form");
    close.method = "dialog";
    const button = document.createElement("button");
    button.textContent = "Close";
    close.append(button);
    dialog.append(close, ...document.importNode(page.querySelector("main"), true).childNodes);
    document.body.append(dialog);
  }
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "?") {
    event.preventDefault();
    showHelp();
  } else if (event.key === "/") {
    const field = document.querySelector("main input[type=search], main input[type=text]");
    if (field) {
      event.preventDefault();
      field.focus();
    }
  } else if (goes && GO[event.key]) {
    const link = document.querySelector(`.top nav a[href^="${GO[event.key]}"]`);
    if (link) location.assign(link.href);
  }
  goes = event.key === "g" && !goes;
});

document.addEventListener("click", async (event) => {
  const help = event.target.closest("[data-help]");
  if (help && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    showHelp();
  }
  const copy = event.target.closest("button[data-copy]");
  if (copy) {
    const from = document.getElementById(copy.dataset.copy);
    // Browsers have no clipboard for pages without TLS: there the text is selected, to be copied with the keyboard.
    if (!navigator.clipboard) {
      if (from.select) from.select();
      else getSelection().selectAllChildren(from);
      return;
    }
    await navigator.clipboard.writeText(from.value ?? from.textContent);
    const before = copy.textContent;
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = before; }, 1500);
  }
});

// A button that only a script can serve is shown only with scripts.
for (const it of document.querySelectorAll("[data-scripted]")) it.hidden = false;
showTimes(document);

/** Starts the modules that elements below `root` name: `<form data-module="editor">`. */
export function startModules(root) {
  for (const it of root.querySelectorAll("[data-module]")) {
    import(`./${it.dataset.module}.js`).then((module) => module.start(it));
  }
}
startModules(document);
