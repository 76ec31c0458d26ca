"""Handlers: what runs the jobs of a queue."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from fhirstore.jobs.breaker import CircuitBreaker
from fhirstore.jobs.model import DEFAULT_OPTIONS, Done, Outcome, QueueOptions, Rejected, Retry
from fhirstore.jobs.run import JobInterrupted, JobRun
from fhirstore.jobs.stats import StatsWriter
from fhirstore.store.errors import StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JobHandler:
    """What runs the jobs of one queue.

    queue: lower-case letters, digits and "-". run: runs one job; an exception counts as `Retry`, and None as `Done()`.
    description: one line for operators. threads: jobs that one server runs at a time. every_s: seconds between two runs
    of a periodic job, which one of the servers enqueues; 0 = jobs are only enqueued by others. breaker: shared by the
    threads of a process. close: called after the last run of a process. in_server: whether `fhirstore serve` runs the
    jobs; otherwise only a command does."""

    queue: str
    run: Callable[[JobRun], Outcome | None]
    options: QueueOptions = DEFAULT_OPTIONS
    description: str = ""
    threads: int = 1
    every_s: float = 0.0
    breaker: CircuitBreaker | None = None
    close: Callable[[], None] | None = None
    in_server: bool = True


def run_job(handler: JobHandler, run: JobRun, writer: StatsWriter | None = None) -> str | None:
    """Runs a claimed job and stores the outcome; the new state of the job, None if the lease was lost or the run was
    interrupted."""
    try:
        outcome = handler.run(run) or Done()
    except JobInterrupted:
        run.release()
        return None
    except StoreError as problem:
        outcome = Retry(f"The store is unavailable: {problem}")
    except Exception as problem:
        log.exception("job %s of queue %s failed", run.key, run.queue.name)
        outcome = Retry(f"{type(problem).__name__}: {problem}", unavailable=True)
    if handler.breaker is not None:
        if isinstance(outcome, Retry) and outcome.unavailable:
            handler.breaker.record_failure()
        else:
            handler.breaker.record_success()
    state = run.store(outcome, writer)
    if isinstance(outcome, Retry | Rejected):
        _log_failure(run, outcome, state)
    return state


def _log_failure(run: JobRun, outcome: Retry | Rejected, state: str | None) -> None:
    level = logging.ERROR if state in ("parked", "failed") else logging.INFO
    log.log(level, "job %s of queue %s failed (%s): %s", run.key, run.queue.name, state or "lease lost", outcome.error)
