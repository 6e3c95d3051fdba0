"""Falsifies the record of a run without faults: each falsification must be a violation."""
import copy

from .load import TASK, Client
from .record import Task
from .verify import Verifier


def lost(record):
    """one more task was acknowledged"""
    record.tasks["00000000-0000-7000-8000-000000000000"] = Task(TASK | {"id": "00000000-0000-7000-8000-000000000000", "title": "x", "version": 1})


def lost_later(record):
    """one more delivery was acknowledged"""
    record.sure["lane x 00001"] = "later"


def order(record):
    """two deliveries of an ordering key were sent the other way round"""
    lane = next(it for it in record.lanes.values() if len(it) > 2)
    lane[0], lane[1] = lane[1], lane[0]


def version(record):
    """a change was acknowledged"""
    task = next(it for it in record.tasks.values() if not it.deleted)
    task.document = task.document | {"version": task.version() + 1}


def deleted(record):
    """a deletion was acknowledged"""
    next(it for it in record.tasks.values() if not it.deleted).deleted = True


def answer(record):
    """the first response had another byte"""
    path, body, headers, text = record.answers[0]
    record.answers = [(path, body, headers, text + b" ")]


def unsent(record):
    """a request was never sent"""
    titles = [it for it in record.sure if it.startswith("create")]
    record.sure.pop(titles[0])


FALSIFIED = [lost, lost_later, order, version, deleted, answer, unsent]


def controls(run, say):
    """Whether each was noticed, and nothing else."""
    run.drains, noticed = 20, True
    try:
        run.case.prepare()
        with run.load:
            run.case.round(0)
        run.verify()
        whole = run.record.violations[:]
        say(f"unfalsified: {len(whole)} violations {whole[:3]}")
        noticed = not whole
        for falsify in FALSIFIED:
            record = copy.copy(run.record)
            for name in ("tasks", "sure", "lanes", "answers", "violations"):
                setattr(record, name, [] if name == "violations" else copy.copy(getattr(run.record, name)))
            record.lanes = {name: list(it) for name, it in run.record.lanes.items()}
            record.tasks = {name: copy.copy(it) for name, it in run.record.tasks.items()}
            falsify(record)
            Verifier(run.nodes, run.database, record, run.load).all(run.drains)
            say(f"{falsify.__doc__}: {'noticed: ' + record.violations[0][:160] if record.violations else 'NOT NOTICED'}")
            noticed &= bool(record.violations)
        title = next(title for title, kind in run.record.sure.items() if kind == "keyed")
        Client(run.load, "control").send("POST", "/v1/tasks", TASK | {"title": title})
        record.violations = []
        Verifier(run.nodes, run.database, record, run.load).all(run.drains)
        twice = any("more than once" in it for it in record.violations)
        say(f"a task exists twice: {'noticed' if twice else 'NOT NOTICED'}")
        # An event that no node can claim must be noticed, too.
        run.database.sql("INSERT INTO hookmill.queue (company_id, place, event_id, integration, ready_at) "
                         "SELECT company_id, version, id, integration, now() + interval '1 h' FROM hookmill.events LIMIT 1")
        record.violations = []
        Verifier(run.nodes, run.database, record, run.load).drain(3)
        say(f"an event stays queued: {'noticed' if record.violations else 'NOT NOTICED'}")
        return noticed and twice and bool(record.violations)
    finally:
        run.nodes.stop()
