"""The faults. Each case gets a running cluster of nodes under load, and breaks something."""
import signal, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from .load import TASK, Client
from .proxy import Proxy

# After a fault has ended, each node must create a task within this time: that of a statement, and some seconds.
RECOVERS = 30
COMPANY = "company-1"
SILENT = ("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hookmill' AND pid <> pg_backend_pid()")


class Case:
    """A case: name, rounds (all, quick), nodes, and what it does."""
    nodes, quick, rounds = 3, 2, 5
    tablespace = None

    def __init__(self, run):
        self.run, self.nodes_, self.database, self.record, self.load = run, run.nodes, run.database, run.record, run.load
        self.random, self.postgres, self.figures = run.random, run.postgres, {}

    def prepare(self):
        self.start_all({f"node-{n}": {} for n in range(self.nodes)})

    def start_all(self, wanted):
        """Starts nodes at the same time."""
        with ThreadPoolExecutor() as pool:
            for it in [pool.submit(self.nodes_.start, name, **how) for name, how in wanted.items()]:
                it.result()

    def figure(self, name, value):
        self.figures.setdefault(name, []).append(round(value, 2))

    def pick(self):
        return self.random.choice(sorted(self.nodes_.all))

    def recover(self, names=None, limit=RECOVERS, what="recovered_s"):
        """Waits until these nodes create tasks and are ready."""
        client, began = Client(self.load, "probe"), time.monotonic()
        for name in names or sorted(self.nodes_.all):
            said = None
            while not (said and said[0] == 201 and self.ready(client, name)):
                if time.monotonic() - began > limit:
                    self.record.violation(f"{name} does not recover within {limit} s: {said}; its log: {self.nodes_.all[name].said()[-700:]}")
                    break
                title = f"probe {name} {time.monotonic()}"
                with self.record.lock:
                    self.record.unsure[title] = "probe"
                try:
                    said = client.send("POST", "/v1/tasks", TASK | {"title": title}, address=self.nodes_.all[name].address, patience=10)
                except OSError as error:
                    said = (0, {}, repr(error).encode())
                if said[0] != 201:
                    time.sleep(0.1)
        self.figure(what, time.monotonic() - began)
        if ended := self.nodes_.ended():
            self.record.violation(f"nodes ended by themselves: {ended}")

    def ready(self, client, name):
        try:
            return client.send("GET", "/readyz", address=self.nodes_.all[name].address, patience=10)[0] == 200
        except OSError:
            return False

    @contextmanager
    def holding(self, name, seconds=1.5):
        """Lets a node hold claims that it cannot settle: another client has locked the company's row. Yields its claims."""
        pid = self.nodes_.pid(name)
        for _ in range(5):
            with self.database.session() as other:
                other.run(f"BEGIN; SELECT 1 FROM hookmill.companies WHERE company_id = '{COMPANY}' FOR UPDATE;")
                end = time.monotonic() + seconds
                while not (claims := self.database.claims_of(pid)) and time.monotonic() < end:
                    time.sleep(0.02)
                if claims:
                    yield claims
                    return
            time.sleep(0.3)
        yield []

    def takeover(self, claims, began, locked_s=0.0):
        """Waits until another node has settled the first event of each lane of these claims."""
        first = {}
        for event, lane, _ in claims:
            first.setdefault(lane or event, event)
        left, times, lease = set(first.values()), [], self.nodes_.lease_ms / 1000
        limit = lease + 2 + self.run.tolerance + locked_s
        while left and time.monotonic() - began < limit + 30:
            quoted = ",".join(f"'{it}'" for it in left)
            rest = {row[0] for row in self.database.sql(f"SELECT event_id FROM hookmill.queue WHERE event_id IN ({quoted})")}
            times += [time.monotonic() - began] * len(left - rest)
            left = rest
            time.sleep(0.03)
        if not first:
            return
        if times:
            self.figure("takeover_first_s", times[0])
            self.figure("takeover_last_s", times[-1])
        if left or times[0] > limit:
            self.record.violation(f"takeover after {times[:1]} s, allowed {limit} s; not at all: {sorted(left)}")


class Kill(Case):
    """kill -9 of a random node, which is replaced"""
    name, rounds, quick = "kill", 30, 2

    def round(self, n):
        name = self.pick()
        with self.holding(name) as claims:
            self.nodes_.kill(name)
            began = time.monotonic()
        self.figure("claims", len(claims))
        self.takeover(claims, began)
        self.nodes_.again(name)
        self.recover([name])
        time.sleep(self.random.uniform(0.2, 1.5))


