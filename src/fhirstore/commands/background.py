"""Work of plugins beside the requests (hook `background`), in one process of each server.

Every worker process has a thread that waits for a lock; whoever has it does the work. The kernel gives the lock back
when a process ends, however it ends, and then another worker goes on.
"""

from __future__ import annotations

import fcntl
import logging
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from fhirstore.interactions.context import Server

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Seconds between two tries to get the lock."""
AGAIN_S = 5.0
"""Seconds until work that has failed begins again."""
LEAVE_S = 2.0
"""Seconds that work may take to end when the process does."""


class Background:
    """Made before the workers are forked. server: what is served, from then on by new workers."""

    def __init__(self, again_s: float = AGAIN_S, leave_s: float = LEAVE_S) -> None:
        self.server: Server | None = None
        self._again_s, self._leave_s = again_s, leave_s
        # A lock of lockf belongs to one process, so that workers may share the file that they were forked with.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server runs)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Called in each worker."""
        server = self.server
        if server is None or not server.plugins.hook.background.get_hookimpls():
            return
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._elect, args=(server,), name="background", daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Called when a worker ends: waits for a moment, no longer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._leave_s)

    def close(self) -> None:
        """Gives the lock back, for what goes on without a server; the end of the process does so too."""
        self._file.close()

    def _elect(self, server: Server) -> None:
        while True:
            try:
                fcntl.lockf(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if self._stop.wait(LOOK_S):
                    return
        running = [
            threading.Thread(
                target=self._supervise, args=(server, impl), name=f"background-{impl.plugin_name}", daemon=True
            )
            for impl in server.plugins.hook.background.get_hookimpls()
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def _supervise(self, server: Server, impl: Any) -> None:
        """Calls the hook until it returns."""
        given = {"context": server.contexts, "stop": self._stop}
        work: Callable[..., None] = impl.function
        while not self._stop.is_set():
            try:
                work(*(given[name] for name in impl.argnames))
                return
            except Exception:
                log.exception("background work of plugin %s failed; it begins again", impl.plugin_name)
            self._stop.wait(self._again_s)
