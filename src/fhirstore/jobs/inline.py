"""Jobs that a process runs itself instead of leaving them to a worker: commands, and work at start-up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fhirstore.jobs import control
from fhirstore.jobs.model import Job, Rejected
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.run import JobRun, renewed
from fhirstore.jobs.summary import find_job
from fhirstore.store.errors import StoreError

_WAIT_S = 0.2


def acquire(
    queue: JobQueue,
    key: str,
    payload: Any = None,
    *,
    patience_s: float | None = None,
    waiting: Callable[[Job], None] = lambda job: None,
) -> JobRun | None:
    """Enqueues the job of a key unless it is pending, and claims it for this process. While another process runs it,
    calls `waiting`. None if that process has finished it, or if the patience is exhausted."""
    id, has_waited = job_id(key), False
    give_up = None if patience_s is None else time.monotonic() + patience_s
    while True:
        if not has_waited:
            queue.submit_if_idle(key, payload)
        if (claim := queue.claim(id)) is not None:
            return JobRun(queue, claim, threading.Event())
        job = find_job(queue.store, queue.name, id, queue.clock())
        if job is not None and job.state == "waiting":
            control.replay(queue, id)  # its last attempt has failed; this process tries it now
        elif job is not None and job.state == "running":
            has_waited = True
            if give_up is not None and time.monotonic() >= give_up:
                return None
            waiting(job)
            time.sleep(_WAIT_S)
        elif has_waited:
            return None


@contextlib.contextmanager
def holding(run: JobRun) -> Iterator[JobRun]:
    """Renews the lease while the body runs the job. The body stores the outcome; if it raises, the job is given back,
    or has failed if the user interrupts it."""
    try:
        with renewed(run):
            yield run
    except KeyboardInterrupt:
        with contextlib.suppress(StoreError):
            run.store(Rejected("interrupted"))
        raise
    except BaseException:
        with contextlib.suppress(StoreError):
            run.release()
        raise
