// A form whose answer takes long: says that it is being waited for, and for how long already. Nothing that was entered is lost
// when there is no answer.
import { fetchPage, replaceWith } from "./page.js";
import { showTimes, startModules } from "./console.js";

/** @param {HTMLFormElement} form */
export function start(form) {
  const busy = form.querySelector(".busy");
  const failed = form.querySelector(".failed");
  let running = null;

  async function send(submitter) {
    running = new AbortController();
    const body = new URLSearchParams(new FormData(form, submitter));
    const since = Date.now();
    const tick = () => { busy.querySelector(".seconds").textContent = `${Math.round((Date.now() - since) / 1000)} s`; };
    const timer = setInterval(tick, 1000);
    const buttons = form.querySelectorAll("button[type=submit]");
    for (const it of buttons) it.disabled = true;
    busy.hidden = false;
    failed.replaceChildren();
    try {
      show(await fetchPage(form.action, { method: "POST", body, signal: running.signal }));
    } catch (error) {
      const stopped = error.name === "AbortError";
      say(stopped ? "Stopped." : `No answer: ${error.message}.`, stopped ? "notice" : "notice notice-bad");
    } finally {
      clearInterval(timer);
      busy.hidden = true;
      for (const it of buttons) it.disabled = false;
      running = null;
    }
  }

  /** Takes over the page that was answered, if it has the form with what was entered. */
  function show(page) {
    const main = document.querySelector("main");
    const answered = page.querySelector("main");
    if (answered?.querySelector("form[data-module=busy]")) {
      replaceWith(main, answered);
      showTimes(main);
      startModules(main);
      main.focus();
    } else {
      say(answered?.querySelector(".notice-bad")?.textContent ?? "The server failed.", "notice notice-bad");
    }
  }

  function say(text, style) {
    const it = document.createElement("p");
    it.className = style;
    it.textContent = text;
    failed.replaceChildren(it);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) send(event.submitter);
  });
  busy.querySelector("button").addEventListener("click", () => running?.abort());
}
