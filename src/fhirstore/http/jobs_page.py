"""Durable jobs for operators: the page /jobs, and their metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from html import escape

from fhirstore.errors import Message, translate
from fhirstore.jobs import stats, summary
from fhirstore.jobs.model import PENDING_STATES, Job, JobState
from fhirstore.jobs.records import queue_names
from fhirstore.plugins import Metric, Sample
from fhirstore.store.protocol import Store

PATH = "/jobs"
MOST = 50
"""Jobs that the page shows of each queue and state."""
FINISHED = 10
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #d5dae3}
td{overflow-wrap:anywhere}.meta{color:#566074;font-size:.9rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}th,td{border-color:#3a4150}.meta{color:#a3adbf}}
"""
TITLE = Message("Jobs")
NOTHING = Message("No jobs.")
COLUMNS = (
    Message("Key"), Message("State"), Message("Created"), Message("Attempts"), Message("Next attempt"),
    Message("Progress"), Message("Last error"),
)  # fmt: skip


def render(store: Store, query: Mapping[str, str]) -> str:
    """The HTML document, in the language of the request. query: `queue` shows one queue only."""
    names = [name for name in queue_names(store) if query.get("queue", name) == name]
    body = "".join(_queue(store, name) for name in names) or f"<p>{escape(translate(NOTHING))}</p>"
    title = translate(TITLE)
    language = "en" if translate(NOTHING) == NOTHING else "fr"  # the only other catalogue
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}</h1>\n<p class="meta">{_moment(time.time())}</p>\n{body}</body></html>\n'
    )


def _queue(store: Store, name: str) -> str:
    found, totals = summary.summarize(store, name, MOST), stats.total(store, name)
    pending = list(summary.load_jobs(store, name, found))
    finished = list(summary.list_jobs(store, name, summary.FINISHED_STATES, FINISHED))
    counts = ", ".join(f"{state}: {found.counts[state]}" for state in PENDING_STATES)
    number = sum(found.counts.values())
    line = translate(
        Message(
            "{done} done, {failed} failed attempts. Pending jobs: {pending}.",
            done=totals.done, failed=totals.failed, pending=number,
        )
    )  # fmt: skip
    head = "".join(f"<th>{escape(translate(column))}</th>" for column in COLUMNS)
    rows = "".join(_row(job) for job in (*pending, *finished))
    left = number - len(pending)
    more = ""
    if left > 0:
        text = translate(Message("and {left} others (fhirstore jobs list --queue {queue})", left=left, queue=name))
        more = f'<p class="meta">{escape(text)}</p>'
    return (
        f'<h2>{escape(name)}</h2>\n<p class="meta">{escape(line)} {escape(counts)}</p>\n'
        f"<table><tr>{head}</tr>\n{rows}</table>\n{more}"
    )


def _row(job: Job) -> str:
    next_attempt = _moment(job.next) if job.state == "waiting" and job.next else ""
    cells = (
        job.key, job.state, _moment(job.created), str(job.attempts), next_attempt,
        "" if job.progress is None else str(job.progress), job.error,
    )  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def metrics(store: Store) -> Iterator[Metric]:
    """The jobs of all queues. Raises StoreError."""
    names = queue_names(store)
    found = {name: summary.summarize(store, name) for name in names}
    totals = {name: stats.total(store, name) for name in names}
    now = time.time()

    def of(value: Callable[[str], float]) -> tuple[Sample, ...]:
        return tuple(Sample(value(name), {"queue": name}) for name in names)

    def counts(state: JobState) -> tuple[Sample, ...]:
        return tuple(Sample(found[name].counts[state], {"queue": name, "state": state}) for name in names)

    def age(name: str) -> float:
        oldest = found[name].oldest
        return 0.0 if oldest is None else round(max(now - oldest, 0.0), 3)

    pending = tuple(sample for state in PENDING_STATES for sample in counts(state))
    yield Metric("fhirstore_jobs", "Jobs that have not been done, by queue and state.", pending)
    yield Metric("fhirstore_jobs_oldest_seconds", "Age of the oldest job that is not parked; 0 without one.", of(age))
    yield Metric("fhirstore_jobs_done_total", "Jobs done.", of(lambda name: totals[name].done), "counter")
    yield Metric("fhirstore_job_failures_total", "Failed attempts.", of(lambda name: totals[name].failed), "counter")
    yield Metric(
        "fhirstore_jobs_parked_total",
        "Failed attempts after which a job was not tried again.",
        of(lambda name: totals[name].parked),
        "counter",
    )
