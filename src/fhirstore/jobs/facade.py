"""Durable jobs as plugins see them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from fhirstore.jobs import control, records, stats, summary
from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import PENDING_STATES, Job
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.records import JobProducer, JobStore
from fhirstore.jobs.runner import Runner
from fhirstore.jobs.stats import JobCounts
from fhirstore.jobs.summary import QueueSummary


class PluginJobs(JobProducer):
    """The durable jobs of one plugin; docs/jobs.md.

    A plugin declares its queues with a hook that returns `JobHandler`s (`plugins.hookspecs.jobs`), and gets this object
    in the hooks that enqueue work or report on it. Queue names start with the name of the plugin and "-"
    ("sas-relay").

    ```python
    @hookimpl
    def jobs(context: PluginContext) -> Iterable[JobHandler]:
        return [JobHandler("clinic-mail", run=send_mail, options=QueueOptions(delivery="each"))]

    @hookimpl
    def complete_commit(commit: PendingCommit, context: PluginContext) -> None:
        commit.add(*context.jobs.enqueue("clinic-mail", {patient_id: {"template": "welcome"}}))

    def send_mail(run: JobRun) -> Outcome | None:
        ...  # raise an exception, or return Retry or Rejected, if the job failed
    ```

    `enqueue` returns records and guards for the commit that causes the work, so the job exists if and only if the
    commit is stored. `submit` stores a job at once. Both accept any JSON-able payload. Jobs of one key run one at a
    time, in the order in which they were enqueued. All methods raise ValueError for a queue that the plugin does not
    declare, and StoreError if the store is unavailable.
    """

    def __init__(self, plugin: str, store: JobStore, handlers: Iterable[JobHandler]) -> None:
        """handlers: those that the plugin declares. Raises ValueError for the queue of another plugin."""
        self.handlers = tuple(handlers)
        super().__init__(f"plugin {plugin}", store, {one.queue: one.options for one in self.handlers})
        self._queues = {one.queue: JobQueue(store, one.queue, one.options) for one in self.handlers}
        for name in self._queues:
            if not name.startswith(f"{plugin}-"):
                raise ValueError(f"The name of the queue {name!r} must start with {plugin}-.")

    def run(self, stop: threading.Event, *queues: str) -> None:
        """Runs the jobs of these queues until `stop` is set, for commands; servers run them by themselves. Beside
        running servers this does no harm."""
        for name in queues:
            self._queue(name)
        Runner(self._store, [one for one in self.handlers if one.queue in queues], stop).run()

    # --- report ----------------------------------------------------------------------------------

    def get(self, queue: str, key: str) -> Job | None:
        """The state, progress and last result of a key; None if the queue does not know the key."""
        return summary.find_job(self._store, self._queue(queue).name, job_id(key))

    def list(self, queue: str, states: Collection[str] = PENDING_STATES, limit: int | None = None) -> Iterator[Job]:
        """Jobs in these states, at most `limit` of each; see `summary.list_jobs`."""
        return summary.list_jobs(self._store, self._queue(queue).name, states, limit)

    def search(self, queue: str, matches: Callable[[str, Any], bool]) -> Iterator[Job]:
        """The jobs for whose key and payload `matches` returns True. Reads the whole queue."""
        return summary.search_jobs(self._store, self._queue(queue).name, matches)

    def summary(self, queue: str, limit: int = 0) -> QueueSummary:
        """Counts the undelivered jobs by state, without their payloads, and names `limit` of each."""
        return summary.summarize(self._store, self._queue(queue).name, limit)

    def load(self, queue: str, found: QueueSummary, states: Collection[str] = PENDING_STATES) -> Iterator[Job]:
        """The jobs in these states that a summary names."""
        return summary.load_jobs(self._store, self._queue(queue).name, found, states)

    def totals(self, queue: str) -> JobCounts:
        """Items delivered and attempts failed, of all servers since the store was created."""
        return stats.total(self._store, self._queue(queue).name)

    def parked(self, queue: str) -> int:
        """How many jobs are parked; counts at most `count_limit`."""
        return summary.count_parked(self._store, self._queue(queue).name)

    @property
    def count_limit(self) -> int:
        """The greatest number that `parked` returns."""
        return records.PAGE

    # --- operate ---------------------------------------------------------------------------------

    def replay(self, queue: str, key: str) -> bool:
        """Makes a job due now, as if it were new; False if it is running or unknown."""
        return control.replay(self._queue(queue), job_id(key))

    def discard(self, queue: str, key: str) -> bool:
        """Removes the next item of a job undelivered (of a queue that delivers the latest, all items); False if it is
        running or unknown."""
        return control.discard(self._queue(queue), job_id(key))

    def _queue(self, name: str) -> JobQueue:
        queue = self._queues.get(name)
        if queue is None:
            raise ValueError(f"The {self._owner} declares no queue {name!r}.")
        return queue
