"""The services that are measured: nodes of hookmill, and the comparison."""
import json, os, re, shutil, signal, subprocess, sys, time
from http.client import HTTPConnection
from pathlib import Path

from server import KEY, Server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PLUGIN = "calendly"
# Deliveries wait in the queue while they are sent faster than they are processed.
CONFIG = "[limits]\nqueue = 10000000\n"


class Fleet:
    """Nodes of hookmill, all with the same database and plugins."""

    def __init__(self, work, binary, url):
        self.work, self.binary, self.url, self.nodes = work, binary.resolve(), url, []

    def resize(self, count):
        while len(self.nodes) > count:
            self.nodes.pop().stop()
        while len(self.nodes) < count:
            folder = self.work / f"node-{len(self.nodes)}"
            if not folder.exists():
                copy_plugins(folder / "plugins")
            options = ("--database-url", self.url) if self.url else ()
            self.nodes.append(Server(folder, self.binary, folder / "data", CONFIG, options=options))

    def addresses(self):
        return [node.address for node in self.nodes]

    def processes(self):
        return [node.process.pid for node in self.nodes]

    def get(self, path):
        return self.nodes[0].request(self.nodes[0].connect(), "GET", path)[1]

    def drain(self):
        """Waits until no delivery is queued, and returns the time."""
        started = time.monotonic()
        while self.get("/v1/events?status=queued&limit=1")["data"]:
            if time.monotonic() > started + 1800:
                raise SystemExit("deliveries are still queued after half an hour")
            time.sleep(0.1)
        return time.monotonic() - started

    def stop(self):
        self.resize(0)


def copy_plugins(to):
    """The plugin for a key instead of a signature, and a copy that acknowledges deliveries before it processes them."""
    for name, mode in ((PLUGIN, "sync"), (f"{PLUGIN}-later", "async")):
        shutil.copytree(ROOT / "plugins" / PLUGIN, to / name)
        shutil.rmtree(to / name / "fixtures")
        manifest = to / name / "plugin.toml"
        text = re.sub(r"(?m)^sender = .*\nsecret = .*\n", 'scheme = "api-key"\n', manifest.read_text())
        manifest.write_text(f'mode = "{mode}"\n' + text.replace(f'name = "{PLUGIN}"', f'name = "{name}"', 1))


def delivery():
    """A delivery from which the plugin makes one task."""
    return json.loads((ROOT / "plugins" / PLUGIN / "fixtures/created.json").read_text())["payload"]


class Peer:
    """The FastAPI service: uvicorn with some workers, and the tables in a database of its own."""
    PORT = 18099

    def __init__(self, cache, python, database, work):
        self.place, self.database, self.log, self.process = cache / "venv", database, work / "fastapi.log", None
        requirements, done = HERE / "requirements.txt", self.place / "requirements.txt"
        if not done.exists() or done.read_text() != requirements.read_text():
            print(f"installing {requirements.relative_to(ROOT)} into {self.place}", file=sys.stderr)
            subprocess.run([python, "-m", "venv", "--clear", self.place], check=True)
            subprocess.run([self.place / "bin/pip", "install", "-q", "-r", requirements], check=True)
            shutil.copy(requirements, done)
        self.environment = os.environ | {"DATABASE_URL": database.url, "API_KEY": KEY, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run([self.place / "bin/python", HERE / "fastapi_service.py"], env=self.environment, check=True)

    def start(self, workers, one_statement):
        command = [self.place / "bin/uvicorn", "fastapi_service:app", "--app-dir", HERE, "--port", str(self.PORT), "--workers",
                   str(workers), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
        # In trials with 4 to 32 connections for each worker, no number was faster than this one.
        environment = self.environment | {"POOL": str(max(4, 16 // workers)), "ONE_STATEMENT": "1" if one_statement else "0"}
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the FastAPI service does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        # The other workers are started at the same time, and need about as long.
        time.sleep(1.5)

    def answers(self):
        try:
            connection = HTTPConnection(f"127.0.0.1:{self.PORT}", timeout=10)
            connection.request("GET", "/openapi.json")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def addresses(self):
        return [f"127.0.0.1:{self.PORT}"]

    def processes(self):
        return [self.process.pid]

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None
