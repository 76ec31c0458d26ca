"""The outbox in numbers, for /metrics and /health/ready."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fhirstore.plugins import Issue, Metric, Sample, Store
from fhirstore_sas.relay import listing, rows, tally


def read(store: Store) -> Iterator[Metric]:
    found = listing.survey(store)  # those sent are many, and none of them needs anybody
    yield Metric(
        "fhirstore_sas_outbox_appointments",
        "Appointments that the SAS platform is still to be told of, by state.",
        tuple(Sample(found.counts[state], {"state": state}) for state in listing.UNFINISHED),
    )
    age = 0.0 if found.oldest is None else time.time() - found.oldest
    yield Metric(
        "fhirstore_sas_outbox_oldest_seconds",
        "Age of the oldest appointment that waits to be sent or is being sent; 0 = none.",
        (Sample(round(max(age, 0.0), 3)),),
    )
    yield Metric(
        "fhirstore_sas_outbox_attempts",
        "Attempts so far to send what waits or is being sent.",
        (Sample(found.attempts),),
    )
    done = tally.total(store)
    yield Metric(
        "fhirstore_sas_relay_sent_total",
        "Messages that the platform has confirmed, of all servers on this store, since it was made.",
        (Sample(done.sent),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_failures_total",
        "Attempts to send that came to nothing.",
        (Sample(done.failed),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_parked_total",
        "Attempts after which an appointment was parked: the platform refused it, or it was tried too long.",
        (Sample(done.parked),),
        "counter",
    )
    yield Metric(
        "fhirstore_sas_relay_last_sent_timestamp_seconds",
        "When the platform confirmed a message last, in seconds since 1970; 0 = never.",
        (Sample(round(done.last, 3)),),
    )


def unhealthy(store: Store) -> Iterator[Issue]:
    """A warning while appointments are parked: the server is ready all the same."""
    parked = listing.parked(store)
    if parked:
        number = f"{parked}+" if parked >= rows.PAGE else str(parked)  # no more are looked at
        text = f"{number} appointments for the SAS platform are parked (fhirstore sas outbox list --state parked)."
        yield Issue("warning", "processing", text)
