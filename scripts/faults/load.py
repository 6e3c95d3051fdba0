"""Mixed load of clients that behave as real ones do: they repeat a request under the same key until it is answered."""
import http.client, json, random, threading, time, uuid

from .nodes import LATER, SYNC
from .record import Task
from server import KEY

TASK = {"description": "Call back", "assigned_user_ids": ["user_1", "user_2"], "created_by_id": "user_9",
        "deadline": "2026-12-01T09:00:00Z", "priority": "high", "tags": ["a", "b"], "patient_id": "p1"}
WEIGHTS = {"create": 22, "keyed": 20, "hook": 20, "patch": 16, "delete": 4, "list": 4, "read": 14}
# Status codes that say "try again".
AGAIN = {408, 425, 429, 500, 502, 503, 504, 507}


class GaveUp(Exception):
    """No answer, although nothing is broken any more."""


class Client:
    """A client that sends each request to any node, and waits for `patience` seconds."""

    def __init__(self, load, seed):
        self.load, self.record, self.random = load, load.record, random.Random(seed)
        self.connections = {}

    def send(self, method, path, body=None, headers=(), address=None, patience=None):
        """One attempt: status, headers and bytes. Without a response it raises OSError."""
        addresses = self.load.nodes.addresses()
        if not address and not addresses:
            raise OSError("no node")
        address = address or self.random.choice(addresses)
        connection = self.connections.pop(address, None) or http.client.HTTPConnection(address, timeout=patience or self.load.patience)
        all_headers = {"X-API-Key": KEY, "Content-Type": "application/json"} | dict(headers)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), all_headers)
            answer = connection.getresponse()
            said = answer.status, {name.lower(): it for name, it in answer.getheaders()}, answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise OSError(repr(error)) from None
        self.connections[address] = connection
        return said

    def once(self, kind, *request, **more):
        """One attempt; None if it has no useful answer."""
        try:
            status, headers, text = self.send(*request, **more)
        except OSError as error:
            with self.record.lock:
                self.record.refusals["no answer", str(error).split("(")[0]] += 1
            return None
        if status in AGAIN:
            try:
                code = json.loads(text)["detail"]["code"]
            except (ValueError, KeyError, TypeError):
                code = text[:80]
                self.record.violation(f"{kind}: {status} without a code: {text[:200]}")
            with self.record.lock:
                self.record.refusals[status, code] += 1
            return None
        return status, headers, text

    def until_answered(self, kind, *request, **more):
        tries = 0
        while True:
            said = self.once(kind, *request, **more)
            if said:
                return said
            tries += 1
            with self.record.lock:
                self.record.retried[kind] += 1
            if time.monotonic() > self.load.deadline:
                raise GaveUp(f"{kind}: no answer after {tries} attempts")
            time.sleep(min(0.05 * 2 ** min(tries, 4), 0.5) * self.random.uniform(0.5, 1))

    def expect(self, kind, said, statuses, what):
        if said[0] in statuses:
            return True
        self.record.violation(f"{kind}: {said[0]} {said[2][:300].decode(errors='replace')} ({what})")
        return False


class Load:
    """Threads with mixed requests, and one for each ordering key."""

    def __init__(self, nodes, record, seed, mixed=6, lanes=6, loose=1, patience=8.0, pause=0.01):
        self.nodes, self.record, self.seed, self.patience, self.pause = nodes, record, seed, patience, pause
        self.stopped, self.deadline, self.run = threading.Event(), float("inf"), uuid.uuid4().hex[:6]
        kinds = [Mixed] * mixed + [Lane] * lanes + [Loose] * loose
        self.threads = [threading.Thread(target=self.work, args=(kind(self, f"{seed}-{n}"), n), daemon=True) for n, kind in enumerate(kinds)]

    def work(self, client, number):
        try:
            client.name, client.count = f"{self.run}-{number}", 0
            while not self.stopped.is_set():
                client.step()
                time.sleep(client.random.uniform(0, 2 * self.pause))
        except GaveUp as error:
            self.record.violation(f"client {number}: {error}")
        except Exception as error:  # A client that ends must not look like a success.
            self.record.violation(f"client {number} failed: {error!r}")

    def __enter__(self):
        for it in self.threads:
            it.start()
        return self

    def stop(self, seconds=60):
        """Ends the load: requests with a key are repeated until they are answered."""
        if self.stopped.is_set():
            return
        self.record.ended = time.monotonic()
        self.deadline = time.monotonic() + seconds
        self.stopped.set()
        for it in self.threads:
            it.join(seconds + 60)
            if it.is_alive():
                self.record.violation("a client is still waiting")

    def __exit__(self, kind, *_):
        self.stop(60 if kind is None else 1)


