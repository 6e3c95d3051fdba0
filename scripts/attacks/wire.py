"""Hostile clients: one request with everything under control, and crowds of connections in one thread."""
import errno, selectors, socket, threading, time
from collections import Counter

STRANGER = "127.0.0.66"  # where the attackers come from; Linux has all of 127.0.0.0/8 on its loopback


def where(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def head(method, path, headers=(), length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: attack"] + [f"{name}: {value}" for name, value in dict(headers).items()]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def ask(address, method, path, body=b"", headers=(), seconds=60, source=None):
    """One request on its own connection: its status (0 for none), the response's bytes (the first MiB), their number."""
    began, got, size = time.monotonic(), b"", 0
    left = lambda: max(0.01, seconds - (time.monotonic() - began))
    try:
        with socket.create_connection(where(address), seconds, source and (source, 0)) as connection:
            try:
                connection.sendall(head(method, path, {"Connection": "close", **dict(headers)}, len(body)) + body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before
            while True:
                connection.settimeout(left())
                piece = connection.recv(1 << 18)
                if not piece:
                    break
                size += len(piece)
                got += piece if len(got) < 1 << 20 else b""
    except OSError:
        pass
    return status_of(got), got.partition(b"\r\n\r\n")[2], size


def status_of(answer):
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") and answer[9:12].isdigit() else 0


def at_once(count, work):
    """Runs `work(number)` in as many threads; returns their results."""
    results = [None] * count

    def run(number):
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Crowd:
    """Many connections that send the same bytes, and what comes back. `again` opens those that end once more."""

    def __init__(self, address, data, source=STRANGER, again=False, reads=True, buffer=None):
        self.address, self.data, self.source = where(address), memoryview(data), source
        self.again, self.reads, self.buffer = again, reads, buffer
        self.selector, self.answers, self.opened, self.wanted, self.live = selectors.DefaultSelector(), Counter(), 0, 0, {}

    def open(self):
        connection = socket.socket()
        connection.setblocking(False)
        if self.buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        try:
            connection.bind((self.source, 0))
            if connection.connect_ex(self.address) not in (0, errno.EINPROGRESS):
                raise OSError
        except OSError:
            connection.close()
            self.answers["not connected"] += 1
            return
        self.opened += 1
        self.live[connection] = [0, b""]
        self.selector.register(connection, selectors.EVENT_READ * self.reads | selectors.EVENT_WRITE)

    def end(self, connection, how):
        self.answers[how] += 1
        self.selector.unregister(connection)
        connection.close()
        del self.live[connection]

    def write(self, connection, state):
        sent = connection.send(self.data[state[0]:state[0] + (1 << 16)]) if len(self.data) else 0
        state[0] += sent
        if state[0] == len(self.data) and self.reads:
            self.selector.modify(connection, selectors.EVENT_READ)
        elif state[0] == len(self.data):
            self.selector.unregister(connection)

    def turn(self, key, mask):
        connection, state = key.fileobj, self.live[key.fileobj]
        try:
            if mask & selectors.EVENT_READ:
                piece = connection.recv(1 << 16)
                state[1] = (state[1] + piece)[:16]
                if not piece or status_of(state[1]):
                    return self.end(connection, status_of(state[1]) or "closed")
            if mask & selectors.EVENT_WRITE:
                self.write(connection, state)
        except BlockingIOError:
            pass
        except OSError:
            self.end(connection, status_of(state[1]) or "closed")

    def run(self, count, seconds, width=1 << 20):
        """Opens `count` connections, `width` at a time, and serves them for so long, or until all have ended."""
        end, self.wanted = time.monotonic() + seconds, self.wanted + count
        while time.monotonic() < end:
            for _ in range(min(64, self.wanted, max(0, width - len(self.live)))):
                self.open()
                self.wanted -= 1
            before = len(self.live)
            for key, mask in self.selector.select(0 if self.wanted and before < width else 0.05) if before else ():
                self.turn(key, mask)
            self.wanted += (before - len(self.live)) if self.again else 0
            if not self.live and not self.wanted:
                break
        return self

    def close(self):
        """Closes the remaining connections; returns the responses of all."""
        for connection in list(self.live):
            self.answers["no answer"] += 1
            connection.close()
        self.live.clear()
        self.selector.close()
        return self.answers
