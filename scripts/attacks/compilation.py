"""Modules that are small, and costly to compile."""
import shutil, time

from . import wasm
from .folders import folder, neighbour
from .loops import PATHS
from .target import Attack
from .wire import ask

SECONDS = 12
SHAPES = {"wide": (wasm.wide_blocks, (8,)), "long": (wasm.wide_blocks, (230, 20))}


def hostile(work, name):
    shape, arguments = SHAPES[name]
    module = shape(*arguments)
    folder(work, name, module)
    return f"a module of {len(module) / 1024:.0f} KiB"


def prepare(work):
    PATHS["neighbour"] = neighbour(work)


def delivered(target):
    path, body = PATHS["neighbour"]
    return ask(target.address, "POST", path, body.encode(), {"Content-Type": "application/json"}, 5)[0]


def wait(target, began, what, step, done):
    """Notes when this is so, if it is within the time."""
    while time.monotonic() - began < SECONDS and target.alive():
        if done():
            step.notes.append(f"{what} after {time.monotonic() - began:.1f} s")
            return
        time.sleep(0.05)
    step.notes.append(f"not {what} within {time.monotonic() - began:.0f} s")


def begin(target, name):
    """The server's start, with a hostile folder and a newcomer that is not compiled yet."""
    words = hostile(target.work, name)
    shutil.rmtree(target.work / "data/artefacts", ignore_errors=True)
    listened = target.restart(waits=False)
    with target.step(f"a start with {words}") as step:
        step.notes.append(f"listens after {listened:.1f} s")
        wait(target, step.began, "neighbour live", step, lambda: delivered(target) == 201)
        time.sleep(max(0, step.began + SECONDS - time.monotonic()))
    shutil.rmtree(target.work / "plugins" / name)
    target.restart()


def dropped(target, name):
    """A hostile folder, and then a good one, while the server runs."""
    with target.step(f"a folder is added with {hostile(target.work, name)}") as step:
        time.sleep(1)
        began = time.monotonic()
        PATHS["neighbour"] = neighbour(target.work, f"newcomer-{name}")
        wait(target, began, "newcomer live", step, lambda: delivered(target) == 201)
        time.sleep(max(0, began + SECONDS - time.monotonic()))
    target.settle()


def run(target):
    begin(target, "wide")
    dropped(target, "long")


ATTACKS = [Attack("compilation", "small modules that cost the compiler time and memory", run, prepare)]
