"""The worker: looks what is due, sends it under a lease, writes down what came of it. Many may work on one store."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable

from fhirstore.plugins import Store, StoreError
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.send import Answer, Platform
from fhirstore_sas.relay.settings import RelaySettings

log = logging.getLogger(__name__)

SENDERS = 4
"""Appointments that one process sends at a time."""
LOOK_S = 0.5
"""Seconds between two looks at the outbox."""
_FIRST_PAUSE_S = 1.0
_TIDY_S = 3600.0


class Relay:
    """One process's part in the relay; `run` returns when `stop` is set."""

    def __init__(
        self,
        store: Store,
        settings: RelaySettings,
        stop: threading.Event,
        dice: Callable[[], float] = random.random,
    ):
        self._store, self._settings, self._stop, self._dice = store, settings, stop, dice
        self._jobs: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._tidy_at = 0.0

    def run(self) -> None:
        """Raises StartupError when the certificates cannot be used."""
        platform = Platform(self._settings)
        senders = [
            threading.Thread(target=self._work, args=(platform,), name=f"sas-relay-{n}", daemon=True)
            for n in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        try:
            while not self._stop.wait(LOOK_S):
                self._look()
        finally:
            # Who waits for the platform gets an error now, and writes down that it is to be tried again.
            platform.close()

    def _look(self) -> None:
        try:
            if not outbox.is_empty(self._store):
                for id in outbox.due(self._store, time.time()):
                    with self._lock:
                        if id not in self._busy:
                            self._busy.add(id)
                            self._jobs.put(id)
            if time.time() > self._tidy_at:
                self._tidy_at = time.time() + _TIDY_S
                outbox.forget(self._store, time.time() - outbox.KEEP_SENT_S)
        except StoreError as problem:
            log.warning("the outbox of the relay cannot be read now: %s", problem)

    def _work(self, platform: Platform) -> None:
        while not self._stop.is_set():
            try:
                id = self._jobs.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            try:
                # Later versions that came meanwhile go at once.
                while not self._stop.is_set() and self._send(platform, id):
                    pass
            except StoreError as problem:
                log.warning("the relay could not write down what became of Appointment/%s: %s", id, problem)
            except Exception:
                log.exception("the relay failed on Appointment/%s", id)
            finally:
                with self._lock:
                    self._busy.discard(id)

    def _send(self, platform: Platform, id: str) -> bool:
        """Whether there may be more to send of this appointment at once."""
        held = outbox.lease(self._store, id, self._settings.lease_s)
        if held is None:
            return False
        answer = platform.send(held.row.message, is_first=held.is_first)
        if answer.is_done and answer.status is not None:
            return outbox.sent(self._store, held, answer.status, answer.location)
        again = self._again(held, answer)
        outbox.failed(self._store, held, answer.status, answer.error, again=again)
        level = logging.INFO if again is not None else logging.ERROR
        log.log(level, "Appointment/%s was not sent%s: %s", id, "" if again else ", it is parked", answer.error)
        return False

    def _again(self, held: outbox.Lease, answer: Answer) -> float | None:
        """When this is tried again; None = not without somebody's help."""
        now = time.time()
        if answer.is_hopeless or now - held.work.since >= self._settings.park_after_s:
            return None
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(held.work.attempts - 1, 30), self._settings.pause_s)
        return now + max(longest * (0.5 + self._dice() / 2), answer.wait_s)
