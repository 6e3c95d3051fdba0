"""What clients know, to compare with what the database has."""
import threading, time
from collections import Counter, defaultdict


class Task:
    """A task that was acknowledged, as its owner last knew it."""

    def __init__(self, document):
        self.id, self.title, self.document, self.deleted = document["id"], document["title"], document, False

    def version(self):
        return self.document["version"]


class Record:
    def __init__(self):
        self.lock = threading.Lock()
        self.tasks, self.deleted_titles = {}, set()
        # Titles that must exist exactly once, and those that may exist once: nobody knows.
        self.sure, self.unsure = {}, {}
        # Titles of each ordering key, in the order in which they were acknowledged.
        self.lanes = defaultdict(list)
        # Requests with a key, and their first response.
        self.answers = []
        # Acknowledged async deliveries: title -> (event, time).
        self.accepted = {}
        self.acknowledged, self.failed, self.retried, self.refusals = Counter(), Counter(), Counter(), Counter()
        self.violations, self.times, self.slowest = [], [], 0.0
        self.began, self.ended = time.monotonic(), None

    def violation(self, text):
        with self.lock:
            self.violations.append(text)

    def acknowledge(self, kind, began):
        now = time.monotonic()
        with self.lock:
            self.acknowledged[kind] += 1
            self.slowest = max(self.slowest, now - began)
            if kind not in ("read", "list"):
                self.times.append(now)

    def longest_gap(self):
        """Longest time without an acknowledged write of any client."""
        times = [self.began, *sorted(self.times), self.ended or time.monotonic()]
        return max(later - earlier for earlier, later in zip(times, times[1:]))

    def summary(self):
        return {"acknowledged": dict(self.acknowledged), "failed": dict(self.failed), "retried": dict(self.retried),
                "refusals": {" ".join(map(str, it)): count for it, count in self.refusals.most_common()},
                "longest_gap_s": round(self.longest_gap(), 2), "slowest_answer_s": round(self.slowest, 2)}
