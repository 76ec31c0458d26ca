"""The outbox of the relay, driven without a platform."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fhirstore.jobs import records
from fhirstore.jobs.handler import run_job
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.run import JobRun
from fhirstore.jobs.stats import StatsWriter
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.plugins import JobHandler, Outcome, PluginJobs
from fhirstore.store.protocol import Store
from fhirstore_sas.relay.outbox import QUEUE, OutboxMessage, key_of, message_of, outbox_records
from fhirstore_sas.relay.run import relay_handler
from fhirstore_sas.relay.status import OutboxItem, find_item
from support.bookings import EDITOR, sas_appointment


class Outbox:
    """clock: seconds since 1970, for the workers."""

    def __init__(self, store: Store, clock: Callable[[], float] | None = None) -> None:
        self.store: Any = store
        self.handler: JobHandler = relay_handler(None)
        self.jobs = PluginJobs("sas", store, [self.handler])
        extra: Any = {} if clock is None else {"clock": clock}
        self.queue = JobQueue(store, QUEUE, self.handler.options, **extra)

    def enqueue(self, *messages: OutboxMessage) -> list[str]:
        """Stores messages in one commit; returns their keys."""
        made = list(outbox_records(self.jobs, messages))
        guards = [one for one in made if isinstance(one, RecordGuard)]
        self.store.commit([], guards, [one for one in made if isinstance(one, Record)])
        return [one.key for one in messages]

    def claim(self, key: str) -> JobRun | None:
        """A run of the job, as a worker would get it."""
        claim = self.queue.claim(job_id(key))
        return None if claim is None else JobRun(self.queue, claim, threading.Event())

    def deliver(self, key: str, outcome: Outcome, writer: StatsWriter | None = None) -> None:
        """One attempt with this outcome."""
        run = self.claim(key)
        assert run is not None
        assert run_job(JobHandler(QUEUE, lambda _: outcome), run, writer) is not None

    def item(self, key: str) -> OutboxItem:
        found = find_item(self.jobs, key)
        assert found is not None
        return found

    def payloads(self, key: str) -> list[Any]:
        """What waits under a key: payloads, the oldest first."""
        return [records.decode_item(one.value).payload for one in records.items_of(self.store, QUEUE, job_id(key))]


def key(value: str) -> str:
    """The key of the identifier EDITOR|value."""
    return key_of((EDITOR, value))


def message(value: str, version: int = 1, *, id: str | None = None, status: str = "booked") -> OutboxMessage:
    """A message about the appointment with the identifier EDITOR|value."""
    return OutboxMessage(id or value, version, message_of(sas_appointment(value, status=status)), version == 1)