class Stop(Case):
    """SIGSTOP of a node past its lease, then SIGCONT; its late results must be rejected"""
    name, rounds, quick = "stop", 10, 1

    def round(self, n):
        name = self.pick()
        with self.holding(name) as claims:
            self.nodes_.signal(name, signal.SIGSTOP)
            began = time.monotonic()
        self.figure("claims", len(claims))
        # A transaction of the stopped node may hold the company's row until idle_in_transaction_session_timeout (4 s).
        self.takeover(claims, began, locked_s=4)
        time.sleep(max(0, began + 2.5 * self.nodes_.lease_ms / 1000 - time.monotonic()))
        self.nodes_.signal(name, signal.SIGCONT)
        self.recover([name])


class Cut(Case):
    """a node loses its connections to the database (blackhole, reset, or forgotten by a firewall), and gets them back"""
    name, rounds, quick = "cut", 9, 1

    def prepare(self):
        self.proxy = Proxy(self.postgres.socket())
        self.start_all({"node-0": {}, "node-1": {}, "cut": {"port": self.proxy.port}})

    def round(self, n):
        how = ("forgotten", "blackhole", "reset")[n % 3]
        lease = self.nodes_.lease_ms / 1000
        with self.holding("cut") as claims:
            self.proxy.set("blackhole" if how == "forgotten" else how)
            began = time.monotonic()
        self.figure("claims", len(claims))
        self.takeover(claims, began, locked_s=4)
        self.answers(how)
        time.sleep(max(0, began + lease + self.random.uniform(0.5, 3) - time.monotonic()))
        self.proxy.set("forgotten" if how == "forgotten" else "pass")
        self.recover(["cut"], what=f"recovered_{how}_s")
        time.sleep(1)

    def answers(self, how):
        """A node without its database must say so, before its clients give up."""
        began, client = time.monotonic(), Client(self.load, "probe")
        try:
            said = client.send("GET", "/v1/tasks?limit=1", address=self.nodes_.all["cut"].address, patience=35)[0]
        except OSError as error:
            said = repr(error)
        self.figure("refused_read_s", time.monotonic() - began)
        if said != 503:
            self.record.violation(f"cut off ({how}), a read got {said}")

    def finish(self):
        self.proxy.close()


class Deaf(Cut):
    """responses of the database to a node are lost, again and again, and its connections are reset"""
    name, rounds, quick = "deaf", 6, 1
    seconds = 6

    def round(self, n):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            self.proxy.set("deaf")
            time.sleep(self.random.uniform(0.02, 0.15))
            self.proxy.set("pass")
            time.sleep(self.random.uniform(0.1, 0.4))
        self.recover()
        time.sleep(1)


class Crash(Case):
    """pg_ctl stop -m immediate or SIGKILL of PostgreSQL, and its start"""
    name, rounds, quick = "crash", 20, 2

    def round(self, n):
        self.postgres.stop("kill" if n % 4 == 3 else "immediate")
        # Shorter and longer than the lease.
        time.sleep(self.random.choice([0, 0.3, 1, self.nodes_.lease_ms / 1000 + 1]))
        if not self.postgres.start():
            raise SystemExit("PostgreSQL does not start")
        self.recover()
        time.sleep(self.random.uniform(0.2, 2))


class Terminate(Case):
    """pg_terminate_backend of every connection, every 200 ms"""
    name, rounds, quick, nodes = "terminate", 6, 1, 2
    seconds = 6

    def round(self, n):
        with self.postgres.session("postgres") as admin:
            end, count = time.monotonic() + self.seconds, 0
            while time.monotonic() < end:
                count += len(admin.run(SILENT + ";"))
                time.sleep(0.2)
        self.figure("connections_ended", count)
        self.recover()
        time.sleep(1)


