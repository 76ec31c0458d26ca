"""Durable jobs as plugins see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.jobs.model import Job, JobState
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import find_job, summarize
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.protocol import Store


class PluginJobs:
    """The durable jobs of one plugin; docs/jobs.md.

    A plugin declares its queues with a hook that returns `JobHandler`s (`plugins.hookspecs.jobs`), and gets this object
    in the hooks that enqueue work or report on it. Queue names start with the name of the plugin and "-"
    ("sas-relay"); other names raise ValueError.

    ```python
    @hookimpl
    def jobs(options) -> Iterable[JobHandler]:
        return [JobHandler("clinic-mail", run=send_mail, options=QueueOptions(delivery="each"))]

    @hookimpl
    def complete_commit(commit, jobs: PluginJobs) -> None:
        commit.add(*jobs.enqueue("clinic-mail", {patient_id: {"template": "welcome"}}))

    def send_mail(run: JobRun) -> Outcome | None:
        ...  # raise, or return Retry or Rejected, if the job failed
    ```

    `enqueue` returns records and guards for the commit that causes the work, so the job exists if and only if the
    commit is stored. `submit` stores a job at once. Both accept any JSON-able payload. Jobs of one key run one at a
    time, in the order in which they were enqueued.
    """

    def __init__(self, plugin: str, store: Store) -> None:
        self._prefix, self._store = f"{plugin}-", store

    def enqueue(self, queue: str, items: Mapping[str, Any]) -> Iterator[Record | RecordGuard]:
        """Records and guards that enqueue items (key -> payload) with a commit. If the commit raises GuardChanged,
        call `enqueue` again; the hooks before a commit are repeated in this case anyway."""
        return self._queue(queue).enqueue(items)

    def submit(self, queue: str, key: str, payload: Any = None) -> str:
        """Enqueues one item in a commit of its own; returns the id of the job. Raises StoreError."""
        return self._queue(queue).submit(key, payload)

    def get(self, queue: str, key: str) -> Job | None:
        """The state, progress and result of a key; None if the queue does not know the key."""
        self._check(queue)
        return find_job(self._store, queue, job_id(key))

    def counts(self, queue: str) -> Mapping[JobState, int]:
        """How many keys have undelivered items, by state. Reads no payloads."""
        self._check(queue)
        return summarize(self._store, queue).counts

    def _queue(self, name: str) -> JobQueue:
        self._check(name)
        return JobQueue(self._store, name)

    def _check(self, queue: str) -> None:
        if not queue.startswith(self._prefix):
            raise ValueError(f"The queue {queue!r} belongs to another plugin. Use a name that starts with {self._prefix}")
