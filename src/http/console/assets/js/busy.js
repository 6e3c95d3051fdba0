// A form whose answer takes long: says that it is being waited for, and for how long already.

/** @param {HTMLFormElement} form */
export function start(form) {
  const busy = form.querySelector(".busy");
  form.addEventListener("submit", () => {
    const since = Date.now();
    busy.hidden = false;
    // After the form was read.
    setTimeout(() => { for (const it of form.querySelectorAll("button")) it.disabled = true; }, 0);
    setInterval(() => { busy.querySelector(".seconds").textContent = `${Math.round((Date.now() - since) / 1000)} s`; }, 1000);
  });
  // A page that comes back from the browser's memory waits for nothing.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    busy.hidden = true;
    for (const it of form.querySelectorAll("button")) it.disabled = false;
  });
}
