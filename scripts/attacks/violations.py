"""Senders whose bodies break as many rules as fit."""
import json

from . import wasm
from .folders import DRAFT, folder
from .target import JSON, Attack
from .wire import ask

MIB, SECONDS = 1 << 20, 8
SCHEMA = {"$schema": DRAFT, "type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}},
          "additionalProperties": {"type": "integer", "minimum": 5, "multipleOf": 7}}
MISSING = {"$schema": DRAFT, "type": "array", "items": {"type": "object", "required": [f"field-{n}" for n in range(200)]}}
GENEROUS = "output_kib = 16384\ntime_ms = 5000\nmemory_mib = 64"


def prepare(work):
    folder(work, "typed", schema=SCHEMA, auth='scheme = "api-key"', company="company-1")
    folder(work, "says", wasm.says(b"{}", 15), auth='scheme = "api-key"', company="company-1", limits=GENEROUS)
    folder(work, "missing", schema=MISSING, auth='scheme = "api-key"', company="company-1")


def many(item, start, end):
    """A JSON text of nearly a MiB with this item over and over."""
    count = (MIB - len(start) - len(end)) // (len(item) + 1)
    return (start + ",".join([item] * count) + end).encode()


def post(target, words, path, body, headers=JSON):
    with target.step(f"{words} ({len(body) / MIB:.1f} MiB)") as step:
        status, _, size = ask(target.address, "POST", path, body, headers, SECONDS)
        step.answers[f"{status or 'no answer'} with {size:,} bytes"] += 1
    target.settle()


def run(target):
    task = '{"title":"t","description":"d","created_by_id":"u","deadline":"2027-01-01","assigned_user_ids":['
    wrong = many("1", task, "]}")
    _, key = target.post("/v1/admin/keys", {"company_id": "company-1", "scopes": ["tasks:write"], "strict": True})
    strict = JSON | {"X-API-Key": key["key"]}
    named = {f"n{number}": 1 for number in range(75_000)}
    post(target, "a task with wrongly typed items", "/v1/tasks", wrong, strict)
    post(target, "a batch of four such tasks", "/v1/tasks/batch", b"\n".join([wrong] * 4), strict | {"Content-Type": "application/x-ndjson"})
    post(target, "a delivery with wrongly typed items", "/v1/hooks/typed", many("0", '{"items":[', "]}"))
    post(target, "a delivery with wrong fields", "/v1/hooks/typed", json.dumps(named).encode())
    post(target, "a delivery whose items lack 200 fields", "/v1/hooks/missing", many("{}", "[", "]"))
    post(target, "a plugin that makes 5 million wrong tasks", "/v1/hooks/says", b"{}")


ATTACKS = [Attack("violations", "bodies of 1 MiB in which every item is wrong", run, prepare, 384)]
