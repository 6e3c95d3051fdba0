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
import datetime, re, sys, tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from delivery import Refused, Request, as_text, at_pointer, parse_json
from handshakes import asked
from proofs import candidates, claims_of, passing, proof_name
from rules import findings
from signing import sign

ROOT = Path(__file__).resolve().parent.parent.parent


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
    document = request.claims if sender.get("body", {}).get("format") == "jwt" else request.document()
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
        covered.add(name)
        yield from (f"vector {number}: {problem}" for problem in problems)
    deliveries = [it for it in sender.get("vector", []) if "handshake" not in it]
    if sender.get("delivery", {}).get("id") and not any(has_id(sender, it) for it in deliveries):
        yield "no vector has one of the delivery's ids"
    for what in [*(proof_name(it) for it in sender.get("proof", [])), *(it["name"] for it in sender.get("handshake", []))]:
        if what not in covered:
            yield f"no vector for {what}"


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
