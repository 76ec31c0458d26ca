"""`fhirstore reindex`: a durable job that other processes see, wait for and continue."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.cli import (
    PACKAGE,
    PATIENT,
    fhirstore,
    package,
    written,
)

from fhirstore.interactions.reindex import KEY, OPTIONS, QUEUE, payload_for, reindex_handler
from fhirstore.interactions.server import Server
from fhirstore.jobs.handler import run_job
from fhirstore.jobs.model import Progress, Retry
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.run import JobRun
from fhirstore.server import build
from fhirstore.settings import Settings

STATEMENT = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "date": "2026-01-01",
    "rest": [
        {
            "mode": "server",
            "resource": [
                {
                    "type": "Patient",
                    "interaction": [{"code": "read"}, {"code": "create"}, {"code": "search-type"}],
                    "searchParam": [
                        {
                            "name": "birth-city",
                            "definition": PACKAGE["SearchParameter-birth-city.json"]["url"],
                            "type": "string",
                        }
                    ],
                }
            ],
        }
    ],
}


@pytest.fixture
def options() -> tuple[str, ...]:
    """Of a deployment with a new search parameter, on a store with one patient."""
    fhirstore("load", written("a.ndjson", {**PATIENT, "maritalStatus": {"text": "Rennes"}}))
    return ("--plugin", package("birthplace"), "--capability", written("statement.json", STATEMENT))


@contextmanager
def server(options: tuple[str, ...]) -> Iterator[Server]:
    _, plugin, _, capability = options
    made = build(Settings(store="sqlite:///./fhirstore.db", plugins=(plugin,), capability=capability))
    yield made
    made.store.close()


def job() -> dict[str, object]:
    found: dict[str, object] = json.loads(fhirstore("jobs", "show", QUEUE, KEY).stdout)
    return found


def test_reindex_has_nothing_to_do_on_a_store_of_the_same_schema() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    assert fhirstore("reindex").stdout == "Nothing is pending: every search parameter is indexed.\n"


def test_reindex_indexes_what_a_new_plugin_asks_for(options: tuple[str, ...]) -> None:
    done = fhirstore("reindex", *options)
    assert done.exit_code == 0, done.output
    assert "Patient.birth-city" in done.stdout
    assert "1 resources indexed" in done.stdout
    assert "Nothing is pending" in fhirstore("reindex", *options).stdout
    assert (job()["state"], job()["result"], job()["progress"]) == ("done", {"resources": 1}, "1/1 resources")


def test_the_next_command_continues_what_a_killed_one_has_left(options: tuple[str, ...]) -> None:
    with server(options) as killed:
        queue = JobQueue(killed.store, QUEUE, OPTIONS, lambda: time.time() - 1000)
        queue.submit(KEY, payload_for(killed))
        claim = queue.claim(job_id(KEY))
        assert claim is not None
        assert queue.renew(claim, Progress(41, 42), {"resources": 41}) is not None
    assert "42 resources indexed" in fhirstore("reindex", *options).stdout


def test_a_job_for_other_search_parameters_is_replaced(options: tuple[str, ...]) -> None:
    with server(options) as other:
        JobQueue(other.store, QUEUE, OPTIONS).submit(KEY, {"schema": "another"})
    assert "1 resources indexed" in fhirstore("reindex", *options).stdout
    assert job()["items"] == 0


def test_a_server_continues_what_a_killed_command_has_left(options: tuple[str, ...]) -> None:
    with server(options) as running:
        queue = JobQueue(running.store, QUEUE, OPTIONS)
        queue.submit(KEY, payload_for(running))
        claim = queue.claim(job_id(KEY))
        assert claim is not None
        assert run_job(reindex_handler(running), JobRun(queue, claim, threading.Event())) == "done"
        assert running.store.pending_parameters() == frozenset()
    assert job()["result"] == {"resources": 1}


def test_a_server_with_other_search_parameters_leaves_the_job_to_others(options: tuple[str, ...]) -> None:
    """It would write index entries that lack the new parameter."""
    with server(options) as running:
        queue = JobQueue(running.store, QUEUE, OPTIONS)
        queue.submit(KEY, {"schema": "another"})
        claim = queue.claim(job_id(KEY))
        assert claim is not None
        outcome = reindex_handler(running).run(JobRun(queue, claim, threading.Event()))
        assert isinstance(outcome, Retry)
        assert running.store.pending_parameters()


def test_an_interrupted_command_leaves_its_progress_to_the_next_one(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhirstore.store.sqlite import SqliteStore

    whole = SqliteStore.reindex

    def interrupted(self: SqliteStore, extract: object, progress: object) -> int:
        progress(0, 1)  # type: ignore[operator]
        raise KeyboardInterrupt

    monkeypatch.setattr(SqliteStore, "reindex", interrupted)
    assert fhirstore("reindex", *options).exit_code == 1
    assert (job()["state"], job()["error"]) == ("failed", "interrupted")
    monkeypatch.setattr(SqliteStore, "reindex", whole)
    assert "1 resources indexed" in fhirstore("reindex", *options).stdout
