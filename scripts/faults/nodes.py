"""Nodes of hookmill on one database: started, killed, stopped and replaced."""
import re, shutil, signal, time
from collections import Counter
from pathlib import Path

from server import Server

ROOT = Path(__file__).resolve().parent.parent.parent
SHIPPED, SYNC, LATER = "n8n-intake", "intake-sync", "intake-later"
STARTS = 90


class Nodes:
    def __init__(self, folder, binary, database, lease_ms, log="warn"):
        self.folder, self.binary, self.database, self.lease_ms, self.log = folder, binary, database, lease_ms, log
        self.all, self.places, self.logs = {}, {}, Counter()

    def start(self, name, port=None, options="", seconds=STARTS):
        """Starts a node, again and again while it cannot start, as a service manager does."""
        folder = self.folder / name
        if not folder.exists():
            copy_plugins(folder / "plugins")
        self.places[name] = (port, options)
        config = f"[store]\nlease_ms = {self.lease_ms}\n"
        more = ("--database-url", self.database.url(port, options))
        end, tries = time.monotonic() + seconds, 0
        while True:
            tries += 1
            started = Server.try_start(folder, self.binary, folder / "data", config, None, more)
            if isinstance(started, Server):
                self.all[name] = started
                return tries
            if time.monotonic() > end:
                raise SystemExit(f"{name} does not start: {started[1][-1500:]}")
            time.sleep(0.3)

    def again(self, name):
        return self.start(name, *self.places[name])

    def addresses(self):
        return [node.address for node in list(self.all.values())]

    def pid(self, name):
        return self.all[name].process.pid

    def signal(self, name, what):
        self.all[name].process.send_signal(what)

    def kill(self, name):
        node = self.all.pop(name)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()

    def ended(self):
        """Nodes that have ended by themselves."""
        return [name for name, node in self.all.items() if node.process.poll() is not None]

    def stop(self):
        for node in self.all.values():
            node.process.send_signal(signal.SIGCONT)
            node.process.send_signal(signal.SIGKILL)
        for node in self.all.values():
            node.process.wait()
        self.all.clear()

    def said(self):
        """How often each message was logged, without the values in it."""
        counts = Counter()
        for file in self.folder.glob("*/log"):
            for line in file.read_text(errors="replace").splitlines():
                found = re.search(r'"level":"(WARN|ERROR)".*?"message":"([^"]*)"', line) or re.search(r"(WARN|ERROR)\s+(.*)", line)
                if found:
                    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\x1b\[[0-9;]*m", "", found[2])
                    counts[f"{found[1]} {text[:110]}"] += 1
        return counts


def copy_plugins(to):
    """The shipped intake twice: one copy processes at once, the other acknowledges first and keeps the order of groups."""
    for name, more in ((SYNC, ""), (LATER, 'mode = "async"\norder_by = "/group"\n')):
        shutil.copytree(ROOT / "plugins" / SHIPPED, to / name)
        for it in ("fixtures", "src"):
            shutil.rmtree(to / name / it, ignore_errors=True)
        manifest = to / name / "plugin.toml"
        text = manifest.read_text().replace(f'name = "{SHIPPED}"', f'name = "{name}"', 1)
        manifest.write_text(more + text)
