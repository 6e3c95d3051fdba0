#!/usr/bin/env python3
"""Checks the vectors of senders/*.toml with a second implementation of docs/SENDER-FILES.md.

It needs Python 3.11 or newer, and `cryptography` (42 or newer) for everything except HMACs:
  python3 -m pip install cryptography

Usage:
  tests/senders/vectors.py check [FILE]...   verify each vector, and what every file must have
  tests/senders/vectors.py sign FILE...      compute the signatures of `computed` vectors again, in place

A new vector has SIGN where its signature belongs (`x-signature = "v0=SIGN"`), HASH where a digest of the body
belongs, and SIGN{"iss":"..."} (claims as JSON, in which "HASH" is the digest) where a JWT belongs; `sign` replaces
them. The private keys are those of keys.py: for tests only.
"""
import base64, binascii, copy, datetime, hashlib, hmac, json, re, sys, tomllib, urllib.parse, zlib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import keys
from rules import findings

ROOT = Path(__file__).resolve().parent.parent.parent


class Refused(Exception):
    """The delivery does not pass, for this reason."""


class Number(str):
    """A number as it was sent."""


def parse_json(text):
    def unique(pairs):
        return dict(pairs)
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=unique)


def at_pointer(value, pointer):
    """The value at a JSON Pointer, or None."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def as_text(value):
    """A value as text: numbers and booleans as they were sent, nothing for objects, lists and null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


class Request:
    """A delivery, as a vector describes it."""

    def __init__(self, vector, format=None):
        self.method = vector.get("method", "POST")
        self.path, _, self.query = vector.get("url", "/v1/hooks/test").partition("?")
        self.headers = {name.lower(): value for name, value in vector.get("headers", {}).items()}
        text = vector.get("body", "").encode()
        self.body = base64.b64decode(vector["body_base64"]) if "body_base64" in vector else text
        self.at = datetime.datetime.fromisoformat(vector["at"]) if "at" in vector else None
        self.format, self.claims, self.auth_url = format, {}, vector.get("auth_url")
        self.settings = vector.get("settings", {})

    def parts(self):
        """(name, content, is a file) of each part of a multipart body."""
        kind = self.headers.get("content-type", "")
        boundary = re.search(r'boundary="?([^";]+)', kind)
        found = []
        for part in self.body.split(b"--" + boundary[1].encode())[1:-1] if boundary else []:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            disposition = head.decode()
            name = re.search(r'\bname="([^"]*)"', disposition)
            found.append((name[1] if name else "", content.removesuffix(b"\r\n"), "filename" in disposition))
        return found

    def form(self):
        """The text fields of a form or a multipart body."""
        if self.headers.get("content-type", "").startswith("multipart/"):
            return [(name, content.decode()) for name, content, file in self.parts() if not file]
        return urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True)

    def document(self):
        """The body as JSON, or as a form."""
        kind = self.headers.get("content-type", "")
        if self.format == "xml":
            try:
                root = ElementTree.fromstring(self.body)
                return {local_name(root): element(root)}
            except ElementTree.ParseError:
                return None
        try:
            return parse_json(self.body.decode())
        except ValueError:
            try:
                return dict(self.form()) if b"=" in self.body or "multipart" in kind else None
            except ValueError:
                return None

    def source(self, source):
        """The text of a source, or None."""
        if "header" in source:
            return self.headers.get(source["header"])
        if "query" in source:
            found = [it for name, it in urllib.parse.parse_qsl(self.query, keep_blank_values=True) if name == source["query"]]
            return found[0] if len(found) == 1 else None
        if "claim" in source:
            return as_text(at_pointer(self.claims, source["claim"]))
        if source["body"] == "":
            return self.body.decode()
        return as_text(at_pointer(self.document(), source["body"]))


def local_name(node):
    return node.tag.rpartition("}")[2]


def element(node):
    """An XML element as a value: local names, repeated ones as lists, text as text."""
    if not len(node):
        return node.text or ""
    members = {}
    for child in node:
        members.setdefault(local_name(child), []).append(element(child))
    return {key: it[0] if len(it) == 1 else it for key, it in members.items()}


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
        for kind in "query", "header", "body":
            same = same and all(request.source({kind: name}) == it for name, it in when.get(kind, {}).items())
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


def payload(sender, request):
    """What reaches the mapper, as far as the proof is concerned: equal payloads are the same delivery."""
    rules = sender.get("body", {})
    if rules.get("format") == "jwt":
        return None
    if "multipart" in request.headers.get("content-type", ""):
        return request.parts()
    document = request.document()
    if rules.get("signed_only"):
        names = set(re.findall(r"\{body:([^}]+)\}", "".join(it.get("text", "") for it in sender["proof"])))
        return {name: at_pointer(document, name) for name in names}
    return request.body if document is None else document


