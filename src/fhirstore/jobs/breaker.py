"""Stops attempts for a while when the other side does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_FIRST_PAUSE_S = 1.0
_WAIT_S = 0.5


class CircuitBreaker:
    """Opens after several failures in a row, whatever was sent, so that not every job must find out that the other side
    is down. While it is open, the threads of this process make one attempt each per pause. Thread-safe.

    longest_s: the longest pause in seconds; pauses start at one second and double."""

    FAILURES = 8

    def __init__(self, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_s, self._clock = longest_s, clock
        self._failures, self._until = 0, 0.0
        self._answered = threading.Event()

    def wait(self, stop: threading.Event) -> bool:
        """Returns when an attempt is allowed, which an answer to another thread makes sooner; False if `stop` is
        set."""
        while not stop.is_set():
            left = self.open_s()
            if left <= 0:
                return True
            self._answered.wait(min(left, _WAIT_S))
        return False

    def open_s(self) -> float:
        """Seconds until the next attempt is allowed; 0 if the breaker is closed."""
        return max(self._until - self._clock(), 0.0)

    def record_success(self) -> None:
        """The other side answered, whatever the answer was."""
        self._failures, self._until = 0, 0.0
        self._answered.set()

    def record_failure(self) -> None:
        """The other side did not answer, or has failed itself."""
        self._failures += 1
        if self._failures >= self.FAILURES:
            self._answered.clear()
            pause = min(_FIRST_PAUSE_S * 2.0 ** min(self._failures - self.FAILURES, 10), self._longest_s)
            self._until = self._clock() + pause
