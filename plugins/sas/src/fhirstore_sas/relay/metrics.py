"""The outbox in numbers, for /metrics and /health/ready."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fhirstore.errors import Issue
from fhirstore.plugins import Metric, Sample, Store
from fhirstore_sas.relay import outbox


def read(store: Store) -> Iterator[Metric]:
    found = outbox.items(store, with_sent=False)  # those sent are many, and none of them needs anybody
    number = outbox.counts(found)
    yield Metric(
        "fhirstore_sas_outbox_appointments",
        "Appointments that the SAS platform is still to be told of, by state.",
        tuple(Sample(number[state], {"state": state}) for state in outbox.UNFINISHED),
    )
    waiting = [i for i in found if i.state != "parked"]
    oldest = max((time.time() - i.at for i in waiting), default=0.0)
    yield Metric(
        "fhirstore_sas_outbox_oldest_seconds",
        "Age of the oldest appointment that waits to be sent or is being sent; 0 = none.",
        (Sample(round(max(oldest, 0.0), 3)),),
    )
    attempts = float(sum(i.attempts for i in waiting))
    yield Metric(
        "fhirstore_sas_outbox_attempts",
        "Attempts so far to send what waits or is being sent.",
        (Sample(attempts),),
    )


def unhealthy(store: Store) -> Iterator[Issue]:
    """A warning while appointments are parked: the server is ready all the same."""
    parked = outbox.counts(outbox.items(store, with_sent=False))["parked"]
    if parked:
        text = f"{parked} appointments for the SAS platform are parked (fhirstore sas outbox list --state parked)."
        yield Issue("warning", "processing", text)
