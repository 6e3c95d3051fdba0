"""A PostgreSQL of one's own that can be stopped in every way, and sessions of it that hold locks."""
import os, pwd, queue, re, shutil, signal, subprocess, threading, time
from pathlib import Path

# Small, so that a full disk is reached soon; durable, so that nothing acknowledged may be lost.
SETTINGS = ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=128MB", "max_connections=200",
            "listen_addresses=", "min_wal_size=32MB", "max_wal_size=256MB", "log_line_prefix=%m [%p] "]


def programs():
    """The folder with PostgreSQL's programs; None if it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: float(it.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    return there and Path(os.path.realpath(there)).parent


class Postgres:
    """Runs as the user postgres if this script is root, and ends with this script."""

    def __init__(self, folder, wal=None):
        self.folder, self.bin, self.process = folder, programs(), None
        self.data, self.log = folder / "data", folder / "postgres.log"
        self.lead = ["setpriv", "--pdeathsig", "INT"]
        if os.geteuid() == 0:
            pwd.getpwnam("postgres")
            self.lead += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
            for it in (folder, wal):
                if it:
                    shutil.chown(it, "postgres", "postgres")
        more = ["--waldir", wal / "pg_wal", "--wal-segsize", "1"] if wal else []
        made = subprocess.run([*self.lead, self.bin / "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8",
                               "-A", "trust", *more], capture_output=True, text=True, cwd=folder)
        if made.returncode:
            raise SystemExit(f"initdb: {made.stderr}")
        self.start()
        self.sql("CREATE ROLE hookmill LOGIN CREATEDB")

    def start(self, seconds=60):
        """Starts it, and returns whether it accepts connections in time."""
        options = [word for it in [f"unix_socket_directories={self.folder}", *SETTINGS] for word in ("-c", it)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process is None or self.process.poll() is not None:
                with open(self.log, "a") as log:
                    self.process = subprocess.Popen([*self.lead, self.bin / "postgres", "-D", self.data, *options],
                                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
            if self.try_sql("SELECT 1")[0] == 0:
                return True
            time.sleep(0.05)
        return False

    def stop(self, how="immediate"):
        """Like `pg_ctl stop -m immediate` or `-m fast`; "kill" kills the main process, and the others end by themselves."""
        if self.process and self.process.poll() is None:
            self.process.send_signal({"immediate": signal.SIGQUIT, "fast": signal.SIGINT, "kill": signal.SIGKILL}[how])
            self.process.wait(60)
        if how == "kill":
            # The others hold the shared memory for a moment.
            time.sleep(0.2)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def command(self, database):
        return ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "-U", "postgres", "-d", database]

    def try_sql(self, text, database="postgres"):
        out = subprocess.run([*self.command(database), "-c", text], capture_output=True, text=True, env=environment())
        return out.returncode, out.stdout, out.stderr

    def sql(self, text, database="postgres"):
        code, out, said = self.try_sql(text, database)
        if code:
            raise RuntimeError(f"{text}: {said.strip()}")
        return [line.split("|") for line in out.splitlines()]

    def session(self, database):
        return Session(self.command(database))

    def url(self, database, port=None, options=""):
        place = f"hookmill@127.0.0.1:{port}/{database}?sslmode=disable" if port else f"/{database}?host={self.folder}&user=hookmill"
        return f"postgres://{place}" + (f"&options={options}" if options else "")

    def socket(self):
        return str(self.folder / ".s.PGSQL.5432")

    def new_database(self, name, tablespace=None):
        self.sql(f"CREATE DATABASE {name} OWNER hookmill" + (f" TABLESPACE {tablespace}" if tablespace else ""))
        return Database(self, name)


class Database:
    def __init__(self, server, name):
        self.server, self.name = server, name

    def sql(self, text):
        return self.server.sql(text, self.name)

    def number(self, text):
        return int(self.sql(text)[0][0])

    def session(self):
        return self.server.session(self.name)

    def url(self, port=None, options=""):
        return self.server.url(self.name, port, options)

    def queued(self):
        return self.number("SELECT count(*) FROM hookmill.queue")

    def claims_of(self, pid):
        """Queued events that the node with this process id has claimed: (event, lane, place)."""
        return self.sql("SELECT q.event_id, coalesce(q.lane::text, ''), q.place FROM hookmill.queue q JOIN hookmill.nodes n ON n.id = q.node "
                        f"WHERE n.name LIKE '%:{pid}' ORDER BY q.place")


class Session:
    """A psql that stays connected, for locks and open transactions."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        env=environment())
        self.lines, self.count = queue.Queue(), 0
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def run(self, text, seconds=60):
        """Runs statements, and returns the lines of their results."""
        self.count += 1
        end, lines = f"-- end {self.count} --", []
        try:
            self.process.stdin.write(f"{text}\n\\echo {end}\n")
            self.process.stdin.flush()
            while (line := self.lines.get(timeout=seconds)) != end:
                if line is None:
                    raise RuntimeError(f"the session has ended: {lines}")
                lines.append(line)
        except (OSError, queue.Empty) as error:
            raise RuntimeError(f"{text}: {error!r}") from None
        return lines

    def close(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def environment():
    kept = {name: it for name, it in os.environ.items() if not re.match("PG[A-Z]+$", name)}
    return kept | {"PGCONNECT_TIMEOUT": "5"}
