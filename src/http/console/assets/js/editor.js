// The bench: fields with line numbers in which Tab indents, and a result that follows the text after each pause in typing.
import { fetchPage, replaceWith } from "./page.js";
import { showTimes } from "./console.js";
import { placesOf } from "./pointer.js";

const PAUSE = 400;
const BUSY = 1000;
/** Fields with more lines have no numbers: they would cost more than they tell. */
const NUMBERED = 6000;

/** @param {HTMLFormElement} form */
export function start(form) {
  for (const field of form.querySelectorAll("textarea[data-code]")) edit(field);
  for (const it of form.querySelectorAll(".hint")) it.hidden = false;
  let timer = 0;
  let running = null;

  async function run() {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const result = form.querySelector("#result");
    result.setAttribute("aria-busy", "true");
    try {
      const body = new URLSearchParams(new FormData(form));
      const page = await fetchPage(form.dataset.result, { method: "POST", body, signal });
      const found = page.querySelector("#result");
      replaceWith(result, found ?? page.querySelector("main"));
      showTimes(result);
      mark(form, result);
      if (result.querySelector("[data-retry]")) later(BUSY);
      result.removeAttribute("aria-busy");
    } catch (error) {
      if (error.name === "AbortError") return;
      result.removeAttribute("aria-busy");
      const said = document.createElement("p");
      said.className = "notice notice-bad";
      said.textContent = `No result: ${error.message}. It is tried again when you change something.`;
      result.replaceChildren(said);
    }
  }

  function later(pause) {
    clearTimeout(timer);
    timer = setTimeout(run, pause);
  }

  form.addEventListener("input", (event) => {
    if (event.target.matches("textarea, #received_at, #count_fuel")) later(PAUSE);
  });
  form.addEventListener("submit", (event) => {
    if (event.target !== form || event.submitter?.hasAttribute("formaction")) return;
    event.preventDefault();
    later(0);
  });
  // A place in the payload that the result names.
  form.addEventListener("click", (event) => {
    const pointer = event.target.closest("button.pointer");
    if (!pointer) return;
    const payload = form.querySelector("#payload");
    select(payload, placesOf(payload.value, [pointer.value]).get(pointer.value));
  });
  mark(form, form.querySelector("#result"));
}

/** Marks the line of an error, and makes places in the payload selectable. */
function mark(form, result) {
  for (const it of form.querySelectorAll(".gutter .bad")) it.classList.remove("bad");
  const wrong = result.querySelector("[data-file][data-line]");
  if (wrong) {
    const field = [...form.querySelectorAll("textarea[data-code]")].find((it) => it.dataset.code === wrong.dataset.file);
    field?.closest(".code")?.querySelector(".gutter")?.children[wrong.dataset.line - 1]?.classList.add("bad");
    if (field) {
      const go = button(`Go to line ${wrong.dataset.line}`);
      go.addEventListener("click", () => select(field, lineOf(field.value, Number(wrong.dataset.line))));
      wrong.append(go);
    }
  }
  // Only these are of the payload: a pointer into the plugin's output may be one of the payload, too.
  const named = [...result.querySelectorAll("code[data-pointer]")];
  const places = placesOf(form.querySelector("#payload").value, named.map((it) => it.dataset.pointer));
  for (const it of named) {
    const { pointer } = it.dataset;
    if (!places.has(pointer)) continue;
    const show = button(it.textContent);
    show.classList.add("link", "pointer", "mono");
    show.value = pointer;
    show.title = "Show it in the payload";
    it.replaceWith(show);
  }
}

function button(text) {
  const it = document.createElement("button");
  it.type = "button";
  it.textContent = text;
  return it;
}

function lineOf(text, line) {
  let from = 0;
  for (let n = 1; n < line; n += 1) {
    const next = text.indexOf("\n", from);
    if (next < 0) break;
    from = next + 1;
  }
  const end = text.indexOf("\n", from);
  return { from, to: end < 0 ? text.length : end };
}

function select(field, place) {
  if (!place) return;
  field.focus();
  field.setSelectionRange(place.from, place.to);
  const line = field.value.slice(0, place.from).split("\n").length;
  field.scrollTop = Math.max(0, (line - 4) * parseFloat(getComputedStyle(field).lineHeight));
}

/** Line numbers, and Tab. */
function edit(field) {
  const box = document.createElement("div");
  const gutter = document.createElement("div");
  box.className = "code";
  gutter.className = "gutter";
  gutter.setAttribute("aria-hidden", "true");
  field.replaceWith(box);
  box.append(gutter, field);
  field.wrap = "off";
  const number = () => {
    const lines = field.value.split("\n").length;
    const wanted = lines > NUMBERED ? 0 : lines;
    while (gutter.childElementCount > wanted) gutter.lastElementChild.remove();
    while (gutter.childElementCount < wanted) {
      const it = document.createElement("span");
      it.textContent = String(gutter.childElementCount + 1);
      gutter.append(it);
    }
    gutter.scrollTop = field.scrollTop;
  };
  field.addEventListener("input", number);
  field.addEventListener("scroll", () => { gutter.scrollTop = field.scrollTop; });
  number();
  let leaves = false;
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leaves = true;
      return;
    }
    if (event.key === "Tab" && !leaves && !event.ctrlKey && !event.altKey && !event.metaKey && !field.readOnly) {
      event.preventDefault();
      if (event.shiftKey) outdent(field);
      else insert(field, "  ");
    }
    if (event.key !== "Shift") leaves = false;
  });
  field.addEventListener("blur", () => { leaves = false; });
}

/** Types text, so that it can be undone. */
function insert(field, text) {
  if (!document.execCommand("insertText", false, text)) {
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}

function outdent(field) {
  const at = field.selectionStart;
  const from = field.value.lastIndexOf("\n", at - 1) + 1;
  const spaces = /^ {1,2}|^\t/.exec(field.value.slice(from, from + 2))?.[0].length ?? 0;
  if (spaces === 0) return;
  field.setRangeText("", from, from + spaces);
  field.setSelectionRange(Math.max(from, at - spaces), Math.max(from, at - spaces));
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
