"""Proofs: a second implementation of `[[proof]]` in docs/SENDER-FILES.md."""
import base64, binascii, datetime, hashlib, hmac, json, re, urllib.parse, zlib

import keys
from delivery import Refused, as_text, at_pointer, parse_json


def digest(which, body):
    hash, _, encoding = which.partition("-")
    if hash == "crc32":
        return str(zlib.crc32(body)).encode()
    raw = hashlib.new(hash, body).digest()
    return raw.hex().encode() if encoding == "hex" else base64.b64encode(raw)


def piece(name, request, claim):
    """The bytes of a placeholder."""
    kind, _, argument = name.partition(":")
    if name == "body":
        return request.body
    if name in ("time", "id"):
        return claim[name].encode()
    if name == "url":
        url = request.auth_url
        return (url + (f"?{request.query}" if request.query else "")).encode()
    if name == "path":
        return (urllib.parse.urlsplit(request.auth_url).path if request.auth_url else request.path).encode()
    if name in ("method", "query"):
        return getattr(request, name).encode()
    if name == "form-sorted":
        return "".join(name + value for name, value in sorted(set(request.form()))).encode()
    if name == "files-sha1-sorted":
        files = sorted((name, content) for name, content, file in request.parts() if file)
        return "".join(name + hashlib.sha1(content).hexdigest() for name, content in files).encode()
    if name == "length":
        return str(len(request.body)).encode()
    if name == "secret":
        return claim["secret"].encode()
    if kind == "setting":
        return request.settings[argument].encode()
    if argument == "body" or kind == "crc32":
        return digest(kind, request.body)
    value = request.source({kind: argument})
    if value is None:
        raise Refused(f"{name} is missing")
    return value.encode()


def signed_text(template, request, claim):
    parts = re.split(r"\{([^}]+)\}", template)
    return b"".join(it.encode() if n % 2 == 0 else piece(it, request, claim) for n, it in enumerate(parts))


def entries(text, at):
    """The name and value of each entry of a list; names are None without `pair`."""
    for entry in text.split(at["split"]):
        entry = entry.strip()
        if "pair" not in at:
            yield None, entry
        elif at["pair"] in entry:
            yield tuple(entry.split(at["pair"], 1))


def candidates(at, request):
    """The signatures or tokens that a delivery has."""
    text = request.source(at)
    if text is None:
        raise Refused(f"no {at}")
    if "split" in at:
        return [value for name, value in entries(text, at) if name == at.get("take")]
    prefix = at.get("prefix", "")
    fits = text.lower().startswith(prefix.lower()) if prefix.endswith(" ") else text.startswith(prefix)
    if not fits:
        raise Refused("the prefix is missing")
    return [text[len(prefix):]]


def moment(text, unit):
    if unit == "rfc3339":
        return datetime.datetime.fromisoformat(text)
    seconds = int(text) / (1000 if unit == "ms" or (unit == "unix" and len(text) >= 13) else 1)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def signing_time(proof, request):
    time = proof["time"]
    if "take" in time:
        found = [it for name, it in entries(request.source(proof["at"]) or "", proof["at"]) if name == time["take"]]
        text = found[0] if found else None
    else:
        text = request.source(time)
    if text is None:
        raise Refused("no time")
    try:
        age = abs((request.at - moment(text, time.get("unit", "s"))).total_seconds())
    except ValueError:
        raise Refused("not a time")
    if age > time.get("tolerance_seconds", 300):
        raise Refused("too old")
    return text


def decode(text, encoding):
    try:
        if encoding == "hex":
            return bytes.fromhex(text) if re.fullmatch(r"[0-9a-fA-F]+", text) else b""
        text = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4) if encoding == "base64url" else text
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


def encode(raw, encoding):
    if encoding == "hex":
        return raw.hex()
    return (base64.urlsafe_b64encode(raw).rstrip(b"=") if encoding == "base64url" else base64.b64encode(raw)).decode()


def key_bytes(proof, secret):
    if "key_prefix" in proof:
        if not secret.startswith(proof["key_prefix"]):
            raise Refused("the secret lacks its prefix")
        secret = secret.removeprefix(proof["key_prefix"])
    secret = secret.removeprefix(proof.get("strip", ""))
    kind = proof.get("key", "text")
    if secret.startswith("-----BEGIN") or kind == "text":
        return secret.encode()
    try:
        return bytes.fromhex(secret) if kind == "hex" else base64.b64decode(secret, validate=True)
    except ValueError:
        raise Refused("the secret is not a key of this proof")


