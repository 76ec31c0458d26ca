"""The outbox in `/metrics` and `/health/ready`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fhirstore.plugins import Issue, Message, Metric, PluginJobs, Sample
from fhirstore_sas.relay.listing import UNSENT, outbox_summary
from fhirstore_sas.relay.outbox import QUEUE


def read(jobs: PluginJobs) -> Iterator[Metric]:
    found = outbox_summary(jobs)
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
    done = jobs.totals(QUEUE)
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
