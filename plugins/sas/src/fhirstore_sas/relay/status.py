"""The outbox as operators see it: how many appointments are in each state, which ones, and why; metrics and health."""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from fhirstore.plugins import Issue, Job, JobCounts, JobState, Message, Metric, PluginJobs, QueueSummary, Sample
from fhirstore_sas.relay.outbox import QUEUE, identifier_of, key_of

OutboxState = Literal["waiting", "sending", "parked", "sent"]
UNSENT: tuple[OutboxState, ...] = ("waiting", "sending", "parked")
STATES: tuple[OutboxState, ...] = (*UNSENT, "sent")
_SHOWN_AS: dict[JobState, OutboxState] = {
    "queued": "waiting", "waiting": "waiting", "running": "sending", "parked": "parked", "done": "sent",
    "failed": "parked",
}  # fmt: skip
_ALL = 2**62


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """One appointment of the outbox, by its identifier. key: of its job. id, version: of the Appointment. message: the
    latest to send, or the last that was sent. at: since when; next: of the next attempt; seconds since 1970. status,
    error: of the last response."""

    key: str
    id: str
    version: int
    message: dict[str, Any]
    state: OutboxState
    at: float
    attempts: int = 0
    next: float | None = None
    status: int | None = None
    error: str = ""
    location: str = ""

    @property
    def identifier(self) -> str:
        return "|".join(identifier_of(self.message) or ("", ""))


@dataclass(frozen=True, slots=True)
class OutboxSummary:
    """Unsent messages by state. oldest: since when the oldest one waits or is being sent, in seconds since 1970, or
    None. attempts: to send those. jobs: their jobs, as far as they are named."""

    counts: dict[OutboxState, int]
    oldest: float | None
    attempts: int
    jobs: QueueSummary


def outbox_summary(jobs: PluginJobs, limit: int = 0) -> OutboxSummary:
    """Counts all unsent messages, and names at most `limit` of each state. Reads no messages."""
    found = jobs.summary(QUEUE, limit)
    counts: dict[OutboxState, int] = dict.fromkeys(UNSENT, 0)
    for state, number in found.counts.items():
        counts[_SHOWN_AS[state]] += number
    return OutboxSummary(counts, found.oldest, found.attempts, found)


def list_items(
    jobs: PluginJobs, states: Collection[OutboxState] = UNSENT, limit: int | None = None
) -> Iterator[OutboxItem]:
    """Items in these states, at most `limit` of each: parked ones first, then in the order in which they are due; sent
    ones last, the latest first if there is a limit. An item that changes meanwhile may be missing."""
    if not set(states).isdisjoint(UNSENT):
        found = outbox_summary(jobs, _ALL if limit is None else limit)
        yield from load_items(jobs, found, states, limit)
    if "sent" in states:
        yield from map(_item, jobs.list(QUEUE, ("done",), limit))


def load_items(
    jobs: PluginJobs, found: OutboxSummary, states: Collection[OutboxState] = UNSENT, limit: int | None = None
) -> Iterator[OutboxItem]:
    """The items in these states that a summary names."""
    if "parked" in states:
        yield from map(_item, jobs.load(QUEUE, found.jobs, ("parked",)))
    if "sending" in states:
        yield from map(_item, jobs.load(QUEUE, found.jobs, ("running",)))
    if "waiting" in states:
        parts = (jobs.load(QUEUE, found.jobs, ("queued",)), jobs.load(QUEUE, found.jobs, ("waiting",)))
        yield from map(_item, islice(heapq.merge(*parts, key=lambda job: job.next or job.created), limit))


def find_items(jobs: PluginJobs, name: str) -> list[OutboxItem]:
    """The items with this identifier SYSTEM|VALUE, or this value of it, or this id of the Appointment."""
    system, bar, value = name.rpartition("|")
    if bar and (job := jobs.get(QUEUE, key_of((system, value)))) is not None:
        return [_item(job)]
    id = name.removeprefix("Appointment/")

    def matches(_: str, payload: Any) -> bool:
        identifier = identifier_of(payload["message"])
        return id == payload["appointment"] or (identifier is not None and id in (identifier[1], "|".join(identifier)))

    return [_item(job) for job in jobs.search(QUEUE, matches)]


def parked_keys(jobs: PluginJobs) -> list[str]:
    """The keys of all parked items, in the order in which they were parked."""
    return [job.key for job in jobs.list(QUEUE, ("parked",))]


def find_item(jobs: PluginJobs, key: str) -> OutboxItem | None:
    job = jobs.get(QUEUE, key)
    return None if job is None else _item(job)


def _item(job: Job) -> OutboxItem:
    payload, is_sent = job.payload, job.state == "done"
    detail = (job.result if is_sent else job.outcome) or {}
    at = job.finished if is_sent and job.finished is not None else job.created
    return OutboxItem(
        job.key, payload["appointment"], payload["version"], payload["message"], _SHOWN_AS[job.state], at, job.attempts,
        job.next, detail.get("status"), job.error, detail.get("location", "") if is_sent else "",
    )  # fmt: skip


def metrics(jobs: PluginJobs) -> Iterator[Metric]:
    """The metrics of the outbox and of the relay, of all servers on this store."""
    yield from _outbox_metrics(outbox_summary(jobs))
    yield from _relay_metrics(jobs.totals(QUEUE))


def _outbox_metrics(found: OutboxSummary) -> Iterator[Metric]:
    yield Metric(
        "fhirstore_sas_outbox_appointments",
        "Appointments that have not been sent to the SAS platform, by state.",
        tuple(Sample(found.counts[state], {"state": state}) for state in UNSENT),
    )
    age = 0.0 if found.oldest is None else time.time() - found.oldest
    yield Metric(
        "fhirstore_sas_outbox_oldest_seconds",
        "Age of the oldest appointment that waits or is being sent; 0 without one.",
        (Sample(round(max(age, 0.0), 3)),),
    )
    yield Metric(
        "fhirstore_sas_outbox_attempts",
        "Attempts so far to send the appointments that wait or are being sent.",
        (Sample(found.attempts),),
    )


def _relay_metrics(done: JobCounts) -> Iterator[Metric]:
    yield Metric(
        "fhirstore_sas_relay_sent_total",
        "Messages that the platform has confirmed to any server on this store since it was created.",
        (Sample(done.done),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_failures_total",
        "Failed attempts to send a message.",
        (Sample(done.failed),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_parked_total",
        "Failed attempts after which an appointment was parked.",
        (Sample(done.parked),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_last_sent_timestamp_seconds",
        "When the platform last confirmed a message, in seconds since 1970; 0 = never.",
        (Sample(round(done.last, 3)),),
    )


def unhealthy(jobs: PluginJobs) -> Iterator[Issue]:
    """A warning while appointments are parked; the server stays ready."""
    parked = jobs.parked(QUEUE)
    if parked:
        number = f"{parked}+" if parked >= jobs.count_limit else str(parked)
        text = Message(
            "{number} appointments for the SAS platform are parked (fhirstore sas outbox list --state parked).",
            number=number,
        )
        yield Issue("warning", "processing", text)
