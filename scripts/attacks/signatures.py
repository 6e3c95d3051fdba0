"""Strangers whose signature headers make the server compute HMACs over large bodies."""
import base64, time

from .folders import folder
from .target import Attack
from .wire import STRANGER, ask, at_once

BODY = b'{"a":"' + b"a" * ((1 << 20) - 20) + b'"}'
AT_ONCE, ENTRIES, SECONDS = 6, 3900, 15
# A point of the curve (RFC 8032, test 1): a signature that begins otherwise is refused before anything is hashed.
POINT = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def prepare(work):
    folder(work, "stripe", auth='scheme = "stripe"\nsecret = "TEXT"')
    folder(work, "standard", auth='scheme = "standard-webhooks"\nsecret = ["WHSEC", "WHPK"]')


def flood(target, words, name, headers):
    def one(_):
        return ask(target.address, "POST", f"/v1/hooks/{name}", BODY, headers, SECONDS, STRANGER)[0] or "no answer"

    with target.step(words) as step:
        step.answers.update(at_once(AT_ONCE, one))
    target.settle()


def standard(signatures):
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time())), "webhook-signature": signatures}


def run(target):
    now, ed25519 = int(time.time()), base64.b64encode(POINT + b"\1" + bytes(31)).decode()
    flood(target, "3,900 empty v1= entries", "stripe", {"Stripe-Signature": f"t={now}," + ",".join(["v1="] * ENTRIES)})
    flood(target, "220 wrong v1= of the right length", "stripe",
          {"Stripe-Signature": f"t={now}," + ",".join(f"v1={number:064x}" for number in range(220))})
    flood(target, "330 wrong v1 of Standard Webhooks", "standard", standard(" ".join(["v1," + "A" * 43 + "="] * 330)))
    flood(target, "3,900 empty v1 of Standard Webhooks", "standard", standard(" ".join(["v1,"] * ENTRIES)))
    flood(target, "170 wrong v1a (ed25519)", "standard", standard(" ".join([f"v1a,{ed25519}"] * 170)))
    flood(target, "3,200 empty v1a (ed25519)", "standard", standard(" ".join(["v1a,"] * 3200)))


ATTACKS = [Attack("signatures", "six requests at a time whose header lists wrong signatures, over bodies of 1 MiB", run, prepare, 256)]
