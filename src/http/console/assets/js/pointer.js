// Where in a JSON text the value is that a JSON Pointer (RFC 6901) names.

/**
 * @param {string} text
 * @param {string} pointer
 * @returns {{from: number, to: number}|null} null if the text is not JSON, or has no such value.
 */
export function placeOf(text, pointer) {
  const steps = pointer === "" ? [] : pointer.slice(1).split("/").map((it) => it.replaceAll("~1", "/").replaceAll("~0", "~"));
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  let at = 0;
  const space = () => { while (" \t\r\n".includes(text[at]) && at < text.length) at += 1; };
  const string = () => {
    const from = at;
    for (at += 1; text[at] !== '"'; at += 1) if (text[at] === "\\") at += 1;
    at += 1;
    return text.slice(from, at);
  };
  // Passes over a value without recursion: it may be nested deeply.
  const skip = () => {
    let depth = 0;
    do {
      space();
      const it = text[at];
      if (it === '"') string();
      else if (it === "{" || it === "[") { depth += 1; at += 1; }
      else if (it === "}" || it === "]") { depth -= 1; at += 1; }
      else if (it === "," || it === ":") at += 1;
      else while (at < text.length && !",:]} \t\r\n".includes(text[at])) at += 1;
    } while (depth > 0 && at < text.length);
  };
  for (const step of steps) {
    space();
    const open = text[at];
    if (open !== "{" && open !== "[") return null;
    at += 1;
    let found = false;
    for (let index = 0; !found; index += 1) {
      space();
      if (text[at] === "}" || text[at] === "]") return null;
      let name = String(index);
      if (open === "{") {
        name = JSON.parse(string());
        space();
        at += 1;
      }
      found = name === step;
      if (!found) {
        skip();
        space();
        if (text[at] !== ",") return null;
        at += 1;
      }
    }
  }
  space();
  const from = at;
  skip();
  return { from, to: at };
}
