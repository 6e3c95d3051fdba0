// Requests to the console. Markup of the server is parsed as a document: no text becomes markup here.

/**
 * Loads a page or a part of one as a Document, whose scripts do not run.
 * @param {string} url
 * @param {{method?: string, body?: URLSearchParams, signal?: AbortSignal, isRefresh?: boolean}} options `isRefresh`: no person has
 *   asked for it, so it does not prolong the session.
 * @returns {Promise<Document>} also for a response that says that something failed; `document.status` is not kept.
 */
export function fetchPage(url, { method = "GET", body = null, signal = null, isRefresh = false } = {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    if (isRefresh) request.setRequestHeader("x-hookmill-refresh", "1");
    request.responseType = "document";
    request.onload = () => {
      // Without a session, the server leads to its login, or answers with it.
      if (request.status === 401 || new URL(request.responseURL).pathname.startsWith("/console/login")) reject(new Error("you are logged out; log in in another tab, and try again"));
      else if (request.response) resolve(request.response);
      else reject(new Error(`${request.status}`));
    };
    request.onerror = () => reject(new Error("the server cannot be reached"));
    request.onabort = () => reject(new DOMException("aborted", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/**
 * Replaces what an element contains by an element of a loaded page.
 * @param {Element} target
 * @param {Element|null} from
 */
export function replaceWith(target, from) {
  if (from) target.replaceChildren(...document.importNode(from, true).childNodes);
}
