"""The server under attack, its cost during each step, and its response times for other clients meanwhile."""
import json, shutil, statistics, subprocess, sys, tempfile, time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from server import KEY, Server

from .folders import SECRETS
from .watch import Watch, cpu_seconds, status
from .wire import ask

PROBE = Path(__file__).with_name("probe.py")
HEALTH = {"kept": {"path": "/healthz", "kept": True}, "new": {"path": "/healthz"}}
CUT_OFF = -1  # the status of a request whose probe was stopped before its answer
JSON = {"X-API-Key": KEY, "Content-Type": "application/json"}


@dataclass
class Attack:
    """One line of the table: `run(target)` does its steps, after `prepare(work)` has written plugin folders."""
    name: str
    words: str
    run: Callable
    prepare: Callable = lambda work: None
    memory_mib: int = 512  # most that --check accepts
    config: str = ""


@dataclass
class Step:
    """What happened in a part of an attack."""
    words: str
    began: float = field(default_factory=time.monotonic)
    answers: Counter = field(default_factory=Counter)
    notes: list = field(default_factory=list)
    cost: dict = field(default_factory=dict)
    health: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)


class Unhurried(Server):
    """A server whose plugins are not waited for."""

    def wait_for_plugins(self):
        pass


class Probe:
    """A process that asks the same thing over and over; `stop()` gives its samples."""

    def __init__(self, address, asked):
        command = [sys.executable, PROBE, json.dumps({"address": address} | asked)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def stop(self):
        self.process.terminate()
        try:
            return json.loads(self.process.communicate(timeout=10)[0] or "[]")
        except subprocess.TimeoutExpired:
            self.process.kill()
            return json.loads(self.process.communicate()[0] or "[]")


def summary(samples):
    """Milliseconds and failures of a probe's samples."""
    times = [1000 * seconds for _, seconds, _, _ in samples] or [0]
    return {"median_ms": statistics.median(times), "slowest_ms": max(times), "asked": len(samples),
            "failed": sum(status not in (200, CUT_OFF) for _, _, status, _ in samples),
            "late_ms": max((1000 * late for *_, late in samples), default=0)}


class Target:
    """A server with an attack's plugin folders, in a temporary directory."""

    def __init__(self, binary, attack, cap_mib):
        self.binary, self.attack, self.cap = binary, attack, cap_mib
        self.work, self.server, self.watch, self.steps = Path(tempfile.mkdtemp(prefix="attack-")), None, None, []

    def __enter__(self):
        try:
            (self.work / "plugins").mkdir()
            (self.work / "secrets.toml").write_text(SECRETS)
            self.attack.prepare(self.work)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, waits=True):
        """Starts the server; gives the seconds until it listens, and until its plugins have been tried where that `waits`."""
        kind, began = Server if waits else Unhurried, time.monotonic()
        config = f'secrets_file = "{self.work}/secrets.toml"\n{self.attack.config}'
        self.server = kind(self.work, self.binary, self.work / "data", config)
        self.address = self.server.address
        self.watch = Watch(self.server.process, self.cap)
        return time.monotonic() - began

    def stop(self):
        if self.watch:
            self.watch.stop()
        if self.server:
            self.server.process.kill()
            self.server.process.wait()
            self.server.process.stdout.close()
            self.server.log.close()
        self.server = self.watch = None

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body):
        return self.ask("POST", path, json.dumps(body).encode())

    def ask(self, method, path, body=b""):
        """Status and JSON of what the first key is answered."""
        status, answer, _ = ask(self.address, method, path, body, JSON, 10)
        try:
            return status, json.loads(answer or b"null")
        except ValueError:
            return status, None

    def alive(self):
        return self.server.process.poll() is None

    @contextmanager
    def step(self, words, **probes):
        """Measures what is done in it. `probes` are asked meanwhile; what they met with is in `step.others`."""
        step = Step(words)
        self.steps.append(step)
        if not self.alive():
            step.notes.append("not tried: the server is gone")
            yield step
            return
        running = {name: Probe(self.address, asked) for name, asked in (HEALTH | probes).items()}
        time.sleep(0.05)
        self.watch.restart()
        try:
            yield step
        finally:
            step.cost = self.watch.cost()
            samples = {name: probe.stop() for name, probe in running.items()}
        step.health = {name: summary(samples[name]) for name in HEALTH}
        step.others = {name: fate(samples[name]) for name in probes}
        if not self.alive():
            step.notes.append(self.watch.killed or f"the server ended ({self.server.process.returncode})")

    def noise(self, seconds=1.5):
        """The same probes with nothing else going on."""
        with self.step("nothing"):
            time.sleep(seconds)
        return self.steps.pop().health

    def settle(self):
        """Waits for the end of what a step has left behind, or else replaces the server: the next step begins on a quiet one."""
        end, before = time.monotonic() + 1.5, None
        while self.alive() and time.monotonic() < end and status(self.watch.pid, "VmRSS") < 400:
            now = cpu_seconds(self.watch.pid)
            if before is not None and now - before < 0.05:
                return
            before = now
            time.sleep(0.3)
        self.restart()

    def restart(self, waits=True):
        self.stop()
        return self.start(waits)


def fate(samples):
    """What others' requests met with: how many succeeded, how fast, and for how long some did not."""
    samples = [it for it in samples if it[2] != CUT_OFF or it[1] > 1]
    times = [1000 * seconds for _, seconds, status, _ in samples if 200 <= status < 300]
    bad = [(began, began + seconds, status) for began, seconds, status, _ in samples if not 200 <= status < 300]
    return {"asked": len(samples), "succeeded": len(times), "median_ms": statistics.median(times or [0]), "slowest_ms": max(times, default=0),
            "failed": dict(Counter(str(status) if status > 0 else "no answer" for *_, status in bad)),
            "failed_seconds": max(end for _, end, _ in bad) - min(began for began, *_ in bad) if bad else 0}
