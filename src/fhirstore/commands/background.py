"""Background work of a server, in one of its worker processes: durable jobs, and the hook `background`.

Every worker process has a thread that waits for a lock; the process that gets the lock does the work. The kernel
releases the lock when a process ends, however it ends, and then another worker takes over.
"""

from __future__ import annotations

import fcntl
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.interactions.reindex import reindex_handler
from fhirstore.interactions.server import Server
from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.runner import Runner

log = logging.getLogger(__name__)

LOCK_S = 0.5
"""Seconds between two attempts to get the lock."""
RESTART_S = 5.0
"""Seconds until work that has failed is started again."""
STOP_S = 2.0
"""Seconds that work has to end when the process does."""

Work = Callable[[], None]


def job_handlers(server: Server) -> list[JobHandler]:
    """The durable jobs of fhirstore and of its plugins that servers run."""
    of_plugins = (one for name in server.plugins.names for one in server.contexts.of(name).jobs.handlers)
    return [reindex_handler(server), *(one for one in of_plugins if one.in_server)]


class Background:
    """Created before the workers are forked. server: the one that new workers serve.

    handlers: the durable jobs that a server runs."""

    def __init__(
        self,
        restart_s: float = RESTART_S,
        stop_s: float = STOP_S,
        handlers: Callable[[Server], list[JobHandler]] = job_handlers,
    ) -> None:
        self.server: Server | None = None
        self._restart_s, self._stop_s, self._handlers = restart_s, stop_s, handlers
        # A lock of lockf belongs to one process, so workers may share the file descriptor that they inherit.
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server runs)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Called in each worker process."""
        if self.server is None:
            return
        self._stop = threading.Event()
        work = self._work(self.server)
        if not work:
            return
        self._threads = [threading.Thread(target=self._elect, args=(work,), name="background", daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Called when a worker process ends; waits `stop_s` seconds at most."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._stop_s)

    def close(self) -> None:
        """Releases the lock without ending the process."""
        self._file.close()

    def _work(self, server: Server) -> Mapping[str, Work]:
        """What runs in threads of its own, by name."""
        work: dict[str, Work] = {}
        if handlers := self._handlers(server):
            work["jobs"] = Runner(server.store, handlers, self._stop).run
        for impl in server.plugins.hook.background.get_hookimpls():
            work[f"background of plugin {impl.plugin_name}"] = self._hook(server, impl)
        return work

    def _hook(self, server: Server, impl: Any) -> Work:
        arguments = {"context": server.contexts, "stop": self._stop}
        return lambda: impl.function(*(arguments[name] for name in impl.argnames))

    def _elect(self, work: Mapping[str, Work]) -> None:
        while True:
            try:
                fcntl.lockf(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if self._stop.wait(LOCK_S):
                    return
        running = [
            threading.Thread(target=self._supervise, args=(name, one), name=name, daemon=True)
            for name, one in work.items()
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def _supervise(self, name: str, work: Work) -> None:
        """Calls the work until it returns."""
        while not self._stop.is_set():
            try:
                work()
                return
            except Exception:
                log.exception("%s failed and is started again in %g s", name, self._restart_s)
            self._stop.wait(self._restart_s)
