"""Compares what was acknowledged with what the API and the database have."""
import json, time
from collections import Counter, defaultdict

from .load import Client, GaveUp

# Number of requests that are repeated to compare the response.
REPEATED = 400
SHOWN = 8


class Verifier:
    def __init__(self, nodes, database, record, load):
        self.nodes, self.database, self.record = nodes, database, record
        self.client = Client(load, "verify")

    def all(self, seconds):
        """Everything, after the queue has drained. Returns the time that it took to drain."""
        before = len(self.record.violations)
        took = self.drain(seconds)
        tasks = self.listed()
        self.contents(tasks)
        self.database_agrees(tasks)
        self.counts(tasks)
        self.order(tasks)
        self.answers()
        self.events()
        return {"drained_s": round(took, 2), "tasks": len(tasks), "violations": len(self.record.violations) - before}

    def several(self, what, found):
        """One violation for many similar findings."""
        if found:
            shown = "; ".join(map(str, found[:SHOWN])) + ("; …" if len(found) > SHOWN else "")
            self.record.violation(f"{len(found)} {what}: {shown}")

    def drain(self, seconds):
        began = time.monotonic()
        while self.database.queued():
            if time.monotonic() - began > seconds:
                rows = self.database.sql(
                    "SELECT q.event_id, q.place, q.lane, q.attempts, q.token, q.node, coalesce(n.name, '-'), n.leased_until > now(), q.ready_at <= now() "
                    "FROM hookmill.queue q LEFT JOIN hookmill.nodes n ON n.id = q.node ORDER BY q.place LIMIT 400")
                self.several(f"events (event, place, lane, attempts, token, node, name, leased, ready) are still queued after {seconds} s", rows)
                break
            time.sleep(0.1)
        return time.monotonic() - began

    def get(self, path):
        said = self.client.until_answered("verify", "GET", path)
        if said[0] != 200:
            raise GaveUp(f"GET {path}: {said[0]} {said[2][:300]}")
        return json.loads(said[2])

    def listed(self):
        """All tasks, oldest first."""
        tasks, cursor = [], ""
        while cursor is not None:
            page = self.get(f"/v1/tasks?limit=100{cursor}")
            tasks += page["data"]
            after = page["pagination"].get("next_cursor")
            cursor = f"&cursor={after}" if after else None
        return tasks[::-1]

    def contents(self, tasks):
        by_id = {it["id"]: it for it in tasks}
        alive = [it for it in self.record.tasks.values() if not it.deleted]
        self.several("acknowledged tasks are missing (id, title)", [(it.id, it.title) for it in alive if it.id not in by_id])
        other = [(it.id, f"acknowledged {json.dumps(it.document)}", f"found {json.dumps(by_id[it.id])}") for it in alive
                 if it.id in by_id and by_id[it.id] != it.document]
        self.several("tasks differ from what was acknowledged", other)
        back = [(it.id, it.title) for it in self.record.tasks.values() if it.deleted and it.id in by_id]
        self.several("deleted tasks are back", back)

    def database_agrees(self, tasks):
        rows = self.database.sql("SELECT id, version, document::jsonb ->> 'title' FROM hookmill.tasks WHERE deleted_at IS NULL ORDER BY place")
        api = [[it["id"], str(it["version"]), it["title"]] for it in tasks]
        if rows != api:
            mine, theirs = set(map(tuple, rows)), set(map(tuple, api))
            self.several("rows differ between SQL and the API", sorted(mine ^ theirs) or ["only their order"])

    def counts(self, tasks):
        counts = Counter(it["title"] for it in tasks)
        self.several("tasks exist more than once for one key, delivery or request (title, number)",
                     [(title, count) for title, count in counts.items() if count > 1])
        self.several("acknowledged requests have no task (title)",
                     [(title, self.record.accepted.get(title)) for title in self.record.sure if counts[title] == 0])
        known = self.record.sure.keys() | self.record.unsure.keys() | self.record.deleted_titles
        self.several("tasks exist that nobody sent", [title for title in counts if title not in known])

    def order(self, tasks):
        lanes, at = defaultdict(list), {}
        for place, it in enumerate(tasks):
            if it["title"].startswith("lane "):
                lanes[it["title"].split(" ")[1]].append(it["title"])
        for name, sent in self.record.lanes.items():
            if lanes[name] != sent and sorted(lanes[name]) == sorted(sent):
                wrong = [(a, b) for a, b in zip(sent, lanes[name]) if a != b]
                self.several(f"tasks of the ordering key {name} are not in order (expected, found)", wrong)
            elif lanes[name] != sent:
                # Missing or double ones are reported by title; here only the order of the others.
                found = [it for it in lanes[name] if it in set(sent)]
                self.several(f"tasks of the ordering key {name} are not in order", [] if found == sorted(found) else [found[:20]])

    def answers(self):
        """Each response that was acknowledged is given again."""
        all_answers, other = self.record.answers, []
        chosen = all_answers if len(all_answers) <= REPEATED else self.client.random.sample(all_answers, REPEATED)
        for path, body, headers, first in chosen:
            status, _, text = self.client.until_answered("verify", "POST", path, body, headers)
            if status not in (200, 201, 202) or text != first:
                other.append((path, headers["Idempotency-Key"], f"first {first.decode()}", f"then {status} {text.decode()}"))
        self.several("responses are not repeated", other)

    def events(self):
        page = self.get("/v1/events?status=quarantined&limit=50")
        self.several("events were quarantined (event, reason)", [(it["id"], it.get("reason") or it.get("code")) for it in page["data"]])
        bad = self.database.sql("SELECT e.id FROM hookmill.events e WHERE e.status = 5 AND NOT EXISTS "
                                "(SELECT 1 FROM hookmill.queue q WHERE q.event_id = e.id)")
        self.several("events say that they are queued, and are not in the queue", bad)
        double = self.database.sql("SELECT e.id FROM hookmill.events e JOIN hookmill.queue q ON q.event_id = e.id WHERE e.status <> 5")
        self.several("events are processed, and still in the queue", double)
