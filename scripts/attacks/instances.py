"""Plugins that need as much of the pool of instances as one may, next to another company's."""
import time

from . import loops, wasm
from .folders import folder, neighbour
from .target import Attack

GREEDY = "time_ms = 60000\nconcurrency = 64\nqueue = 65536"
COPIES = 40
PATHS = loops.PATHS


def hostile(work, name, **needs):
    return folder(work, name, wasm.greedy_component(**needs), limits=GREEDY)


def prepare(work):
    PATHS["memories"] = hostile(work, "a-memories", memories=15)
    PATHS["instances"] = hostile(work, "a-instances", instances=50)
    PATHS["tables"] = hostile(work, "a-tables", tables=60)
    PATHS["neighbour"] = neighbour(work)


def run(target):
    loops.sync(target, "300 calls of a component with 16 memories", [PATHS["memories"]], 300)
    loops.sync(target, "300 calls of a component with more than 50 core instances", [PATHS["instances"]], 300)
    loops.sync(target, "300 calls of a component with more than 60 tables", [PATHS["tables"]], 300)
    # Loaded before the neighbour, which is named after them.
    many = [hostile(target.work, f"a-copy-{number}", memories=15) for number in range(COPIES)]
    target.restart()
    with target.step(f"{COPIES} components with 16 memories are there, and not called", **loops.others("neighbour")):
        time.sleep(3)
    loops.sync(target, f"20 calls of each of them", many, 20)


ATTACKS = [Attack("instances", "components that need much of the instance pool, called as often as they can be", run, prepare, 1024)]