def mutations(body):
    """The same body with one byte changed, at each position of a short one and at some of a long one."""
    step = max(1, len(body) // 256)
    for position in range(0, len(body), step):
        yield body[:position] + bytes([body[position] ^ 1]) + body[position + 1:]


def check_changes(sender, proof, vector, request):
    """A changed delivery must not pass, or must have the same payload."""
    covered = not proof.get("body_unsigned")
    format = sender.get("body", {}).get("format")
    whole = payload(sender, request)
    for body in mutations(request.body) if covered else []:
        changed = Request(vector, format)
        changed.body = body
        try:
            if passing(sender, vector, changed) and payload(sender, changed) != whole:
                yield f"the body {body!r} passes as well"
                return
        except (Refused, UnicodeDecodeError, KeyError):
            continue
    if "time" in proof:
        tolerance = proof["time"].get("tolerance_seconds", 300)
        for seconds in tolerance + 1, -tolerance - 1:
            late = Request(vector, format)
            late.at += datetime.timedelta(seconds=seconds + (1 if seconds > 0 else -1))
            try:
                passing(sender, vector, late)
                yield f"passes {seconds} seconds later"
            except Refused:
                pass
    source = proof.get("at", {})
    signed = re.findall(r"\{header:([^}]+)\}", proof.get("text", ""))
    for header in [*([source["header"]] if "header" in source else []), *signed]:
        changed = Request(vector, format)
        value = changed.headers[header]
        changed.headers[header] = value[:-4] + ("AAAA" if value[-4:] != "AAAA" else "BBBB")
        try:
            passing(sender, vector, changed)
            yield f"passes with another {header}"
        except Refused:
            pass


def check_vector(sender, vector):
    """The problems of one vector, and what it covers: a proof's or a handshake's name."""
    format = sender.get("body", {}).get("format")
    request = Request(vector, format)
    try:
        name, answer = asked(sender, vector, request)
        if "handshake" in vector:
            if name != vector["handshake"]:
                return [f"is {name}, not {vector['handshake']}"], None
            expected = {"status": 200, **vector.get("answer", {})}
            return [] if answer == expected else [f"answer {answer}, expected {expected}"], name
        if name:
            return [f"is the handshake {name}"], None
        passed = passing(sender, vector, request)
    except (Refused, KeyError) as refused:
        return [f"refused: {refused!r}"], None
    proof = next(it for it in sender["proof"] if proof_name(it) == passed)
    return list(check_changes(sender, proof, vector, request)), passed


def has_id(sender, vector):
    """Whether a delivery has one of the ids that the file names."""
    request = Request(vector, sender.get("body", {}).get("format"))
    for proof in sender["proof"]:
        if proof["kind"] == "jwt":
            request.claims = claims_of(candidates(proof["at"], request)[0])
    return delivery_id(sender, request) is not None


def delivery_id(sender, request):
    """The id of a delivery, or None."""
    document = request.document()
    for pointer in sender.get("body", {}).get("json_in", []):
        parent, _, name = pointer.rpartition("/")
        holder = at_pointer(document, parent)
        if isinstance(holder, dict) and isinstance(holder.get(name), str):
            try:
                holder[name] = parse_json(holder[name])
            except ValueError:
                pass
    for pointer in sender.get("body", {}).get("unwrap", []):
        if isinstance(document, dict) and list(document) == [pointer[1:]]:
            document = parse_json(document[pointer[1:]])
    read = lambda it: as_text(at_pointer(document, it["body"])) if "body" in it else request.source(it)
    for source in sender.get("delivery", {}).get("id", []):
        found = [read(it) for it in (source if isinstance(source, list) else [source])]
        if all(it is not None for it in found):
            return found
    return None


def check(path):
    sender = tomllib.loads(path.read_text())
    yield from findings(sender, path)
    covered = set()
    for number, vector in enumerate(sender.get("vector", []), 1):
        problems, name = check_vector(sender, vector)
        # A vector of a signed handshake covers the proof that it names as well.
        covered |= {name, vector.get("proof")} if not problems else set()
        yield from (f"vector {number}: {problem}" for problem in problems)
    deliveries = [it for it in sender.get("vector", []) if "handshake" not in it]
    if sender.get("delivery", {}).get("id") and not any(has_id(sender, it) for it in deliveries):
        yield "no vector has one of the delivery's ids"
    for what in [*(proof_name(it) for it in sender.get("proof", [])), *(it["name"] for it in sender.get("handshake", []))]:
        if what not in covered:
            yield f"no vector for {what}"


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


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in ("check", "sign"):
        sys.exit(__doc__)
    paths = [Path(it) for it in sys.argv[2:]] or sorted((ROOT / "senders").glob("*.toml"))
    failed = 0
    for path in paths:
        if sys.argv[1] == "sign":
            sign(path)
        for problem in check(path):
            failed += 1
            print(f"{path.name}: {problem}")
    print(f"{len(paths)} files, {failed} findings")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
