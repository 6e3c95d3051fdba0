"""Holders of keys who ask for much and read nothing, or send much at once."""
import json, time

from .target import JSON, Attack
from .wire import Crowd, ask, at_once, head

SECONDS, BIG = 6, 1_000_000
TASK = {"title": "t", "description": "d" * BIG, "created_by_id": "u", "deadline": "2027-01-01", "assigned_user_ids": ["u"],
        "patient_id": "big"}
KEYED = {"method": "POST", "path": "/v1/tasks", "body": json.dumps(TASK | {"description": "d", "patient_id": None}), "headers": JSON, "every": 0.05, "timeout": 5}
MIB = 1 << 20


def unread(target, words, count, path):
    """Requests whose answers nobody reads."""
    with target.step(f"{count} unread {words}", keyed=KEYED):
        Crowd(target.address, head("GET", path, JSON), reads=False, buffer=4096).run(count, SECONDS).close()
    target.settle()


def bodies(target, words, count, length, sent):
    with target.step(f"{count} {words}", keyed=KEYED) as step:
        batch = Crowd(target.address, head("POST", "/v1/tasks/batch", JSON, length) + b'[{"a":"' + b"a" * sent)
        step.answers = batch.run(count, SECONDS).close()
    target.settle()


def lists(target, words, count, path):
    def one(_):
        status, _, size = ask(target.address, "GET", path, headers=JSON, seconds=SECONDS)
        return f"{status or 'no answer'} with {size:,} bytes"

    with target.step(f"{count} {words}", keyed=KEYED) as step:
        step.answers.update(at_once(count, one))
    target.settle()


def run(target):
    with target.step("50 tasks of 1 MB are created") as step:
        answers = [target.post("/v1/tasks", TASK) for _ in range(50)]
        step.answers.update(status for status, _ in answers)
    target.settle()
    # The keyed client's tasks are newer and small: nobody's lists are about them.
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    tasks, events = "/v1/tasks?limit=50&patient_id=big", f"/v1/events?limit=100&until={until}"
    event = target.get(events)[1]["data"][0]["id"]
    unread(target, "pages of 50 tasks of 1 MB", 30, tasks)
    unread(target, "events with their bodies of 1 MB", 400, f"/v1/events/{event}")
    unread(target, "bodies of 1 MB of events", 800, f"/v1/events/{event}/raw")
    lists(target, "lists of events at a time, read to their end", 40, events)
    lists(target, "pages of 50 tasks of 1 MB at a time, read to their end", 8, tasks)
    bodies(target, "batches of 16 MiB of which 12 MiB are sent", 60, 16 * MIB, 12 * MIB)


ATTACKS = [Attack("memory", "keys that ask for large answers and do not read them, or send large bodies at once", run, memory_mib=1024)]
