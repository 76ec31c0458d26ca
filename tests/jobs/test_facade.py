"""Durable jobs as plugins see them."""

from __future__ import annotations

import threading

import pytest
from jobs_support import claimed

from fhirstore.jobs.facade import PluginJobs
from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import Done, QueueOptions, Rejected
from fhirstore.jobs.queue import JobQueue
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.protocol import Store

QUEUE = "clinic-mail"


def jobs_of(store: Store, stop: threading.Event | None = None) -> PluginJobs:
    def run(job: object) -> Done:
        if stop is not None:
            stop.set()
        return Done("sent")

    handlers = [
        JobHandler(QUEUE, run, QueueOptions(delivery="latest")),  # type: ignore[arg-type]
        JobHandler("clinic-fax", run),  # type: ignore[arg-type]
    ]
    return PluginJobs("clinic", store, handlers)


def test_items_are_enqueued_with_the_options_of_their_queue(store: Store) -> None:
    jobs = jobs_of(store)
    for n in (1, 2):
        made = list(jobs.enqueue(QUEUE, {"a": n}))
        guards = [one for one in made if isinstance(one, RecordGuard)]
        store.commit([], guards, [one for one in made if isinstance(one, Record)])
        jobs.submit("clinic-fax", "a", n)
    assert (jobs.get(QUEUE, "a").payload, jobs.get("clinic-fax", "a").payload) == (2, 1)  # type: ignore[union-attr]
    assert jobs.summary(QUEUE).counts["queued"] == 1
    assert [job.payload for job in jobs.list(QUEUE)] == [2]
    assert [job.key for job in jobs.search(QUEUE, lambda key, payload: payload == 2)] == ["a"]


def test_the_queues_of_others_are_out_of_reach(store: Store) -> None:
    with pytest.raises(ValueError, match="must start with clinic-"):
        PluginJobs("clinic", store, [JobHandler("sas-relay", lambda run: None)])
    for call in (jobs_of(store).get, jobs_of(store).replay, jobs_of(store).submit):
        with pytest.raises(ValueError, match="declares no queue 'sas-relay'"):
            call("sas-relay", "a")


def test_jobs_are_replayed_discarded_and_counted(store: Store) -> None:
    jobs, queue = jobs_of(store), JobQueue(store, QUEUE)
    for key in ("a", "b"):
        jobs.submit(QUEUE, key)
        assert queue.fail(claimed(queue, key), Rejected("no")) == "parked"
    assert jobs.parked(QUEUE) == 2 < jobs.count_limit
    assert jobs.replay(QUEUE, "a")
    assert jobs.discard(QUEUE, "b")
    assert [(job.key, job.state) for job in jobs.list(QUEUE)] == [("a", "queued")]
    assert [job.key for job in jobs.load(QUEUE, jobs.summary(QUEUE, 10))] == ["a"]


def test_a_command_runs_the_queues_that_it_names(store: Store) -> None:
    stop = threading.Event()
    jobs = jobs_of(store, stop)
    jobs.submit(QUEUE, "a")
    jobs.submit("clinic-fax", "a")
    jobs.run(stop, QUEUE)
    assert (jobs.get(QUEUE, "a").result, jobs.totals(QUEUE).done) == ("sent", 1)  # type: ignore[union-attr]
    assert jobs.get("clinic-fax", "a").state == "queued"  # type: ignore[union-attr]
