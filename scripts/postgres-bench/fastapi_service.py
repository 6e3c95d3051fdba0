"""The comparison of scripts/bench-postgres: POST /v1/tasks as a FastAPI service with SQLAlchemy, asyncpg and PostgreSQL.

It is what a careful developer writes, tuned for throughput: one transaction per request, SQLAlchemy Core with cached and
prepared statements, pydantic on the raw bytes, uvloop and httptools. With ONE_STATEMENT=1 the transaction is a single
statement, which few services are tuned to: it is faster, and harder to read. It has the task's documented fields and filters, and
stores what was sent. It has no loose input, idempotency keys, change feed, webhooks, quarantine or rate limits.

Create the tables, then serve:
  DATABASE_URL=postgres:///fastapi?host=/run/postgresql python fastapi_service.py
  DATABASE_URL=... API_KEY=... POOL=8 uvicorn fastapi_service:app --workers 2 --loop uvloop --http httptools --no-access-log
"""
import asyncio, hashlib, os, time
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

import asyncpg
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyHeader
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from sqlalchemy import Column, DateTime, Index, Integer, LargeBinary, MetaData, Table, Text, bindparam, insert
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID as Uuid
from sqlalchemy.ext.asyncio import create_async_engine

metadata = MetaData()
events = Table(
    "events", metadata,
    Column("company_id", Text, primary_key=True), Column("id", Uuid, primary_key=True),
    Column("received_at", DateTime(timezone=True), nullable=False), Column("content_type", Text),
    Column("body", LargeBinary, nullable=False),
)
tasks = Table(
    "tasks", metadata,
    Column("company_id", Text, primary_key=True), Column("id", Uuid, primary_key=True), Column("event_id", Uuid, nullable=False),
    *(Column(name, Text, nullable=False) for name in ("title", "description", "created_by_id", "status", "priority")),
    *(Column(name, ARRAY(Text), nullable=False) for name in ("assigned_user_ids", "tags")),
    *(Column(name, DateTime(timezone=True), nullable=False) for name in ("deadline", "created_at", "updated_at")),
    *(Column(name, Text) for name in ("call_id", "fax_id", "assistant_id", "session_id", "patient_id", "type")),
    Column("version", Integer, nullable=False), Column("external_message_ids", JSONB, nullable=False),
    Column("deleted_at", DateTime(timezone=True)),
)
# The indexes of hookmill's tasks, without that of its change feed. An id of version 7 is in the order of creation.
alive = tasks.c.deleted_at.is_(None)
for name in ("status", "priority"):
    Index(f"tasks_by_{name}", tasks.c.company_id, tasks.c[name], tasks.c.id, postgresql_where=alive)
for name in ("patient_id", "type"):
    Index(f"tasks_by_{name}", tasks.c.company_id, tasks.c[name], tasks.c.id, postgresql_where=alive & tasks.c[name].is_not(None))
Index("tasks_by_update", tasks.c.company_id, tasks.c.updated_at, postgresql_where=alive)
Index("tasks_by_user", tasks.c.assigned_user_ids, postgresql_using="gin")

Word = Annotated[str, Field(min_length=1)]


class TaskFields(BaseModel):
    title: Word
    description: Word
    tags: list[str] | None = None
    deadline: AwareDatetime
    priority: Literal["low", "medium", "high", "urgent"] = "medium"
    created_by_id: str
    status: Literal["pending", "in_progress", "completed"] = "pending"
    call_id: str | None = None
    fax_id: str | None = None
    assistant_id: str | None = None
    session_id: str | None = None
    patient_id: str | None = None
    type: str | None = None


class NewTask(TaskFields):
    assigned_user_ids: Annotated[list[str], Field(min_length=1)]


class Task(TaskFields):
    id: UUID
    created_at: datetime
    updated_at: datetime
    company_id: str
    version: int
    external_message_ids: dict[str, str]


def connect():
    return asyncpg.connect(os.environ["DATABASE_URL"])


engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, pool_size=int(os.environ.get("POOL", "8")),
                             max_overflow=0, pool_timeout=60)
app = FastAPI()
add_event, add_task = insert(events), insert(tasks)


def named(table, **others):
    """Values for an insertion from parameters with the names of the columns, or with these names."""
    return {it.name: bindparam(others.get(it.name, it.name), type_=it.type) for it in table.c if it.name != "deleted_at"}


# Both rows in one statement, which is a transaction of its own: one round trip instead of four.
with_event = insert(events).values(named(events, id="event_id", received_at="created_at")).cte("with_event")
add_both = insert(tasks).values(named(tasks)).add_cte(with_event)
single = engine.execution_options(isolation_level="AUTOCOMMIT")
ONE_STATEMENT = os.environ.get("ONE_STATEMENT") == "1"
# A real service reads the keys from its database, and caches them.
KEYS = {hashlib.sha256(os.environ.get("API_KEY", "").encode()).digest(): "company-1"}


# Async, although it awaits nothing: FastAPI runs other functions in a thread, which takes longer than this one.
async def company_of_key(key: Annotated[str | None, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))]) -> str:
    company = key and KEYS.get(hashlib.sha256(key.encode()).digest())
    if not company:
        raise HTTPException(401, "missing or wrong API key")
    return company


def uuid7() -> UUID:
    stamp = time.time_ns() // 1_000_000 << 80
    return UUID(int=(stamp | int.from_bytes(os.urandom(10))) & ~(0xF << 76) & ~(3 << 62) | 7 << 76 | 2 << 62)


@app.post("/v1/tasks", status_code=201, response_model=Task)
async def create_task(request: Request, company_id: Annotated[str, Depends(company_of_key)]):
    body = await request.body()
    try:
        new = NewTask.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_context=False)) from error
    now = datetime.now(UTC)
    values = dict(new) | {
        "id": uuid7(), "event_id": uuid7(), "company_id": company_id, "created_at": now, "updated_at": now, "version": 1,
        "deadline": new.deadline.astimezone(UTC), "tags": new.tags or [], "external_message_ids": {}}
    sent = {"content_type": request.headers.get("content-type"), "body": body}
    if ONE_STATEMENT:
        async with single.connect() as connection:
            await connection.execute(add_both, values | sent)
    else:
        async with engine.begin() as transaction:
            event = {"company_id": company_id, "id": values["event_id"], "received_at": now}
            await transaction.execute(add_event, event | sent)
            await transaction.execute(add_task, values)
    # The values are valid: the response needs no second validation.
    document = Task.model_construct(**values).model_dump_json()
    return Response(document, 201, {"Location": f"/v1/tasks/{values['id']}"}, "application/json")


async def create_tables():
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(create_tables())
