"""The README's FastAPI service: Calendly's "invitee created" becomes a task, which is on the disk before the response.

It does what a careful hour of work gives: it validates the payload, maps it, and stores body and task in SQLite in one
commit (WAL, synchronous=FULL). It has no signatures, no quarantine, no replay and no second tenant.
"""
import json, os, sqlite3, threading, uuid
from datetime import UTC, datetime

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

local = threading.local()


def database():
    """This thread's connection."""
    if not hasattr(local, "database"):
        local.database = sqlite3.connect(os.environ["DATABASE"], timeout=60)
        local.database.executescript("""
            PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
            CREATE TABLE IF NOT EXISTS events(id TEXT PRIMARY KEY, received_at TEXT, body BLOB);
            CREATE TABLE IF NOT EXISTS tasks(id TEXT PRIMARY KEY, event_id TEXT, status TEXT, patient_id TEXT, task TEXT);
            CREATE INDEX IF NOT EXISTS tasks_by_status ON tasks(status, id);
            CREATE INDEX IF NOT EXISTS tasks_by_patient ON tasks(patient_id, id);""")
    return local.database


class Answer(BaseModel):
    question: str
    answer: str


class ScheduledEvent(BaseModel):
    name: str
    start_time: datetime


class Invitee(BaseModel):
    uri: str
    name: str
    questions_and_answers: list[Answer] = []
    scheduled_event: ScheduledEvent


class Delivery(BaseModel):
    event: str
    payload: Invitee


def to_task(delivery: Delivery, now: str) -> dict:
    invitee, meeting = delivery.payload, delivery.payload.scheduled_event
    start = meeting.start_time.astimezone(UTC).isoformat().replace("+00:00", "Z")
    answers = "".join(f"\n{it.question}: {it.answer}" for it in invitee.questions_and_answers)
    return {
        "id": str(uuid.uuid4()), "title": f"Prepare {meeting.name} with {invitee.name}",
        "description": f"{invitee.name} has booked {meeting.name} for {start}.{answers}", "tags": ["calendly"],
        "deadline": start, "created_at": now, "updated_at": now, "priority": "medium", "created_by_id": "calendly",
        "company_id": "company-1", "version": 1, "status": "pending", "call_id": None, "fax_id": None,
        "assistant_id": None, "session_id": invitee.uri.rsplit("/", 1)[1], "patient_id": None, "type": "follow_up",
        "external_message_ids": {},
    }


app = FastAPI()


@app.post("/hooks/calendly", status_code=201)
def calendly(delivery: Delivery, request: Request):
    if request.headers.get("x-api-key") != os.environ["API_KEY"]:
        raise HTTPException(401)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    task, event_id = to_task(delivery, now), str(uuid.uuid4())
    with database() as transaction:
        transaction.execute("INSERT INTO events VALUES (?, ?, ?)", (event_id, now, delivery.model_dump_json()))
        row = (task["id"], event_id, task["status"], task["patient_id"], json.dumps(task))
        transaction.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)", row)
    return task
