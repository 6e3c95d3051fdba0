"""Computes the signatures of vectors, as the sender would."""
import hashlib, hmac, json, tomllib, urllib.parse

import keys
from delivery import Refused, Request
from proofs import body_digest, candidates, decode, encode, key_bytes, proof_name, signed_text, signing_time


def signature(proof, request, vector, claim):
    """The signature that a sender would compute, as text."""
    text = signed_text(proof.get("text", "{body}"), request, claim)
    kind, hash = proof["kind"], proof.get("hash", "sha256")
    if kind == "hmac":
        raw = hmac.new(key_bytes(proof, vector["secret"]), text, hash).digest()
    elif kind == "digest":
        raw = hashlib.new(hash, text).digest()
    else:
        raw = keys.sign(kind, text, hash, proof.get("format", "der"))
    return encode(raw, proof.get("encoding", "hex"))


def jwt(proof, claims, vector):
    header = {"alg": proof["alg"], "typ": "JWT"} | ({} if proof["alg"] == "HS256" else {"kid": keys.KID})
    compact = lambda it: encode(json.dumps(it, separators=(",", ":")).encode(), "base64url")
    text = f"{compact(header)}.{compact(claims)}"
    if proof["alg"] == "HS256":
        raw = hmac.new(key_bytes(proof, vector["secret"]), text.encode(), "sha256").digest()
    else:
        raw = keys.sign_jwt(proof["alg"], text.encode())
    return f"{text}.{encode(raw, 'base64url')}"


def sign_vector(sender, vector, text):
    """The text of a vector's table, with its signature computed again."""
    format = sender.get("body", {}).get("format")
    names = vector.get("proof")
    proof = next((it for it in sender["proof"] if proof_name(it) == names or names is None), None)
    if proof is None or proof["kind"] in ("token", "basic", "url-secret", "api-key"):
        return text
    rule = proof.get("body_hash", {})
    if rule and "claim" not in rule:
        old = Request(vector, format).source(rule).removeprefix(rule.get("prefix", ""))
        new = body_digest({**rule, "prefix": ""}, Request(vector, format).body)
        text = text.replace(old, urllib.parse.quote(new, safe="/") if "query" in rule else new)
        vector = tomllib.loads(text)["vector"][0]
    request = Request(vector, format)
    try:
        found = candidates(proof["at"], request)
    except Refused:
        return text
    if proof["kind"] == "jwt":
        old = found[0].strip()
        claims = json.loads(old.removeprefix("SIGN")) if old.startswith("SIGN") else json.loads(decode(old.split(".")[1], "base64url"))
        for pointer in [rule["claim"][1:]] if rule else []:
            claims[pointer] = body_digest(rule, request.body)
        return text.replace(old, jwt(proof, claims, vector))
    claim = {"secret": vector.get("secret", "")}
    if "time" in proof:
        claim["time"] = signing_time(proof, request)
    if "id" in proof:
        claim["id"] = request.source(proof["id"])
    return text.replace(found[0], signature(proof, request, vector, claim))


def sign(path):
    text = path.read_text()
    sender = tomllib.loads(text)
    head, *tables = text.split("[[vector]]\n")
    for number, vector in enumerate(sender["vector"]):
        if vector["source"] == "computed":
            tables[number] = sign_vector(sender, vector, "[[vector]]\n" + tables[number]).removeprefix("[[vector]]\n")
    path.write_text("[[vector]]\n".join([head, *tables]))