def claims_of(token):
    try:
        return parse_json(decode(token.split(".")[1], "base64url"))
    except (IndexError, ValueError):
        raise Refused("not a JWT")


def body_digest(rule, body):
    """A digest as a sender writes it, with its prefix."""
    return rule.get("prefix", "") + encode(hashlib.new(rule.get("hash", "sha256"), body).digest(), rule.get("encoding", "hex"))


def check_claims(proof, claims, request):
    for pointer, expected in proof.get("claims", {}).items():
        expected = re.sub(r"\{setting:(.*?)\}", lambda it: request.settings[it[1]], expected)
        value = at_pointer(claims, pointer)
        if expected not in [as_text(it) for it in (value if isinstance(value, list) else [value])]:
            raise Refused(f"{pointer} is {value}")
    now = request.at.timestamp()
    if "exp" in claims and now > float(claims["exp"]) + 60 or "nbf" in claims and now < float(claims["nbf"]) - 60:
        raise Refused("expired")


def verify(proof, request, vector):
    """Checks a delivery; raises Refused."""
    kind = proof["kind"]
    for source in proof.get("absent", []):
        if request.source(source) is not None:
            raise Refused(f"{source} must be absent")
    if kind in ("api-key", "url-secret"):
        given = request.headers.get("x-api-key", "") if kind == "api-key" else request.path.rpartition("/")[2]
        if given != vector["secret"]:
            raise Refused("another secret")
        return
    if kind == "basic":
        expected = base64.b64encode(f"{vector['username']}:{vector['secret']}".encode()).decode()
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if (scheme.lower(), given) != ("basic", expected):
            raise Refused("another password")
        return
    claim = {"secret": vector.get("secret", "")}
    if "time" in proof and kind != "jwt":
        claim["time"] = signing_time(proof, request)
    if "id" in proof:
        claim["id"] = request.source(proof["id"])
        if claim["id"] is None:
            raise Refused("no id")
    found = candidates(proof["at"], request)
    if kind == "token":
        if vector["secret"] not in found:
            raise Refused("another token")
    elif kind == "jwt":
        check_jwt(proof, found[0], request, vector)
    else:
        text = signed_text(proof.get("text", "{body}"), request, claim)
        if not any(fits(proof, text, decode(it, proof.get("encoding", "hex")), vector) for it in found):
            raise Refused("another signature")
    if rule := proof.get("body_hash"):
        sent = request.source(rule)
        digest = hashlib.new(rule.get("hash", "sha256"), request.body).digest()
        prefix = rule.get("prefix", "")
        if sent is None or not sent.startswith(prefix) or decode(sent.removeprefix(prefix), rule.get("encoding", "hex")) != digest:
            raise Refused("another body")


def fits(proof, text, signature, vector):
    kind, hash = proof["kind"], proof.get("hash", "sha256")
    if kind == "hmac":
        return hmac.compare_digest(hmac.new(key_bytes(proof, vector["secret"]), text, hash).digest(), signature)
    if kind == "digest":
        return hashlib.new(hash, text).digest() == signature
    public = vector["keys"] if "keys" in vector else key_bytes(proof, vector["secret"])
    return keys.verify(kind, public, text, signature, hash, proof.get("format", "der"))


def check_jwt(proof, token, request, vector):
    try:
        head, body, signature = token.split(".")
        header = json.loads(decode(head, "base64url"))
    except ValueError:
        raise Refused("not a JWT")
    if header.get("alg") != proof["alg"]:
        raise Refused("another algorithm")
    text, signature = f"{head}.{body}".encode(), decode(signature, "base64url")
    if proof["alg"] == "HS256":
        right = hmac.compare_digest(hmac.new(key_bytes(proof, vector["secret"]), text, "sha256").digest(), signature)
    else:
        right = keys.verify_jwt(proof["alg"], vector["keys"], header.get("kid"), text, signature)
    if not right:
        raise Refused("another signature")
    request.claims = claims_of(token)
    if "time" in proof:
        signing_time(proof, request)
    check_claims(proof, request.claims, request)


def proof_name(proof):
    return proof.get("name", proof["kind"])


def passing(sender, vector, request):
    """The name of the first proof that a vector passes; raises Refused."""
    reason = Refused("no proof applies")
    for proof in sender["proof"]:
        if "proof" in vector and proof_name(proof) != vector["proof"]:
            continue
        try:
            verify(proof, request, vector)
            return proof_name(proof)
        except Refused as refused:
            reason = refused
    raise reason
