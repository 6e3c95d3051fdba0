"""A company whose integrations loop, next to another company's."""
import json, shutil, time

from .folders import LOOPS, folder, neighbour
from .target import JSON, Attack
from .wire import Crowd, head

SECONDS, WIDTH = 6, 500
GREEDY = "time_ms = 60000\nconcurrency = 64\nqueue = 65536"
COPIES = 8
TASK = {"title": "t", "description": "d", "created_by_id": "u", "deadline": "2027-01-01", "assigned_user_ids": ["u"]}
KEYED = {"method": "POST", "path": "/v1/tasks", "body": json.dumps(TASK), "headers": JSON, "every": 0.05, "timeout": 5}
PATHS = {}


def prepare(work):
    PATHS["default"] = folder(work, "loops", LOOPS)
    PATHS["greedy"] = folder(work, "loops-greedily", LOOPS, limits=GREEDY)
    PATHS["later"] = folder(work, "loops-later", LOOPS, limits="time_ms = 10000", more='mode = "async"')
    PATHS["many"] = [folder(work, f"loops-{number}", LOOPS, limits=GREEDY) for number in range(COPIES)]
    PATHS["neighbour"] = neighbour(work)
    PATHS["neighbour later"] = neighbour(work, "neighbour-later", 'mode = "async"')


def others(*names):
    """Probes of another company's integration, and of the first key."""
    called = {name: {"method": "POST", "path": PATHS[name][0], "body": PATHS[name][1], "headers": {"Content-Type": "application/json"},
                     "every": 0.05, "timeout": 5} for name in names}
    return called | {"keyed tasks": KEYED}


def crowd(target, path):
    return Crowd(target.address, head("POST", path, {"Content-Type": "application/json"}, 7) + b'{"a":1}')


def sync(target, words, paths, count):
    """Calls them for the whole time, and looks at what others get."""
    end = time.monotonic() + SECONDS
    with target.step(words, **others("neighbour")) as step:
        crowds = [crowd(target, path).run(count, 1 / len(paths)) for path in paths]
        while time.monotonic() < end and target.alive() and any(it.live or it.wanted for it in crowds):
            for it in crowds:
                it.run(0, 0.1)
        for it in crowds:
            step.answers += it.close()
    target.settle()


def run(target):
    sync(target, "1,030 requests into a loop with default limits", [PATHS["default"]], 1030)
    sync(target, "1,030 requests into a loop of 60 s, 64 at a time", [PATHS["greedy"]], 1030)
    sync(target, f"100 requests into each of {COPIES} such integrations of one company", PATHS["many"], 100)
    with target.step("10,100 deliveries for an async loop", **others("neighbour later")) as step:
        step.answers = crowd(target, PATHS["later"]).run(10_100, SECONDS, WIDTH).close()
    with target.step("its folder is removed", **others("neighbour later")):
        shutil.rmtree(target.work / "plugins/loops-later")
        time.sleep(SECONDS)


ATTACKS = [Attack("loops", "integrations that loop, called as often as they can be", run, prepare, 768)]
