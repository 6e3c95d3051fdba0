"""A TCP proxy between a node and its database that can break in several ways."""
import selectors, socket, threading


class Proxy:
    """Modes:
    pass       forwards everything, also what it has accepted while it was a blackhole
    blackhole  accepts connections and bytes, and forwards nothing
    forgotten  forwards for new connections; those from before stay silent, as behind a firewall that has lost its state
    reset      resets each connection
    deaf       the database gets what the node sends, and its responses are lost; such connections are reset afterwards
    """

    def __init__(self, upstream):
        self.upstream, self.mode, self.pairs, self.lock = upstream, "pass", set(), threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, mode):
        with self.lock:
            pairs = list(self.pairs)
            if mode == "forgotten":
                for pair in pairs:
                    pair.silent = True
            self.mode = mode
        for pair in pairs:
            pair.reset() if mode == "reset" or (pair.missed and mode != "deaf") else pair.wake()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.mode == "reset":
                abort(client)
                continue
            pair = Pair(self, client)
            with self.lock:
                self.pairs.add(pair)
            threading.Thread(target=pair.run, daemon=True).start()

    def close(self):
        self.listener.close()
        self.set("reset")


class Pair:
    """A connection of a client, and the one to the database, which is opened when bytes may pass."""

    def __init__(self, proxy, client):
        self.proxy, self.client, self.server, self.silent, self.missed = proxy, client, None, False, False
        self.asleep, self.alarm = socket.socketpair()
        self.waiting = {}

    def passes(self):
        return self.proxy.mode in ("pass", "forgotten", "deaf") and not self.silent

    def wake(self):
        try:
            self.alarm.send(b"x")
        except OSError:
            pass

    def reset(self):
        abort(self.client)
        self.wake()

    def run(self):
        try:
            self.forward()
        except OSError:
            pass
        for it in (self.client, self.server):
            if it:
                abort(it)
        with self.proxy.lock:
            self.proxy.pairs.discard(self)
        self.asleep.close()
        self.alarm.close()

    def forward(self):
        selector = selectors.DefaultSelector()
        selector.register(self.client, selectors.EVENT_READ)
        selector.register(self.asleep, selectors.EVENT_READ)
        while True:
            if self.server is None and self.passes():
                self.server = socket.socket(socket.AF_UNIX)
                self.server.connect(self.proxy.upstream)
                selector.register(self.server, selectors.EVENT_READ)
            if self.passes():
                for to, what in list(self.waiting.items()):
                    (self.server if to == "server" else self.client).sendall(what)
                self.waiting.clear()
            for key, _ in selector.select():
                if key.fileobj is self.asleep:
                    self.asleep.recv(64)
                    if self.proxy.mode == "reset" or (self.missed and self.proxy.mode != "deaf"):
                        return
                    continue
                what = key.fileobj.recv(65536)
                if not what:
                    if self.passes():
                        return
                    # The end of the connection does not pass either.
                    selector.unregister(key.fileobj)
                    continue
                to = "server" if key.fileobj is self.client else "client"
                if to == "client" and self.proxy.mode == "deaf":
                    self.missed = True
                    continue
                self.waiting[to] = self.waiting.get(to, b"") + what


def abort(connection):
    """Closes a connection with a reset."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.shutdown(socket.SHUT_RDWR) if connection.family == socket.AF_UNIX else None
        connection.close()
    except OSError:
        pass
