"""Strangers who begin requests and do not end them."""
from server import KEY

from .folders import IDLE, folder
from .target import JSON, Attack
from .wire import Crowd, head

SECONDS = 5
TASK = '{"title":"t","description":"d","created_by_id":"u","deadline":"2027-01-01","assigned_user_ids":["u"]}'
KEYED = {"method": "POST", "path": "/v1/tasks", "body": TASK, "headers": JSON, "every": 0.05, "timeout": 5}


def prepare(work):
    folder(work, "stripe", auth='scheme = "stripe"\nsecret = "TEXT"')


def crowd(target, words, count, data, reads=True):
    kept = {"keyed, kept connection": KEYED | {"kept": True}, "keyed, new connections": KEYED}
    with target.step(f"{count:,} {words}", **kept) as step:
        attackers = Crowd(target.address, data, again=True, reads=reads).run(count, SECONDS)
        step.notes.append(f"{attackers.opened:,} connections opened")
        step.answers = attackers.close()
    target.settle()


def run(target):
    start = head("POST", "/v1/hooks/stripe", {"Stripe-Signature": "t=1,v1=00"}, 1 << 20)
    half = start + b'{"a":"' + b"a" * (1 << 19)
    crowd(target, "half-sent bodies of 1 MiB", 1024, half)
    crowd(target, "half-sent bodies of 1 MiB", 3000, half)
    crowd(target, "bodies of which only a byte is sent", 3000, start + b"{")
    crowd(target, "half-sent bodies with a wrong key", 1024,
          head("POST", "/v1/tasks/batch", {"X-API-Key": "wrong"}, 16 << 20) + b"a" * (1 << 18))
    crowd(target, "connections that stay after their 401", 4200,
          head("POST", "/v1/tasks", {"X-API-Key": "wrong"}, 100_000) + b"{", reads=False)
    crowd(target, "silent connections", 4200, b"")
    crowd(target, "half-sent headers", 4200, b"POST /v1/tasks HTTP/1.1\r\nHost: attack\r\nX-A: " + b"a" * 4000)


ATTACKS = [Attack("unfinished", "thousands of connections from one address that never end their requests", run, prepare, 512)]
