// Where in a JSON text the values are that JSON Pointers (RFC 6901) name.

/**
 * Finds all of them in one pass.
 * @param {string} text
 * @param {Iterable<string>} pointers
 * @returns {Map<string, {from: number, to: number}>} without those that the text does not have; empty if it is not JSON.
 */
export function placesOf(text, pointers) {
  const places = new Map();
  try {
    JSON.parse(text);
  } catch {
    return places;
  }
  let at = 0;
  const space = () => { while (at < text.length && " \t\r\n".includes(text[at])) at += 1; };
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
  // As deep as the longest pointer.
  const value = (wanted) => {
    space();
    const from = at;
    if (wanted?.within.size > 0 && (text[at] === "{" || text[at] === "[")) members(wanted);
    else skip();
    for (const it of wanted?.pointers ?? []) places.set(it, { from, to: at });
  };
  const members = (wanted) => {
    const isObject = text[at] === "{";
    at += 1;
    for (let index = 0; ; index += 1) {
      space();
      if (text[at] === ",") {
        at += 1;
        space();
      }
      if (text[at] === "}" || text[at] === "]") break;
      let name = String(index);
      if (isObject) {
        name = JSON.parse(string());
        space();
        at += 1;
      }
      const found = wanted.within.get(name);
      // Of members with one name, the last counts.
      if (isObject && found) forget(found);
      value(found);
    }
    at += 1;
  };
  const forget = (wanted) => {
    for (const it of wanted.pointers) places.delete(it);
    for (const it of wanted.within.values()) forget(it);
  };
  value(tree(pointers));
  return places;
}

/** Pointers by their steps. */
function tree(pointers) {
  const root = { pointers: new Set(), within: new Map() };
  for (const pointer of pointers) {
    const steps = pointer === "" ? [] : pointer.slice(1).split("/").map((it) => it.replaceAll("~1", "/").replaceAll("~0", "~"));
    let at = root;
    for (const step of steps) {
      if (!at.within.has(step)) at.within.set(step, { pointers: new Set(), within: new Map() });
      at = at.within.get(step);
    }
    at.pointers.add(pointer);
  }
  return root;
}
