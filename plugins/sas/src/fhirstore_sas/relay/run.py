"""The job handler of the outbox: sends one message and says what the response means."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fhirstore.plugins import (
    CircuitBreaker,
    Done,
    JobHandler,
    JobRun,
    Outcome,
    QueueOptions,
    Rejected,
    Retry,
    RetryPolicy,
)
from fhirstore_sas.relay.outbox import QUEUE
from fhirstore_sas.relay.send import Platform, PlatformResponse, RelaySettings

THREADS = 4
"""Messages that one server sends at a time."""
_FIRST_PAUSE_S = 1.0
_LONGEST_OPEN_S = 30.0


def relay_handler(settings: RelaySettings | None) -> JobHandler:
    """settings: None if no relay is configured; the outbox can still be inspected."""
    configured = settings or RelaySettings("")
    sender = Sender(configured)
    return JobHandler(
        QUEUE,
        sender.run,
        QueueOptions(
            delivery="latest",
            retry=RetryPolicy(_FIRST_PAUSE_S, configured.pause_s, give_up_after_s=configured.park_after_s),
            lease_s=configured.lease_s,
        ),
        "Messages about appointments to the SAS platform",
        threads=THREADS,
        breaker=CircuitBreaker(min(configured.pause_s, _LONGEST_OPEN_S)),
        close=sender.close,
        in_server=settings is not None and settings.in_serve,
    )


class Sender:
    """Sends messages over one HTTP client, which is created in the process that uses it. Thread-safe."""

    def __init__(self, settings: RelaySettings, connect: Callable[[RelaySettings], Platform] = Platform) -> None:
        self._settings, self._connect = settings, connect
        self._lock = threading.Lock()
        self._platform: Platform | None = None

    def run(self, job: JobRun) -> Outcome:
        """Sends the message of a job. Raises StartupError if the certificates cannot be used."""
        last: Any = job.last_result
        etag = last.get("etag", "") if isinstance(last, dict) else ""
        is_first = job.is_first and bool(job.oldest_payload["is_new"])
        return outcome_of(self._connected().send(job.payload["message"], is_first=is_first, etag=etag))

    def close(self) -> None:
        with self._lock:
            platform, self._platform = self._platform, None
        if platform is not None:
            platform.close()

    def _connected(self) -> Platform:
        with self._lock:
            if self._platform is None:
                self._platform = self._connect(self._settings)
            return self._platform


def outcome_of(response: PlatformResponse) -> Outcome:
    """What a response of the platform means for the job."""
    status = response.status
    if response.is_done:
        return Done({"status": status, "location": response.location, "etag": response.etag})
    if response.is_final:
        return Rejected(response.error, {"status": status})
    is_unavailable = status is None or status >= 500
    return Retry(response.error, {"status": status}, response.wait_s, unavailable=is_unavailable)
