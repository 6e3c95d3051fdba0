// Expressions as in n8n, for the table [task] in plugin.toml.
(prelude) => {
  "use strict";
  const { DateTime, Skip, Wrong, evaluate } = prelude;

  /** An error in an expression, with the field that it belongs to. */
  class FieldError {
    constructor(error, field, expression) { Object.assign(this, { error, field, expression }); }
  }
  prelude.FieldError = FieldError;

  /** What every expression can use; what another node or workflow would know is not here. */
  const nodes = "refers to other nodes or runs of a workflow; here is only this delivery, in $json";
  const ABSENT = {
    $node: nodes, $items: nodes, $prevNode: nodes, $runIndex: nodes, $execution: nodes, $workflow: nodes, $binary: nodes,
    $parameter: nodes, $nodeVersion: nodes, $nodeId: nodes, $webhookId: nodes, $pageCount: nodes, $request: nodes, $response: nodes,
    $env: "is not available; put settings into [config] in plugin.toml and read $config",
    $vars: "is not available; put settings into [config] in plugin.toml and read $config",
    $secrets: "is never available to mappings",
    $jmespath: "is not available; use filter(), map() and find() of arrays",
    skip: "is not available in expressions; write `when`, or a script", refuse: "is not available in expressions; write a script",
    $fromAI: "is not available", $evaluateExpression: "is not available", $getWorkflowStaticData: "is not available",
  };
  let prepared;

  function offer(name, get) { Object.defineProperty(globalThis, name, { get, configurable: true }); }
  function offerAll() {
    for (const [name, why] of Object.entries(ABSENT)) offer(name, () => { throw new ReferenceError(`${name} ${why}`); });
    globalThis.$ = (name) => { throw new ReferenceError(`$("${name}") ${nodes}`); };
    offer("$now", () => DateTime.now());
    offer("$today", () => DateTime.now().startOf("day"));
    globalThis.$if = (condition, yes, no) => (condition ? yes : no);
    globalThis.$ifEmpty = (value, other) => (isEmpty(value) ? other : value);
    globalThis.$min = Math.min;
    globalThis.$max = Math.max;
    extend();
  }

  const isEmpty = (value) =>
    value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0)
      || (typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0);

  /** The methods of n8n's expressions that people use most, made at build time: what a script's memory needs of its own is copied for every call. */
  const EXTENSIONS = (() => {
    const found = [];
    const add = (prototype, methods) => found.push([prototype, methods]);
    const title = (text) => text.replace(/\p{L}+/gu, (word) => word[0].toUpperCase() + word.slice(1).toLowerCase());
    const email = /[\w.+-]+@[\w-]+(?:\.[\w-]+)+/;
    const key = (value) => (typeof value === "object" ? JSON.stringify(value) : `${typeof value}:${value}`);
    const unique = (list) => [...new Map(list.map((it) => [key(it), it])).values()];
    const numbers = (list) => list.map((it) => { const number = Number(it); if (Number.isNaN(number)) throw new TypeError("an item of the list is not a number"); return number; });
    const parsed = (text) => { const found = DateTime.parse(text); if (!found.isValid) throw new RangeError(found.invalidReason); return found; };
    const toNumber = (text) => { const number = Number(text); if (String(text).trim() === "" || Number.isNaN(number)) throw new TypeError(`"${text}" is not a number`); return number; };
    add(Object.prototype, {
      isEmpty() { return isEmpty(this); }, isNotEmpty() { return !isEmpty(this); }, hasField(name) { return Object.hasOwn(this, name); },
      keys() { return Object.keys(this); }, values() { return Object.values(this); }, toJsonString() { return JSON.stringify(this); },
      compact() { return Object.fromEntries(Object.entries(this).filter(([, it]) => !isEmpty(it))); },
      removeField(name) { const { [name]: _, ...rest } = this; return rest; }, merge(other) { return { ...other, ...this }; },
    });
    add(Array.prototype, {
      first() { return this[0]; }, last() { return this[this.length - 1]; }, isEmpty() { return this.length === 0; }, isNotEmpty() { return this.length > 0; },
      unique() { return unique(this); }, removeDuplicates() { return unique(this); },
      pluck(...names) { return names.length === 1 ? this.map((it) => it?.[names[0]]) : this.map((it) => Object.fromEntries(names.map((name) => [name, it?.[name]]))); },
      sum() { return numbers(this).reduce((a, b) => a + b, 0); }, average() { return this.length ? this.sum() / this.length : 0; },
      min() { return Math.min(...numbers(this)); }, max() { return Math.max(...numbers(this)); }, compact() { return this.filter((it) => !isEmpty(it)); },
      append(...more) { return [...this, ...more]; }, chunk(size) { return Array.from({ length: Math.ceil(this.length / size) }, (_, index) => this.slice(index * size, (index + 1) * size)); },
      union(other) { return unique([...this, ...other]); }, intersection(other) { const there = new Set(other.map(key)); return unique(this.filter((it) => there.has(key(it)))); },
      difference(other) { const there = new Set(other.map(key)); return this.filter((it) => !there.has(key(it))); },
      randomItem() { return this[Math.floor(Math.random() * this.length)]; }, toJsonString() { return JSON.stringify(this); },
    });
    add(String.prototype, {
      isEmpty() { return this.length === 0; }, isNotEmpty() { return this.length > 0; }, toDateTime() { return parsed(String(this)); }, toDate() { return parsed(String(this)).toJSDate(); },
      toNumber() { return toNumber(this); }, toInt() { return Math.trunc(toNumber(this)); }, toFloat() { return toNumber(this); },
      toBoolean() { return !["false", "0", "no", ""].includes(this.toLowerCase().trim()); }, toTitleCase() { return title(String(this)); },
      toSentenceCase() { return this.charAt(0).toUpperCase() + this.slice(1).toLowerCase(); }, parseJson() { return JSON.parse(this); },
      extractEmail() { return email.exec(this)?.[0]; }, isEmail() { return email.exec(this)?.[0] === String(this); },
      extractDomain() { return email.exec(this)?.[0].split("@")[1] ?? /(?:[\w-]+\.)+[A-Za-z]{2,}/.exec(this)?.[0]; },
      extractUrl() { return /https?:\/\/[^\s"'<>]+/.exec(this)?.[0]; }, isUrl() { return /^https?:\/\/[^\s"'<>]+$/.test(this); },
      isNumeric() { return this.trim() !== "" && !Number.isNaN(Number(this)); }, removeTags() { return this.replace(/<[^>]*>/g, ""); },
      removeMarkdown() { return this.replace(/[*_`#>~]+/g, "").replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1"); },
      urlEncode() { return encodeURIComponent(this); }, urlDecode() { return decodeURIComponent(this); }, toJsonString() { return JSON.stringify(String(this)); },
      base64Encode() { return btoa(unescape(encodeURIComponent(this))); }, base64Decode() { return decodeURIComponent(escape(atob(this))); },
      quote(mark = '"') { return `${mark}${this.replaceAll(mark, `\\${mark}`)}${mark}`; },
    });
    add(Number.prototype, {
      isEmpty() { return false; }, isNotEmpty() { return true; }, round(digits = 0) { return Number.isInteger(+this) && digits >= 0 ? +this : /e/.test(this) ? Math.round(this * 10 ** digits) / 10 ** digits : +`${Math.round(+`${this}e${digits}`)}e${-digits}`; }, floor() { return Math.floor(this); }, ceil() { return Math.ceil(this); },
      abs() { return Math.abs(this); }, isEven() { return this % 2 === 0; }, isOdd() { return Math.abs(this % 2) === 1; }, isInteger() { return Number.isInteger(+this); },
      toBoolean() { return +this !== 0; }, toInt() { return Math.trunc(this); }, toNumber() { return +this; },
      toDateTime(unit = "ms") { return unit === "s" ? DateTime.fromSeconds(+this) : DateTime.fromMillis(+this); },
    });
    add(Boolean.prototype, { isEmpty() { return false; }, isNotEmpty() { return true; }, toNumber() { return this == true ? 1 : 0; }, toInt() { return this == true ? 1 : 0; } });
    add(Date.prototype, { toDateTime() { return DateTime.fromJSDate(this); } });
    return found;
  })();
  function extend() {
    for (const [prototype, methods] of EXTENSIONS) {
      for (const name of Object.keys(methods)) {
        Object.defineProperty(prototype, name, { value: methods[name], writable: true, configurable: true });
      }
    }
  }

  /** Splits a text into texts and functions. */
  function template(written, field) {
    const text = /^=\s*[^=]/.test(written) && written.includes("{{") ? written.slice(1) : written;
    const parts = [];
    let at = 0;
    for (;;) {
      const start = text.indexOf("{{", at);
      if (start < 0) break;
      if (start > at) parts.push(text.slice(at, start));
      const [found, end] = expression(text, start, field);
      parts.push(found);
      at = end;
    }
    if (at < text.length) parts.push(text.slice(at));
    // An expression alone keeps its type, also with blanks around it.
    const own = parts.filter((it) => typeof it !== "string" || it.trim() !== "");
    return own.length === 1 && typeof own[0] !== "string" ? own : parts;
  }

  /** Compiles the expression that begins at `start`. A pair of braces can also be the end of an object in it. */
  function expression(text, start, field) {
    let first, end = text.indexOf("}}", start + 2);
    if (end < 0) throw new FieldError(new SyntaxError("`{{` without `}}`"), field, text.slice(start));
    const shortest = text.slice(start, end + 2);
    for (; end >= 0; end = text.indexOf("}}", end + 1)) {
      const source = text.slice(start + 2, end);
      if (source.trim() === "") throw new FieldError(new SyntaxError("the expression is empty"), field, shortest);
      try {
        const run = evaluate(`(function () { return (\n${source}\n); })`, "hookmill:expression");
        return [{ run, written: text.slice(start, end + 2) }, end + 2];
      } catch (error) {
        first ??= error;
      }
    }
    if (/\n/.test(shortest) && /end of string/.test(first.message)) first.message += '; in TOML, \\n between double quotes is a line break: write \\\\n';
    throw new FieldError(first, field, shortest);
  }

  function inText(value) {
    if (value === undefined || value === null) return "";
    if (value instanceof DateTime) {
      if (!value.isValid) throw new RangeError(`a date could not be read: ${value.invalidReason}`);
      return value.toISO();
    }
    if (typeof value === "number" && !Number.isFinite(value)) throw new RangeError(`the value is ${value}, not a number`);
    if (value instanceof Promise) throw new TypeError("the value is a promise");
    if (value instanceof Date) return value.toISOString();
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  function value(parts, field) {
    const run = (part, shown = (it) => it) => {
      try {
        return shown(part.run.call(undefined));
      } catch (error) {
        throw new FieldError(error, field, part.written);
      }
    };
    if (parts.length === 1 && typeof parts[0] !== "string") return run(parts[0]);
    return parts.map((it) => (typeof it === "string" ? it : run(it, inText))).join("");
  }

  /** Compiles the table. */
  prelude.compile = (table) => {
    offerAll();
    const { when, each, ...fields } = table;
    for (const [field, written] of [["when", when], ["each", each]]) {
      const parts = written === undefined ? undefined : template(written, field);
      if (parts !== undefined && (parts.length !== 1 || typeof parts[0] === "string")) throw new FieldError(new SyntaxError("write one expression in double braces, such as {{ $json.event }}"), field, written);
    }
    const compiled = (written, field) => (Array.isArray(written) ? written.map((it) => template(it, field)) : template(written, field));
    const all = Object.entries(fields).map(([field, written]) => [field, compiled(written, field), Array.isArray(written)]);
    prepared = {
      when: when === undefined ? undefined : template(when, "when"), written: when,
      each: each === undefined ? undefined : template(each, "each"), fields: all,
    };
  };

  /** Evaluates the fields for one item. */
  function task() {
    const found = {};
    for (const [field, parts, isList] of prepared.fields) {
      const result = isList ? parts.flatMap((it) => value(it, field)).filter((it) => !isEmpty(it)) : value(parts, field);
      if (result !== undefined && result !== null && result !== "") found[field] = result;
    }
    return found;
  }

  prelude.evaluateTask = (event, context) => {
    Object.assign(globalThis, {
      $event: event, $json: event, $itemIndex: 0, $headers: context.headers, $query: context.query, $path: context.path,
      $config: context.config, $receivedAt: DateTime.fromJSDate(context.receivedAt), $eventId: context.eventId,
    });
    globalThis.$input = { item: { json: event }, first: () => ({ json: event }), last: () => ({ json: event }), all: () => [{ json: event }] };
    if (prepared.when !== undefined) {
      const holds = value(prepared.when, "when");
      if (!holds || holds === "false") return new Skip(`when is not true: ${prepared.written}`);
    }
    if (prepared.each === undefined) return task();
    const items = value(prepared.each, "each");
    if (!Array.isArray(items)) throw Object.assign(new Wrong(`each is ${items === undefined ? "undefined" : JSON.stringify(items)?.slice(0, 60)}, not a list`), { field: "each" });
    if (items.length === 0) return new Skip("each is an empty list");
    return items.map((item, index) => {
      Object.assign(globalThis, { $json: item, $itemIndex: index });
      return task();
    });
  };
};
