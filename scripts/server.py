"""A server under test, for the other scripts in this folder."""
import json, os, signal, subprocess, time
from http.client import HTTPConnection

KEY = "script-key-of-24-characters-or-more"


class Server:
    def __init__(self, work, binary, data, config, shim=None, options=()):
        if not self.start(work, binary, data, config, shim, options):
            raise SystemExit(f"the server did not start ({self.process.wait()}):\n{self.said()[-2000:]}")

    @classmethod
    def try_start(cls, *arguments):
        """A server; if it does not start, its exit code and log."""
        server = cls.__new__(cls)
        return server if server.start(*arguments) else (server.process.wait(), server.said())

    def start(self, work, binary, data, config, shim=None, options=()):
        (work / "c.toml").write_text(config)
        (work / "plugins").mkdir(exist_ok=True)
        environment = {"HOOKMILL_BOOTSTRAP_KEY": KEY, "PATH": os.environ["PATH"]}
        if shim:
            environment["LD_PRELOAD"] = str(shim)
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--config", work / "c.toml", "--log", "warn",
                   "--data-dir", data, "--plugins-dir", work / "plugins", *options]
        self.log = open(work / "log", "a+")
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True)
        for line in self.process.stdout:
            self.printed(line)
            if line.startswith("hookmill serves on http://"):
                self.address = line.split("//")[1].strip()
                self.wait_for_plugins()
                return True
        return False

    def printed(self, line):
        """Each line that it prints until it serves."""

    def wait_for_plugins(self):
        connection, end = self.connect(), time.monotonic() + 300
        while self.request(connection, "GET", "/readyz")[1].get("status") == "loading":
            if time.monotonic() > end:
                raise SystemExit("plugins are still loading after five minutes")
            time.sleep(0.02)
        connection.close()

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def connect(self):
        return HTTPConnection(self.address, timeout=60)

    def request(self, connection, method, path, body=None):
        connection.request(method, path, body and json.dumps(body), {"X-API-Key": KEY, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=120)


class Scraped(Server):
    """A server with metrics on an address of their own, and that address."""
    key = KEY

    def start(self, work, binary, data, config, *rest):
        self.metrics = None
        return super().start(work, binary, data, 'metrics_listen = "127.0.0.1:0"\n' + config, *rest)

    def printed(self, line):
        listens = "hookmill serves metrics on "
        if line.startswith(listens):
            self.metrics = line.removeprefix(listens).strip()
