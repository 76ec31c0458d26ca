"""`fhirstore jobs` beside a server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.cli import PATIENT, fhirstore, written

from fhirstore.jobs.model import Rejected
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.settings import Settings
from fhirstore.store import open_store

URL = "sqlite:///./fhirstore.db"


@pytest.fixture
def queue() -> Iterator[JobQueue]:
    """A queue with a parked job, one that is due, and a finished one."""
    fhirstore("load", written("a.ndjson", PATIENT))
    store = open_store(URL, Settings())
    made = JobQueue(store, "mail")
    for key in ("parked", "queued", "done"):
        made.submit(key, {"to": key})
    for key in ("parked", "done"):
        claim = made.claim(job_id(key))
        assert claim is not None
        if key == "done":
            made.complete(claim, {"sent": 1})
        else:
            made.fail(claim, Rejected("550: no such user"))
    yield made
    store.close()


def listed(*arguments: str) -> list[tuple[str, str]]:
    done = fhirstore("jobs", "list", "--json", *arguments)
    assert done.exit_code == 0, done.output
    return [(job["key"], job["state"]) for job in map(json.loads, done.stdout.splitlines())]


@pytest.mark.usefixtures("queue")
def test_list_shows_the_jobs_that_need_attention_first() -> None:
    done = fhirstore("jobs", "list")
    assert done.exit_code == 0, done.output
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["Queue", "Key", "State", "Created", "Attempts", "Next", "Progress", "Last", "error"]
    assert [row.split()[1] for row in rows if row.startswith(" mail")] == ["parked", "queued", "done"]
    assert "550: no such user" in done.stdout


@pytest.mark.usefixtures("queue")
def test_list_can_be_narrowed() -> None:
    assert listed("--queue", "mail") == [("parked", "parked"), ("queued", "queued"), ("done", "done")]
    assert listed("--queue", "mail", "--state", "parked", "--state", "done") == [("parked", "parked"), ("done", "done")]


def test_a_store_without_jobs_says_so() -> None:
    fhirstore("load", written("a.ndjson", PATIENT))
    assert fhirstore("jobs", "list", "--state", "parked").stdout == "No jobs.\n"
    assert "mail: no such queue" in fhirstore("jobs", "list", "--queue", "mail").stderr


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("name", ["done", job_id("done")])
def test_show_prints_all_of_a_job(name: str) -> None:
    shown = json.loads(fhirstore("jobs", "show", "mail", name).stdout)
    assert (shown["state"], shown["payload"], shown["result"]) == ("done", {"to": "done"}, {"sent": 1})
    assert shown["finished"].endswith("Z")


def test_retry_makes_parked_jobs_due(queue: JobQueue) -> None:
    done = fhirstore("jobs", "retry", "mail", "--parked")
    assert done.stdout == "mail parked is due\n"
    assert job_id("parked") in queue.due(10)
    assert fhirstore("jobs", "retry", "mail", "done").exit_code == 0
    assert job_id("done") in queue.due(10)


def test_a_running_job_is_neither_retried_nor_discarded(queue: JobQueue) -> None:
    assert queue.claim(job_id("queued")) is not None
    for command in ("retry", "discard"):
        done = fhirstore("jobs", command, "mail", "queued")
        assert (done.exit_code, "mail queued is running" in done.stderr) == (1, True)


@pytest.mark.usefixtures("queue")
def test_discard_removes_a_job() -> None:
    assert fhirstore("jobs", "discard", "mail", "parked").stdout == "mail parked is discarded\n"
    assert ("parked", "parked") not in listed("--queue", "mail")


@pytest.mark.usefixtures("queue")
def test_unknown_names_are_refused() -> None:
    for arguments in (("show", "mail", "x"), ("show", "post", "done"), ("retry", "post", "--parked")):
        done = fhirstore("jobs", *arguments)
        assert (done.exit_code, "no such" in done.stderr) == (2, True)
    assert fhirstore("jobs", "retry", "mail").exit_code == 2


def test_there_must_be_a_store() -> None:
    assert "no store at" in fhirstore("jobs", "list").stderr
