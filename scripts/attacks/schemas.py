"""Integrations whose schemas take forever to check."""
import json

from .folders import DRAFT, folder
from .target import Attack
from .wire import ask, at_once

LEVELS, DEPTH, SECONDS = 33, 60, 4
MIB = 1 << 20
DOUBLING = {"$ref": "#/$defs/l0", "$defs": {f"l{level}": {"anyOf": [{"$ref": f"#/$defs/l{level + 1}"}] * 2} for level in range(LEVELS)}
            | {f"l{LEVELS}": {"type": "string"}}}
BRANCH = {"type": "object", "properties": {"a": {"$ref": "#/$defs/tree"}}}
BRANCHING = {"$ref": "#/$defs/tree", "$defs": {"tree": {"anyOf": [BRANCH, BRANCH]}}}
REGEX = {"type": "object", "additionalProperties": {"items": {"pattern": "^(a+)+\\1b$"}}}
ENUM = {"type": "object", "additionalProperties": {"items": {"enum": [[number] for number in range(20_000)]}}}
NAMES = {"type": "object", "patternProperties": {f"^.*{number}.*x$": {} for number in range(1000)}}
UNIQUE = {"type": "object", "additionalProperties": {"uniqueItems": True}}


def items(item):
    """An object with a list of nearly a MiB."""
    texts, size, number = [], 0, 0
    while size < MIB - 1000:
        texts.append(item(number))
        size, number = size + len(texts[-1]) + 1, number + 1
    return '{"items":[' + ",".join(texts) + "]}"


CASES = {
    "doubling": (DOUBLING, f"{LEVELS} levels that each name the next one twice", lambda: '{"a":1}'),
    "branching": (BRANCHING, "a tree of two branches, and a document of 60 levels", lambda: '{"a":' * DEPTH + "1" + "}" * DEPTH),
    "regex": (REGEX, "a pattern that backtracks, over many texts", lambda: items(lambda _: f'"{"a" * 30}"')),
    "enum": (ENUM, "a list of values against a list of values", lambda: items(lambda number: f"[{-number}]")),
    "names": (NAMES, "many patterns for many names", lambda: "{" + items(lambda number: f'"{number}-{"y" * 20}":0')[10:-2] + "}"),
    "unique": (UNIQUE, "many items that must differ", lambda: items(lambda number: f'{{"a":{number}}}')),
}
PATHS = {}


def prepare(work):
    for name, (schema, *_) in CASES.items():
        PATHS[name] = folder(work, name, schema={"$schema": DRAFT} | schema)


def run(target):
    for name, (_, words, body) in CASES.items():
        sent = body().encode()

        def one(_):
            return ask(target.address, "POST", PATHS[name], sent, {"Content-Type": "application/json"}, SECONDS)[0] or "no answer"

        with target.step(f"{words} ({len(sent):,} bytes)") as step:
            step.answers.update(at_once(2, one))
        target.settle()


ATTACKS = [Attack("schemas", "two deliveries at a time for schemas that take long to check", run, prepare, 384)]