class Locks(Case):
    """locks on tables and on the company's row for 3 and 25 s, for one node with tiny timeouts"""
    name, rounds, quick = "locks", 6, 2
    # Settings of the URL override those of the node.
    TINY = "-c%20statement_timeout%3D400ms%20-c%20idle_in_transaction_session_timeout%3D60ms%20-c%20lock_timeout%3D300ms"
    WHAT = ["LOCK TABLE hookmill.tasks IN ACCESS EXCLUSIVE MODE", f"SELECT 1 FROM hookmill.companies WHERE company_id = '{COMPANY}' FOR UPDATE",
            "LOCK TABLE hookmill.queue IN ACCESS EXCLUSIVE MODE"]

    def prepare(self):
        self.start_all({"node-0": {}, "node-1": {}, "tiny": {"options": self.TINY}})

    def round(self, n):
        seconds = (8 if self.run.quick else 25) if n % 3 == 1 else 3
        what = self.WHAT[n % 3] if seconds == 3 else self.WHAT[n // 3 % 2]
        # New sessions of the role are also closed when they are idle.
        self.postgres.sql("ALTER ROLE hookmill SET idle_session_timeout = '300ms'")
        self.postgres.sql(SILENT)
        try:
            with self.database.session() as other:
                other.run(f"BEGIN; {what};", 120)
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    # A node that is stopped for a moment in a transaction.
                    self.nodes_.signal("tiny", signal.SIGSTOP)
                    time.sleep(0.15)
                    self.nodes_.signal("tiny", signal.SIGCONT)
                    time.sleep(self.random.uniform(0.1, 0.4))
        finally:
            self.postgres.sql("ALTER ROLE hookmill RESET idle_session_timeout")
            self.postgres.sql(SILENT)
        self.recover()
        time.sleep(1)


class Full(Case):
    """a full disk under the tables, and under the write-ahead log"""
    name, rounds, quick, nodes = "full", 4, 2, 2

    def round(self, n):
        disk = self.run.disks["wal" if n % 2 else "tables"]
        client, refusals, reads = Client(self.load, "full"), [], []
        took = take_all(disk)
        end, seen = time.monotonic() + (20 if self.run.quick else 40), None
        while time.monotonic() < end and (seen is None or time.monotonic() < seen + (2 if self.run.quick else 5)):
            take_all(disk)
            for name in sorted(self.nodes_.all)[:1 if self.run.quick else None]:
                title, address = f"full {time.monotonic()}", self.nodes_.all[name].address
                with self.record.lock:
                    self.record.unsure[title] = "full"
                try:
                    said = client.send("POST", "/v1/tasks", TASK | {"title": title, "description": "x" * 20000}, address=address, patience=35)
                    if said[0] != 201:
                        seen = seen or time.monotonic()
                        refusals.append((said[0], said[2].decode()))
                    if seen:
                        reads.append(client.send("GET", "/v1/tasks?limit=5", address=address, patience=35)[0])
                except OSError as error:
                    self.record.violation(f"a full disk: no answer: {error}")
        crashed = not self.postgres.alive()
        give_back(disk)
        where = disk.name
        if not refusals:
            self.record.violation(f"the disk of the {where} was full ({took} bytes), and no write was refused")
        odd = [it for it in refusals if it[0] not in (503, 507)]
        if odd:
            self.record.violation(f"writes on a full disk got {odd[:3]}")
        if where == "tables" and not any("storage_full" in text for _, text in refusals):
            self.record.violation(f"no refusal says that the disk is full: {refusals[:3]}")
        if set(reads) - {200, 503}:
            self.record.violation(f"reads on a full disk got {set(reads)}")
        self.figure(f"{where}_refused", len(refusals))
        self.figure(f"{where}_read", reads.count(200))
        self.run.notes.append(f"{where}: {'PostgreSQL ended; ' if crashed else ''}e.g. {refusals[0] if refusals else '-'}")
        if not self.postgres.start():
            raise SystemExit("PostgreSQL does not start")
        self.recover(what=f"recovered_{where}_s")
        time.sleep(2)


def take_all(disk):
    """Takes the free space to the last byte."""
    size = 0
    with open(disk / "ballast", "ab", buffering=0) as ballast:
        for block in (1 << 16, 4096, 1):
            try:
                while size < 1 << 30:
                    size += ballast.write(b"\0" * block)
            except OSError:
                pass
    return size


def give_back(disk):
    (disk / "ballast").unlink()


class Baseline(Case):
    """no fault"""
    name, rounds, quick = "none", 1, 1

    def round(self, n):
        time.sleep(4)
        self.recover()


CASES = [Kill, Stop, Cut, Deaf, Crash, Terminate, Locks, Full]
