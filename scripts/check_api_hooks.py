"""What schemathesis does not send, and why, for scripts/check-api."""
import os
import zoneinfo

import schemathesis
from hypothesis import strategies

schemathesis.openapi.format("iana-time-zone", strategies.sampled_from(sorted(zoneinfo.available_timezones())))
KEY_IDS = os.environ["CHECK_API_KEY_IDS"].split(",")
STRICT = os.environ["CHECK_API_STRICT"] == "1"


@schemathesis.hook
def map_case(context, case):
    """Keeps the keys, and makes valid requests valid in the ways that OpenAPI cannot express."""
    for name, value in (case.path_parameters or {}).items():
        # Without its key, every later request would be 401.
        if value in KEY_IDS:
            case.path_parameters[name] = "key_000000000000"
    if case.meta is None or case.meta.generation.mode.is_positive:
        if case.operation.path.startswith("/v1/tasks"):
            as_the_key_is_read(case)
            if isinstance(case.body, dict) and "external_message_ids" in case.body:
                case.body["external_message_ids"] = without_nul(case.body["external_message_ids"])
            case.body = with_held_numbers(case.body)
        without_contradiction(case)
    return case


@schemathesis.hook
def before_add_examples(context, examples):
    examples[:] = [map_case(context, it) for it in examples]


def without_contradiction(case):
    """Parameters that exclude each other, and a value that must be in one of two places."""
    if case.operation.label == "GET /v1/tasks" and "cursor" in (case.query or {}):
        case.query.pop("page", None)
    if case.operation.label == "PATCH /v1/tasks/{id}":
        in_body = isinstance(case.body, dict) and "version" in case.body
        in_header = (case.headers or {}).get("If-Match", "").strip() not in ("", "*")
        if in_body and in_header:
            case.headers.pop("If-Match")
        elif not in_body and not in_header:
            case.headers = {**(case.headers or {}), "If-Match": '"1"'}


def as_the_key_is_read(case):
    """A strict key accepts JSON only. Others take blank text for no value, and a form has nothing but text."""
    is_form = case.media_type not in (None, "application/json")
    if STRICT:
        case.media_type = case.media_type and "application/json"
    elif isinstance(case.body, list):
        case.body = [without_blanks(it) for it in case.body]
    elif isinstance(case.body, dict):
        case.body = without_blanks(as_form(case.body) if is_form else case.body)


def without_blanks(value):
    if isinstance(value, dict):
        return {name: without_blanks(it) for name, it in value.items()}
    if isinstance(value, list):
        return [without_blanks(it) for it in value]
    blank = isinstance(value, str) and value.strip().lower() in ("", "null", "undefined")
    return "text" if blank else value


def without_nul(value):
    """Text with a NUL is rejected at any depth; a schema can say so only of the fields that it names."""
    if isinstance(value, dict):
        return {without_nul(name): without_nul(it) for name, it in value.items()}
    if isinstance(value, list):
        return [without_nul(it) for it in value]
    return value.replace("\0", "") if isinstance(value, str) else value


def with_held_numbers(value):
    """An integer beyond 64 bits is sent as the shortest number that a float holds; one with more digits is rejected."""
    if isinstance(value, dict):
        return {name: with_held_numbers(it) for name, it in value.items()}
    if isinstance(value, list):
        return [with_held_numbers(it) for it in value]
    if isinstance(value, int) and not -2**63 <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else 0
    return value


def as_form(body):
    def is_text(value):
        texts = value if isinstance(value, list) else [value]
        return texts and all(isinstance(it, (str, int)) and not isinstance(it, bool) for it in texts)

    names = [name for name in body if name.isascii() and name.isidentifier()]
    return {"title": "text"} | {name: body[name] for name in names if is_text(body[name])}
