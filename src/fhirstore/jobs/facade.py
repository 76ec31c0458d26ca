"""Durable jobs as plugins see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import Job, JobState
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import find_job, summarize
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.protocol import Store


class PluginJobs:
    """The durable jobs of one plugin; docs/jobs.md.

    A plugin declares its queues with a hook that returns `JobHandler`s (`plugins.hookspecs.jobs`), and gets this object
    in the hooks that enqueue work or report on it. Queue names start with the name of the plugin and "-"
    ("sas-relay").

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

    def __init__(self, plugin: str, store: Store, handlers: Iterable[JobHandler]) -> None:
        """handlers: those that the plugin declares. Raises ValueError for the queue of another plugin."""
        self._plugin, self._store = plugin, store
        self._queues = {one.queue: JobQueue(store, one.queue, one.options) for one in handlers}
        for name in self._queues:
            if not name.startswith(f"{plugin}-"):
                raise ValueError(f"The name of the queue {name!r} must start with {plugin}-.")

    def enqueue(self, queue: str, items: Mapping[str, Any]) -> Iterator[Record | RecordGuard]:
        """Records and guards that enqueue items (key -> payload) with a commit. If the commit raises GuardChanged,
        call `enqueue` again; the hooks before a commit are repeated in this case anyway."""
        return self._queue(queue).enqueue(items)

    def submit(self, queue: str, key: str, payload: Any = None) -> str:
        """Enqueues one item in a commit of its own; returns the id of the job. Raises StoreError."""
        return self._queue(queue).submit(key, payload)

    def get(self, queue: str, key: str) -> Job | None:
        """The state, progress and result of a key; None if the queue does not know the key."""
        return find_job(self._store, self._queue(queue).name, job_id(key))

    def counts(self, queue: str) -> Mapping[JobState, int]:
        """How many keys have undelivered items, by state. Reads no payloads."""
        return summarize(self._store, self._queue(queue).name).counts

    def _queue(self, name: str) -> JobQueue:
        queue = self._queues.get(name)
        if queue is None:
            raise ValueError(f"The plugin {self._plugin} declares no queue {name!r}.")
        return queue
