"""What every sender file must have, apart from its vectors."""
import re

GROUPS = ("voice", "telephony", "fax", "ehr", "scheduling", "forms", "messaging", "platform")
TABLES = {"name", "title", "group", "docs", "checked", "setup", "proof", "secrets", "settings", "delivery", "body", "answer", "handshake", "vector"}
PROOF = {"name", "kind", "hash", "key", "strip", "key_prefix", "at", "encoding", "format", "time", "id", "text", "body_hash", "absent", "alg", "claims", "keys", "body_unsigned"}
KINDS = {"hmac", "digest", "ed25519", "ecdsa-p256", "rsa", "jwt", "token", "basic", "url-secret", "api-key"}
CREDENTIALS = {"token", "basic", "url-secret", "api-key"}
DIGESTS = r"\{(sha256-hex|sha256-base64|sha1-hex|sha512-hex):body\}"


def covers_body(proof, sender):
    text = proof.get("text", "" if proof["kind"] in CREDENTIALS | {"jwt"} else "{body}")
    if "{body}" in text or "body_hash" in proof or re.search(DIGESTS, text) or "{form-sorted}" in text:
        return True
    jwt_body = proof["kind"] == "jwt" and proof["at"].get("body") == ""
    return jwt_body or sender.get("body", {}).get("signed_only", False)


def proof_findings(proof, sender):
    name = proof.get("name", proof.get("kind"))
    if proof.get("kind") not in KINDS:
        yield f"{name}: unknown kind {proof.get('kind')}"
        return
    yield from (f"{name}: unknown member {it}" for it in proof.keys() - PROOF)
    if not covers_body(proof, sender) and not proof.get("body_unsigned"):
        yield f"{name}: nothing covers the body, so body_unsigned = true is required"
    if covers_body(proof, sender) and proof.get("body_unsigned"):
        yield f"{name}: body_unsigned, though the body is covered"
    if "time" in proof and proof["kind"] != "jwt" and "{time}" not in proof.get("text", ""):
        yield f"{name}: the time is not signed"
    if ("id" in proof) != ("{id}" in proof.get("text", "")):
        yield f"{name}: use id and {{id}} together"
    if "{url}" in proof.get("text", "") and not sender.get("settings", {}).get("url"):
        yield f"{name}: {{url}} requires url = true in [settings]"
    if proof["kind"] == "basic" and not sender.get("settings", {}).get("username"):
        yield f"{name}: requires username = true in [settings]"
    for setting in re.findall(r"\{setting:(\w+)\}", str(proof)):
        if setting not in sender.get("settings", {}):
            yield f"{name}: the setting {setting} is not described in [settings]"


def findings(sender, path):
    """Yields what is wrong with a file."""
    if sender.get("name") != path.stem:
        yield f"its name is {sender.get('name')}"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem):
        yield "the name is not in kebab case"
    for member in "title", "group", "docs", "checked", "setup", "proof", "vector":
        if not sender.get(member):
            yield f"{member} is missing"
    yield from (f"unknown member {it}" for it in sender.keys() - TABLES)
    if sender.get("group") not in GROUPS:
        yield f"unknown group {sender.get('group')}"
    if not re.fullmatch(r"2026-11-2[56]", str(sender.get("checked"))):
        yield "checked is not a date of 2026-11"
    names = [it.get("name", it.get("kind")) for it in sender.get("proof", [])]
    if len(set(names)) != len(names):
        yield "two proofs have the same name"
    times = [it["time"] for it in sender.get("proof", []) if "time" in it]
    for proof in sender.get("proof", []):
        yield from proof_findings(proof, sender)
    yield from (f"setup: unknown member {it}" for it in sender.get("setup", {}).keys() - {"url", "secret", "note", "enter_secret"})
    for handshake in sender.get("handshake", []):
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", handshake["name"]):
            yield f"the handshake's name {handshake['name']} is not in kebab case"
    for source in sender.get("delivery", {}).get("id", []):
        for one in source if isinstance(source, list) else [source]:
            if one.keys() - {"header", "body"}:
                yield f"the id {one} is neither in a header nor in the body"
            if any(one.get(kind) and one.get(kind) == time.get(kind) for time in times for kind in ("header", "body", "query")):
                yield f"the id {one} is a time"
    for vector in sender.get("vector", []):
        if vector.get("source") not in ("documentation", "computed"):
            yield "a vector without a source"
        if len(vector.get("secret", "0" * 16)) < 16:
            yield "a vector's secret is shorter than 16 bytes"
    if len(path.read_text().split("[[vector]]")[0].splitlines()) > 100:
        yield "is longer than 100 lines without its vectors"
