"""A client that holds a snapshot while many events go through the queue."""
import statistics, threading, time
from concurrent.futures import ThreadPoolExecutor

from .load import Client
from .nodes import LATER


class Snapshot:
    """another client keeps a REPEATABLE READ transaction open while events are queued and processed"""
    name, rounds, quick = "snapshot", 1, 1
    window, threads = 10, 12

    def __init__(self, run):
        self.run, self.nodes, self.database, self.record = run, run.nodes, run.database, run.record
        self.figures, self.sent, self.settled, self.over = {}, {}, {}, threading.Event()

    def prepare(self):
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.nodes.start, ("node-0", "node-1")))

    def send(self, n):
        client, count = Client(self.run.load, f"snapshot-{n}"), 0
        while not self.over.is_set():
            count += 1
            title, began = f"loose snapshot-{n} {count:06}", time.monotonic()
            said = client.until_answered("later", "POST", f"/v1/hooks/{LATER}", {"subject": title}, {"Idempotency-Key": title.replace(" ", ":")})
            if client.expect("later", said, [200, 202], title):
                with self.record.lock:
                    self.record.sure[title] = "later"
                    self.sent[said[1]["x-event-id"]] = time.monotonic()
                self.record.acknowledge("later", began)

    def watch(self):
        """Notes when events leave the queue. It looks only at new places, so that it does not get slower itself."""
        with self.database.session() as eye:
            low, unsettled = 0, {}
            while not self.over.is_set() or unsettled:
                with self.record.lock:
                    known = dict(self.sent)
                rows = [line.split("|") for line in eye.run(
                    f"SELECT event_id, place FROM hookmill.queue WHERE company_id = 'company-1' AND place >= {low} ORDER BY place;")]
                now, queued = time.monotonic(), {row[0] for row in rows}
                unsettled = {it: at for it, at in known.items() if it not in self.settled}
                for it, at in unsettled.items():
                    if it not in queued:
                        self.settled[it] = (now, now - at)
                low = int(rows[0][1]) if rows else low
                time.sleep(0.05)

    def round(self, _):
        seconds = 30 if self.run.quick else 120
        rows = []
        with self.database.session() as other:
            # Two windows without it, to compare.
            other.run("SELECT 1;")
            threads = [threading.Thread(target=self.send, args=(n,), daemon=True) for n in range(self.threads)]
            threads.append(threading.Thread(target=self.watch, daemon=True))
            for it in threads:
                it.start()
            before = 1 if self.run.quick else 2
            began = time.monotonic()
            for n in range(seconds // self.window):
                if n == before:
                    other.run("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM hookmill.queue;")
                time.sleep(max(0, began + (n + 1) * self.window - time.monotonic()))
                since, to = began + n * self.window, began + (n + 1) * self.window
                done = [took for at, took in list(self.settled.values()) if since <= at < to]
                rows.append({"from_s": n * self.window, "held": n >= before, "accepted_per_s": self.rate(self.sent.values(), since, to),
                             "settled_per_s": round(len(done) / self.window), "p50_ms": quantile(done, 0.5), "p99_ms": quantile(done, 0.99),
                             "dead_rows": self.database.number("SELECT coalesce(n_dead_tup, 0) FROM pg_stat_user_tables WHERE relname = 'queue'")})
            self.over.set()
            for it in threads:
                it.join(90)
            other.run("ROLLBACK;")
        self.figures["windows"] = rows
        first = [it["settled_per_s"] for it in rows[:before]]
        last = [it["settled_per_s"] for it in rows[-2:]]
        if statistics.mean(last) < 0.5 * statistics.mean(first):
            self.record.violation(f"with a held snapshot, the throughput fell from {first} to {last} events per second")
        if rows[-1]["p99_ms"] > 5 * rows[0]["p99_ms"] + 1000:
            self.record.violation(f"with a held snapshot, p99 rose from {rows[0]['p99_ms']} to {rows[-1]['p99_ms']} ms")

    def rate(self, times, since, to):
        return round(sum(since <= it < to for it in list(times)) / self.window)

    @staticmethod
    def table(windows):
        columns = list(windows[0])
        lines = [columns, *([str(it[name]) for name in columns] for it in windows)]
        return "\n".join("  " + "".join(f"{cell:>16}" for cell in line) for line in lines)


def quantile(values, part):
    values = sorted(values)
    return round(values[min(len(values) - 1, int(len(values) * part))] * 1000) if values else 0
