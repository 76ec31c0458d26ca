"""The worker: looks what is due, sends it under a lease, writes down what came of it. Many may work on one store."""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections.abc import Callable

from fhirstore.plugins import Store, StoreError
from fhirstore_sas.relay import outbox, tally
from fhirstore_sas.relay.send import Answer, Platform
from fhirstore_sas.relay.settings import RelaySettings
from fhirstore_sas.relay.tally import Tally

log = logging.getLogger(__name__)

SENDERS = 4
"""Appointments that one process sends at a time."""
LOOK_S = 0.5
"""Seconds between two looks at the outbox."""
MOST = 200
"""Appointments that one process has in mind, of however many wait."""
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
        self._answered = threading.Event()

    def wait(self, stop: threading.Event) -> bool:
        """Returns when the gate is open, also since somebody else got an answer meanwhile; False = `stop` was set."""
        while not stop.is_set():
            left = self.closed_s()
            if left <= 0:
                return True
            self._answered.wait(min(left, LOOK_S))
        return False

    def closed_s(self) -> float:
        """Seconds to wait; 0 = open."""
        return max(self._until - self._clock(), 0.0)

    def saw(self, answer: Answer) -> None:
        if answer.status is not None and answer.status < 500:
            self._failures, self._until = 0, 0.0
            self._answered.set()
            return
        self._failures += 1
        if self._failures >= self.AFTER:
            self._answered.clear()
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
        self._looking = threading.Lock()
        self._has_more = False
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
            self._tidy()
            pause = max(LOOK_S, 10 * (time.monotonic() - begun))  # a slow store is asked less often
        # Who has an answer by now writes it down; the lease of the others ends by itself.
        give_up = time.monotonic() + _LEAVE_S
        for sender in senders:
            sender.join(max(give_up - time.monotonic(), 0.0))
        platform.close()

    def _look(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        try:
            with self._lock:
                busy = set(self._busy)
            room = MOST - self._jobs.qsize()
            found = outbox.due(self._store, time.time(), room, busy) if room > 0 else []
            self._has_more = len(found) == room
            with self._lock:
                self._busy.update(found)
            for unit in found:
                self._jobs.put(unit)
        except StoreError as problem:
            log.warning("the outbox of the relay cannot be read now: %s", problem)
        except Exception:
            log.exception("the outbox of the relay cannot be read")
        finally:
            self._looking.release()

    def _tidy(self) -> None:
        now = time.time()
        if now < self._tidy_at:
            return
        self._tidy_at = now + _TIDY_S
        try:
            outbox.forget(self._store, now - outbox.KEEP_SENT_S)
            tally.fold(self._store, now - tally.SILENT_S)
        except StoreError as problem:
            log.warning("the outbox of the relay cannot be tidied now: %s", problem)
        except Exception:
            log.exception("the outbox of the relay cannot be tidied")

    def _work(self, platform: Platform) -> None:
        counts = Tally()
        while not self._stop.is_set():
            try:
                unit = self._jobs.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            try:
                if not self._gate.wait(self._stop):
                    return
                # Later versions that came meanwhile go at once.
                while not self._stop.is_set() and self._send(platform, unit, counts):
                    pass
            except StoreError as problem:
                log.warning("the relay could not write down what became of an appointment: %s", problem)
            except Exception:
                log.exception("the relay failed")
            finally:
                with self._lock:
                    self._busy.discard(unit)
            if self._has_more and self._jobs.qsize() < MOST // 2:
                self._look()

    def _send(self, platform: Platform, unit: str, counts: Tally) -> bool:
        """Whether there may be more to send of this unit at once."""
        held = outbox.lease(self._store, unit, self._settings.lease_s)
        if held is None:
            return False
        try:
            answer = platform.send(held.row.message, is_first=held.is_first, etag=held.etag)
        except Exception as problem:  # a fault of ours: it must not be tried for ever
            log.exception("the relay could not send Appointment/%s", held.row.appointment)
            answer = Answer(None, f"{type(problem).__name__}: {problem}")
        self._gate.saw(answer)
        if answer.is_done and answer.status is not None:
            return outbox.sent(self._store, held, answer.status, answer.location, counts, answer.etag)
        again = self._again(held, answer)
        outbox.failed(self._store, held, answer.status, answer.error, again=again, tally=counts)
        level = logging.INFO if again is not None else logging.ERROR
        parked = "" if again is not None else ", it is parked"
        log.log(level, "Appointment/%s was not sent%s: %s", held.row.appointment, parked, answer.error)
        return False

    def _again(self, held: outbox.Lease, answer: Answer) -> float | None:
        """When this is tried again; None = not without somebody's help."""
        now = time.time()
        if answer.is_hopeless or now - held.work.since >= self._settings.park_after_s:
            return None
        longest = min(_FIRST_PAUSE_S * 2.0 ** min(held.work.attempts - 1, 30), self._settings.pause_s)
        return now + max(longest * (0.5 + self._dice() / 2), answer.wait_s)
