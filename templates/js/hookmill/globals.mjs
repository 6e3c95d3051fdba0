// `console` and `Date`, which the sandbox's engine does not have. Evaluated before mapper.js.
import { write } from "hookmill:mapper/log@1.2.0";

// When the event was received, in milliseconds; undefined while the module is built.
let received;

// Sets the clock.
export function setClock(time) {
  received = Date.parse(time);
}

function now() {
  if (received === undefined) throw new Error("the time is known only in transform, not while the module is built");
  return received;
}

const Time = Date;

// Like the engine's Date, except that "now" is the time of the event: a replay gets the same.
function Clock(...parts) {
  if (!new.target) return new Time(now()).toString();
  return Reflect.construct(Time, parts.length > 0 ? parts : [now()], new.target);
}
Object.setPrototypeOf(Clock, Time);
Object.defineProperty(Clock, "name", { value: "Date" });
Object.defineProperty(Clock, "length", { value: 7 });
Clock.prototype = Time.prototype;
Clock.prototype.constructor = Clock;
Clock.now = now;
globalThis.Date = Clock;
// Time does not pass during a call.
Object.defineProperty(globalThis, "performance", { value: { now: () => 0 } });

// Returns a value as text for people.
export function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return `${value}\n${value.stack ?? ""}`.trimEnd();
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

const line = (level) => (...values) => write(level, values.map(shown).join(" "));
globalThis.console = {
  log: line("info"), info: line("info"), debug: line("debug"), trace: line("debug"), warn: line("warn"), error: line("error"),
};
