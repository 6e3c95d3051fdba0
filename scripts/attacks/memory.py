"""Holders of keys who ask for much and read nothing, or send much at once."""
import json, time

from .folders import LOOPS, folder
from .target import JSON, Attack
from .wire import Crowd, ask, at_once, head

SECONDS, BIG = 5, 1_000_000
TASK = {"title": "t", "description": "d" * BIG, "created_by_id": "u", "deadline": "2027-01-01", "assigned_user_ids": ["u"],
        "patient_id": "big"}
KEYED = {"method": "POST", "path": "/v1/tasks", "body": json.dumps(TASK | {"description": "d", "patient_id": None}),
         "headers": JSON, "every": 0.05, "timeout": 5}
MIB = 1 << 20
PATHS = {}


def prepare(work):
    PATHS["loops"] = folder(work, "loops", LOOPS, limits="time_ms = 60000\nqueue = 65536")


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
        return status or "no answer", size

    with target.step(f"{count} {words}", keyed=KEYED) as step:
        answers = at_once(count, one)
        step.answers.update(status for status, _ in answers)
        step.notes.append(f"{sum(size for _, size in answers) / MIB:,.0f} MiB read")
    target.settle()


def assignees(target, count):
    """Tasks that are on as many users' lists as fit into them."""
    with target.step(f"{count} tasks with 110,000 assignees each", keyed=KEYED) as step:
        end = time.monotonic() + 2 * SECONDS
        while step.answers.total() < count and time.monotonic() < end:
            number = step.answers.total()
            users = ",".join(f"{number:x}-{user:x}" for user in range(110_000))
            step.answers[target.post("/v1/tasks", TASK | {"description": "d", "assigned_user_ids": users})[0]] += 1
    target.settle()


def waiting(target, count):
    """Large deliveries that wait for a plugin that loops."""
    with target.step(f"{count} deliveries of 1 MiB that wait for a loop", keyed=KEYED) as step:
        body = b'{"a":[' + b",".join([b"[]"] * (MIB // 3 - 10)) + b"]}"
        sent = head("POST", PATHS["loops"], {"Content-Type": "application/json"}, len(body)) + body
        step.answers = Crowd(target.address, sent).run(count, 2 * SECONDS).close()
    target.settle()


def run(target):
    with target.step("50 tasks of 1 MB are created") as step:
        end = time.monotonic() + 4 * SECONDS
        while step.answers.total() < 50 and time.monotonic() < end:
            step.answers[target.post("/v1/tasks", TASK)[0]] += 1
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
    assignees(target, 30)
    waiting(target, 600)


ATTACKS = [Attack("memory", "keys that ask for large answers and do not read them, or send large bodies at once", run, prepare, 1024)]
