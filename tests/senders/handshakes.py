"""Handshakes: which request is a question, and its answer."""
import hmac, re

from delivery import Number, Refused, at_pointer
from proofs import encode, key_bytes, passing


def equal(sent, wanted):
    """Whether a value of the body is this one: a number is not the same as text."""
    if isinstance(sent, Number):
        return not isinstance(wanted, (str, bool)) and float(sent) == wanted
    return type(sent) is type(wanted) and sent == wanted


def fill(template, request, sender, vector):
    """An answer's text."""
    def value(found):
        kind, _, argument = found[1].partition(":")
        if kind.startswith("hmac-"):
            source, _, name = argument.partition(":")
            proof = next(it for it in sender["proof"] if it["kind"] in ("hmac", "token", "jwt"))
            mac = hmac.new(key_bytes(proof, vector["secret"]), request.source({source: name}).encode(), "sha256").digest()
            return encode(mac, kind.rpartition("-")[2])
        text = request.source({kind: argument})
        if text is None:
            raise Refused(f"{found[1]} is missing")
        return text
    if isinstance(template, dict):
        return {name: fill(it, request, sender, vector) for name, it in template.items()}
    return re.sub(r"\{([^}]+)\}", value, template) if isinstance(template, str) else template


def asked(sender, vector, request):
    """The handshake that a request is, and its answer; (None, None) for a delivery."""
    for handshake in sender.get("handshake", []):
        when = handshake["when"]
        same = request.method == when.get("method", "POST")
        for kind in "query", "header":
            same = same and all(request.source({kind: name}) == it for name, it in when.get(kind, {}).items())
        document = request.document() if when.get("body") else None
        same = same and all(equal(at_pointer(document, name), it) for name, it in when.get("body", {}).items())
        same = same and all(request.source(it) is not None for it in when.get("has", []))
        if not same or (when.get("empty") and request.body):
            continue
        proof = handshake.get("proof", "none")
        if proof == "signed":
            passing(sender, {**vector, "proof": vector["proof"]} if "proof" in vector else vector, request)
        elif isinstance(proof, dict) and request.source(proof) != vector.get("secrets", {}).get(proof["secret"]):
            raise Refused("another token")
        answer = handshake.get("answer", {})
        return handshake["name"], {"status": answer.get("status", 200), **fill({name: answer[name] for name in ("text", "json", "headers") if name in answer}, request, sender, vector)}
    return None, None
