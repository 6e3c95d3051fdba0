"""A delivery, and the values that a sender file names in it."""
import base64, datetime, json, re, urllib.parse
import xml.etree.ElementTree as ElementTree


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
        if "/*" in source["body"]:
            before, after = source["body"].split("/*", 1)
            values = {as_text(at_pointer(it, after)) for it in at_pointer(self.document(), before)}
            # All members must have the same value.
            return "\n".join(sorted(values))
        return as_text(at_pointer(self.document(), source["body"]))
