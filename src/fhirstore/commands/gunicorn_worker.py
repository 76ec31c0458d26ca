"""The worker process and the logger for gunicorn."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

from fhirstore.http import REQUEST_ID
from fhirstore.serving.loop import TICK_S, ConnectionLoop
from fhirstore.serving.threads import RequestThreads
from fhirstore.settings import Settings

_HEARTBEAT_S = 1.0


class HttpWorker(Worker):  # type: ignore[misc]
    """A worker process: the main thread runs the event loop, other threads answer requests.

    `app.connection_settings` of the application of gunicorn has the settings.
    """

    alive: bool

    def run(self) -> None:
        settings: Settings = self.app.connection_settings
        loop = ConnectionLoop(self.cfg, settings, self.sockets, lambda connection: threads.run(connection))
        threads = RequestThreads(self.wsgi, self.cfg, self.log, loop)
        signal.set_wakeup_fd(loop.waker, warn_on_full_buffer=False)  # SIGTERM ends the wait for events
        beat = 0.0
        while self.alive:
            loop.turn()
            if time.monotonic() >= beat:
                beat = time.monotonic() + _HEARTBEAT_S
                self.notify()
                if self.ppid != os.getppid():
                    self.alive = False
        self._stop(loop, threads)

    def _stop(self, loop: ConnectionLoop, threads: RequestThreads) -> None:
        """Refuses new connections, and finishes the requests of the others within graceful_timeout."""
        loop.stop_accepting()
        end = time.monotonic() + self.cfg.graceful_timeout
        while loop.connections and time.monotonic() < end:
            self.notify()
            loop.turn(min(TICK_S, 0.1))
        threads.stop(end)
        signal.set_wakeup_fd(-1)
        loop.close()


class GunicornLogger(Logger):  # type: ignore[misc]
    """Sends messages and access lines to the handlers of `logs.logging_config`."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        own = [handler for handler in self.access_log.handlers if not getattr(handler, "_gunicorn", False)]
        self.access_log.handlers = own or self.access_log.handlers

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        """Logs the path without the query, because queries contain personal data.

        The request is over, so the id comes from its environment.
        """
        if self.cfg.accesslog is None:
            return
        fields = {
            "request_id": environ.get(REQUEST_ID),
            "client": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD"),
            "path": environ.get("PATH_INFO"),
            "status": str(resp.status).split(" ", 1)[0],
            "bytes": resp.sent,
            "ms": round(request_time.total_seconds() * 1000, 1),
        }
        self.access_log.info("request", extra=fields)
