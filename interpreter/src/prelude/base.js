// What surrounds a mapping: its log, its results and the description of its failures.
(prelude) => {
  "use strict";
  const { log, random } = prelude;
  const stringify = JSON.stringify;
  /** Maximum depth of a task. */
  const DEPTH = 64;

  /** Why an event creates no task. */
  class Skip {
    constructor(reason) { this.reason = String(reason ?? "no reason given"); }
  }
  /** Why a payload cannot be mapped. */
  class Refusal {
    constructor(message, pointer) {
      this.message = String(message ?? "no reason given");
      this.pointer = pointer == null ? null : String(pointer);
    }
  }
  /** What is wrong with a result, and where in it. */
  class Wrong {
    constructor(message, pointer) { this.message = message; this.pointer = pointer; }
  }
  prelude.Wrong = Wrong;
  prelude.Skip = Skip;

  /** Names of the mapping's own files. */
  let fileNames = new Set();
  /** The skip or refusal that was made last. */
  let made;
  /** The function that runs, for failures that have no place of their own. */
  let current;

  // The same event gets the same numbers.
  Math.random = random;

  function shown(value) {
    if (typeof value === "string") return value;
    if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
    if (typeof value === "function" || typeof value === "symbol" || value === undefined) return String(value);
    try {
      return stringify(value, (_, it) => (typeof it === "bigint" ? `${it}n` : it)) ?? String(value);
    } catch {
      return String(value);
    }
  }
  const writing = (level) => (...values) => log(level + values.map(shown).join(" "));
  globalThis.console = {
    log: writing(""), info: writing(""), debug: writing("debug: "), warn: writing("warn: "), error: writing("error: "),
    trace: writing(""),
  };

  /** Returns a stack at the place of the caller. */
  prelude.here = () => new Error().stack;

  /** Sets a mapping up; returns the name of a script's file. */
  prelude.prepared = (described) => {
    fileNames = new Set(Object.keys(described.files ?? {}));
    prelude.setZones(described.zone, described.zones);
    if (described.task) {
      prelude.compile(described.task);
      return undefined;
    }
    for (const [name, text] of Object.entries(described.files)) {
      if (name.endsWith(".json")) {
        try {
          JSON.parse(text);
        } catch (error) {
          throw Object.assign(new SyntaxError(error.message), { stack: `    at ${name}:1:1` });
        }
        described.files[name] = `export default ${text.replace(/^\ufeff/, "")};`;
      }
    }
    return described.script;
  };

  /** Returns the function that a script exports. */
  prelude.exported = (namespace) => {
    const found = namespace.default;
    if (typeof found === "function") return (current = found);
    const names = Object.keys(namespace).filter((it) => it !== "default");
    if ("default" in namespace) throw new Wrong("`export default` must be a function: export default (event) => ({ title: … })");
    const others = names.length ? `; it exports ${names.map((it) => `\`${it}\``).join(", ")}` : "";
    throw new Wrong(`the script has no default export${others}; write: export default (event) => ({ title: … })`);
  };

  const skip = (reason) => (made = new Skip(reason));
  const refuse = (message, pointer) => (made = new Refusal(message, pointer));

  /** Maps a payload. */
  prelude.run = (script, event, context) => {
    context.receivedAt = new Date(context.receivedAt);
    if (script === undefined) return prelude.evaluateTask(event, context);
    context.skip = skip;
    context.refuse = refuse;
    return script(event, context);
  };

  /** Rejected promises that nobody has handled, with their reasons. */
  const rejections = new Map();
  prelude.rejected = (promise, reason, handled) => {
    if (handled) rejections.delete(promise); else rejections.set(promise, reason);
  };
  prelude.unhandled = () => {
    for (const reason of rejections.values()) throw reason;
  };

  prelude.unsettled = () => {
    throw new Wrong("the promise that the function returned never settles: in the sandbox there are no timers and no network to wait for");
  };

  /** Returns a value as JSON has it; anything that JSON would drop or change silently is wrong. */
  function plain(value, pointer, depth) {
    switch (typeof value) {
      case "string": case "boolean": return value;
      case "bigint": return String(value);
      case "number":
        if (Number.isFinite(value)) return value;
        throw new Wrong(`is ${value}, which is not a number in JSON`, pointer);
      case "function": case "symbol": throw new Wrong(`is a ${typeof value}, not a value`, pointer);
      case "undefined": return undefined;
    }
    if (value === null) return null;
    if (depth > DEPTH) throw new Wrong("is nested too deeply, or contains itself", pointer.split("/", 3).join("/"));
    if (value instanceof Date) {
      if (isNaN(value)) throw new Wrong("is a date that could not be read", pointer);
      return value.toISOString();
    }
    if (value instanceof DateTime) {
      if (!value.isValid) throw new Wrong(`is a date that could not be read: ${value.invalidReason}`, pointer);
      return value.toISO();
    }
    if (value instanceof Promise) throw new Wrong("is a promise; write `await` before it", pointer);
    if (value instanceof Set) value = [...value];
    if (value instanceof Map) value = Object.fromEntries(value);
    if (Array.isArray(value)) return value.map((it, index) => plain(it, `${pointer}/${index}`, depth + 1) ?? null);
    if (typeof value.toJSON === "function") return plain(value.toJSON(), pointer, depth + 1);
    const members = {};
    for (const name of Object.keys(value)) {
      const member = plain(value[name], `${pointer}/${name.replace(/~/g, "~0").replace(/\//g, "~1")}`, depth + 1);
      if (member !== undefined) {
        Object.defineProperty(members, name, { value: member, enumerable: true, writable: true, configurable: true });
      }
    }
    return members;
  }

  /** Takes `{ json: … }`, as n8n's Code node returns it, for what is in it. */
  const item = (value) =>
    value !== null && typeof value === "object" && value.json !== null && typeof value.json === "object"
      && Object.keys(value).every((it) => it === "json" || it === "pairedItem" || it === "binary") ? value.json : value;

  function task(value, index) {
    const found = item(value);
    if (found instanceof Skip || found instanceof Refusal) {
      throw new Wrong(`item ${index} of the returned array is a ${found instanceof Skip ? "skip" : "refusal"}; leave the item out, or return it alone`);
    }
    if (found === null || typeof found !== "object" || Array.isArray(found)) {
      throw new Wrong(`the function returned ${kind(found)}${index === null ? "" : ` as item ${index}`}; return a task such as { title: … }, an array of tasks, or skip("why")`);
    }
    return plain(found, index === null ? "/0" : `/${index}`, 0);
  }
  function kind(value) {
    if (value === null || value === undefined) return String(value);
    return Array.isArray(value) ? "an array" : `a ${typeof value}`;
  }

  /** Returns the output of a call, as JSON. */
  prelude.ended = (result) => {
    if (result instanceof Skip) return stringify({ skip: result.reason });
    if (result instanceof Refusal) return refused(result);
    // Otherwise a task is created that the author wanted to prevent.
    if (made instanceof Skip) throw new Wrong("skip() was called, but what it returns was not returned; write: return skip(\"why\")");
    if (made instanceof Refusal) throw new Wrong("refuse() was called, but what it returns was not thrown; write: throw refuse(\"why\")");
    if (!Array.isArray(result)) return stringify({ tasks: [task(result, null)] });
    if (result.length === 0) throw new Wrong("the function returned an empty array; return at least one task, or skip(\"why\")");
    return stringify({ tasks: result.map(task) });
  };
  const refused = (it) => stringify({ refused: { message: it.message, pointer: it.pointer } });

  /** What people try that is not there, and what to write instead. */
  const INSTEAD = {
    $json: "the payload is the first argument of the function",
    $input: "the payload is the first argument of the function",
    items: "the payload is the first argument of the function",
    $node: "there are no other nodes; the payload is the first argument of the function",
    $now: "write DateTime.now()",
    require: "import files next to the script: import names from \"./names.js\"; there are no packages",
    module: "write `export default` instead of `module.exports`",
    exports: "write `export default` instead of `exports`",
    fetch: "the sandbox has no network",
    XMLHttpRequest: "the sandbox has no network",
    setTimeout: "the sandbox has no timers",
    setInterval: "the sandbox has no timers",
    process: "settings are in `config`: ({ config }) => …, from [config] in plugin.toml",
    Buffer: "use atob() and btoa() for base64",
    structuredClone: "copy with { ...value }, or JSON.parse(JSON.stringify(value))",
    URL: "take texts apart with split() or match()",
    URLSearchParams: "the query of the request is in `query`: (event, { query }) => …",
    TextDecoder: "texts of the payload are decoded already",
    TextEncoder: "texts of the payload are decoded already",
    Intl: "use DateTime for dates; numbers have toFixed()",
    luxon: "DateTime is there without an import",
    moment: "use DateTime: DateTime.fromISO(text).plus({ days: 2 })",
  };
  function hint(error) {
    if (error instanceof SyntaxError && /await/.test(error.message)) return "; only an async function can wait: async (event) => …";
    const name = /^'?([\w$]+)'? is not defined/.exec(error.message)?.[1];
    return name !== undefined && Object.hasOwn(INSTEAD, name) ? `; ${INSTEAD[name]}` : "";
  }

  /** Returns the places of a stack that are in the mapping's own files. */
  function frames(stack) {
    const found = [];
    for (const line of String(stack ?? "").split("\n")) {
      const place = /(?:\(|at )([^()]+):(\d+):(\d+)\)?$/.exec(line);
      if (place && fileNames.has(place[1])) found.push({ file: place[1], line: +place[2], column: +place[3] });
    }
    return found;
  }
  function placeOf(fn) {
    return fn?.fileName ? { file: fn.fileName, line: fn.lineNumber, column: fn.columnNumber } : {};
  }

  /** Describes what was thrown. `thrown` is the stack where a value that is not an error was thrown. */
  prelude.failed = (error, thrown) => {
    if (error instanceof Refusal) return refused(error);
    if (error instanceof Skip) return stringify({ skip: error.reason });
    if (error instanceof Wrong) {
      const wrong = { message: error.message, pointer: error.pointer, field: error.field, expression: error.expression };
      return stringify({ wrong: { ...wrong, ...placeOf(current) } });
    }
    if (error instanceof prelude.FieldError) {
      const { error: cause, field, expression } = error;
      if (cause instanceof Wrong) return stringify({ wrong: { message: cause.message, field, expression } });
      const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : `threw ${shown(cause)}`;
      return stringify({ error: { message, field, expression } });
    }
    const isError = error instanceof Error;
    const where = frames(isError ? error.stack : thrown);
    const message = isError ? `${error.name}: ${error.message}${hint(error)}` : `threw ${shown(error)}`;
    const stack = where.slice(1, 9).map((it) => `${it.file}:${it.line}:${it.column}`);
    return stringify({ error: { message, ...(where[0] ?? placeOf(current)), stack } });
  };
  prelude.wrong = (message) => stringify({ wrong: { message } });
  prelude.setCurrent = (fn) => { current = fn; };
};
