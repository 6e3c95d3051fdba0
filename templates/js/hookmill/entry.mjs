// What hookmill calls. It calls mapper.js, and says where an exception was thrown. You need not change it.
import { setClock, shown } from "./globals.mjs";
import { write } from "hookmill:mapper/log@1.2.0";
import { transform as map } from "../mapper.js";

export function transform(payload, context) {
  setClock(context.receivedAt);
  try {
    return checked(map(payload, context));
  } catch (error) {
    // A refusal.
    if (typeof error?.payload?.message === "string") throw error;
    const stack = typeof error?.stack === "string" ? error.stack.trimEnd() : "";
    // The first place that is not in here: "    at name (/mapper.js:12:5)".
    const places = [...stack.matchAll(/\(?\/([^\s():]+:\d+:\d+)\)?$/gm)].map((it) => it[1]);
    const place = places.find((it) => !it.startsWith("hookmill/")) ?? "mapper.js";
    const text = error instanceof Error ? String(error) : `threw ${shown(error)}`;
    // Then hookmill reports this line as the reason of the crash.
    write("error", `crash: ${place}: ${text.replaceAll("\n", " ")}${stack && "\n"}${stack}`);
    throw error;
  }
}

function checked(outcome) {
  const { tag, val } = outcome ?? {};
  if (tag === "skip" && typeof val === "string") return outcome;
  if (tag === "tasks" && Array.isArray(val)) {
    return { tag, val: val.map((it) => (typeof it === "string" ? it : JSON.stringify(it))) };
  }
  const got = typeof outcome?.then === "function" ? "a promise; it must not be async" : JSON.stringify(outcome);
  throw new Error(`transform returned ${got}; return { tag: "tasks", val: [task] } or { tag: "skip", val: "why" }`);
}