class Mixed(Client):
    """All kinds of requests about tasks of its own."""

    def step(self):
        kind = self.random.choices(list(WEIGHTS), WEIGHTS.values())[0]
        self.count += 1
        getattr(self, kind)(time.monotonic())

    def title(self, kind):
        return f"{kind} {self.name} {self.count}"

    def created(self, kind, said, began, title):
        task = Task(json.loads(said[2]))
        if task.title != title:
            self.record.violation(f"{kind}: the answer has the title {task.title}, not {title}")
        self.mine = getattr(self, "mine", [])
        self.mine.append(task)
        with self.record.lock:
            self.record.tasks[task.id] = task
            self.record.sure[title] = kind
        self.record.acknowledge(kind, began)

    def create(self, began):
        title = self.title("create")
        said = self.once("create", "POST", "/v1/tasks", TASK | {"title": title})
        if said is None:
            with self.record.lock:
                self.record.failed["create"] += 1
                self.record.unsure[title] = "create"
        elif self.expect("create", said, [201], title):
            self.created("create", said, began, title)

    def under_key(self, kind, path, body, title, began):
        headers = {"Idempotency-Key": str(uuid.UUID(int=self.random.getrandbits(128), version=4))}
        said = self.until_answered(kind, "POST", path, body, headers)
        if self.expect(kind, said, [200, 201], title):
            self.created(kind, said, began, title)
            with self.record.lock:
                self.record.answers.append((path, body, headers, said[2]))

    def keyed(self, began):
        title = self.title("keyed")
        self.under_key("keyed", "/v1/tasks", TASK | {"title": title}, title, began)

    def hook(self, began):
        title = self.title("hook")
        self.under_key("hook", f"/v1/hooks/{SYNC}", {"subject": title, "id": title}, title, began)

    def pick(self):
        alive = [it for it in getattr(self, "mine", [])[-60:] if not it.deleted]
        return self.random.choice(alive) if alive else None

    def patch(self, began):
        """A change under the version that the owner knows. Without an answer it looks whether the change was made."""
        if not (task := self.pick()):
            return
        wanted = f"changed by {self.title('patch')}"
        headers = {"If-Match": f'"{task.version()}"'}
        said = self.until_answered("patch", "PATCH", f"/v1/tasks/{task.id}", {"description": wanted}, headers)
        if said[0] == 409:
            said = self.until_answered("read", "GET", f"/v1/tasks/{task.id}")
            if said[0] == 200 and json.loads(said[2])["description"] != wanted:
                return self.record.violation(f"patch: task {task.id} had version {task.version()} and is {said[2][:400]}; nobody else changes it")
        if self.expect("patch", said, [200], f"{task.id}, version {task.version()}"):
            document = json.loads(said[2])
            if document["version"] != task.version() + 1 or document["description"] != wanted:
                self.record.violation(f"patch: task {task.id} of version {task.version()} became {said[2][:400]}")
            task.document = document
            self.record.acknowledge("patch", began)

    def delete(self, began):
        if not (task := self.pick()):
            return
        task.deleted = True
        said = self.until_answered("delete", "DELETE", f"/v1/tasks/{task.id}")
        # The repetition of a deletion that was made: it is gone already.
        if self.expect("delete", said, [204, 404], task.id):
            with self.record.lock:
                self.record.sure.pop(task.title, None)
                self.record.deleted_titles.add(task.title)
            self.record.acknowledge("delete", began)

    def read(self, began):
        """Any node must have what any other one has acknowledged."""
        if not (task := self.pick()):
            return
        said = self.once("read", "GET", f"/v1/tasks/{task.id}")
        if said is None:
            with self.record.lock:
                self.record.failed["read"] += 1
        elif self.expect("read", said, [200], f"{task.id}, acknowledged with version {task.version()}"):
            if json.loads(said[2]) != task.document:
                self.record.violation(f"read: {said[2].decode()} is not what was acknowledged: {json.dumps(task.document)}")
            self.record.acknowledge("read", began)

    def list(self, began):
        said = self.once("list", "GET", "/v1/tasks?limit=50")
        if said is None:
            with self.record.lock:
                self.record.failed["list"] += 1
        elif self.expect("list", said, [200], "a page"):
            self.record.acknowledge("list", began)


class Later(Client):
    """Deliveries that are acknowledged with 202."""

    def deliver(self, title, body):
        began, headers = time.monotonic(), {"Idempotency-Key": title.replace(" ", ":")}
        path = f"/v1/hooks/{LATER}"
        said = self.until_answered("later", "POST", path, body, headers)
        # A repetition of a delivery that was stored is answered with 200.
        if self.expect("later", said, [200, 202], title):
            with self.record.lock:
                self.record.sure[title] = "later"
                self.record.accepted[title] = (said[1].get("x-event-id"), time.monotonic())
                self.record.answers.append((path, body, headers, said[2]))
            self.record.acknowledge("later", began)
            return True
        return False


class Lane(Later):
    """One ordering key: the next delivery follows after the acknowledgement of the one before."""

    def step(self):
        self.count += 1
        title = f"lane {self.name} {self.count:05}"
        if self.deliver(title, {"subject": title, "group": self.name}):
            self.record.lanes[self.name].append(title)


class Loose(Later):
    """Without an ordering key."""

    def step(self):
        self.count += 1
        title = f"loose {self.name} {self.count:05}"
        self.deliver(title, {"subject": title})
