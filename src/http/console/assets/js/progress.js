// The state of work in the background: loaded again each second until it has ended. Nothing is replaced under somebody who uses it.
import { fetchPage, replaceWith } from "./page.js";
import { showTimes } from "./console.js";

export async function start(element) {
  const wait = (millis) => new Promise((resolve) => { setTimeout(resolve, millis); });
  for (let failures = 0; failures < 30;) {
    await wait(document.hidden ? 5000 : 1000);
    let loaded;
    try {
      loaded = (await fetchPage(location.href, { isRefresh: true })).getElementById(element.id);
      failures = loaded ? 0 : failures + 1;
    } catch {
      failures += 1;
    }
    if (!loaded) continue;
    const focused = element.contains(document.activeElement) && document.activeElement.textContent;
    replaceWith(element, loaded);
    showTimes(element);
    if (focused) [...element.querySelectorAll("a, button")].find((it) => it.textContent === focused)?.focus();
    if (!loaded.dataset.module) return;
  }
}
