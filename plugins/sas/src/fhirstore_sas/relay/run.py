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
_LEAVE_S = 1.5


class Gate:
    """Closed for a while when the platform has failed many times in a row, whatever was sent: while it is away, not
    every appointment need find that out for itself. longest_s: seconds that it stays closed at most."""

    AFTER = 8

    def __init__(self, longest_s: float, clock: Callable[[], float] = time.monotonic):
        self._longest_s, self._clock = longest_s, clock
        self._failures, self._until = 0, 0.0

    def closed_s(self) -> float:
        """Seconds to wait; 0 = open."""
        return max(self._until - self._clock(), 0.0)

    def saw(self, answer: Answer) -> None:
        if answer.status is not None and answer.status < 500:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= self.AFTER:
            pause = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - self.AFTER, 10), self._longest_s)
            self._until = self._clock() + pause


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
        self._gate = Gate(min(settings.pause_s, 30.0))
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
        pause = LOOK_S
        while not self._stop.wait(pause):
            begun = time.monotonic()
            self._look()
            pause = max(LOOK_S, 10 * (time.monotonic() - begun))  # a long outbox is looked at less often
        # Who has an answer by now writes it down; the lease of the others ends by itself.
        give_up = time.monotonic() + _LEAVE_S
        for sender in senders:
            sender.join(max(give_up - time.monotonic(), 0.0))
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
        except Exception:
            log.exception("the outbox of the relay cannot be read")

    def _work(self, platform: Platform) -> None:
        while not self._stop.is_set():
            try:
                id = self._jobs.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            try:
                if self._stop.wait(self._gate.closed_s()):
                    return
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
        self._gate.saw(answer)
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
