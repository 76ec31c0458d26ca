"""Log lines for faults of a database. Each fault is logged once a minute, however many requests meet it."""

from __future__ import annotations

import logging
import threading
import time

log = logging.getLogger(__name__)

_INTERVAL_S = 60.0
_MOST_KINDS = 100


class FaultLog:
    """Logs faults of one store. `text` must not contain values of resources."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[float, int]] = {}  # by text: time of its line, later reports

    def report(self, text: str) -> None:
        now = time.monotonic()
        with self._lock:
            logged, left_out = self._seen.get(text, (None, 0))
            if logged is not None and now - logged < _INTERVAL_S:
                self._seen[text] = (logged, left_out + 1)
                return
            if len(self._seen) >= _MOST_KINDS:
                self._seen.clear()
            self._seen[text] = (now, 0)
        more = f" ({left_out} more times since the last line)" if left_out else ""
        log.error("store: %s%s", text, more)
