"""The threads of a worker process that answer complete requests."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi

from fhirstore.serving import refusals
from fhirstore.serving.connection import Connection
from fhirstore.serving.loop import ConnectionLoop
from fhirstore.serving.output import Output, QueuedResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)


class RequestThreads:
    """Threads are started when requests need them. They end with the process, or with `stop`.

    cfg, logger: those of gunicorn. loop: gets the responses.
    """

    def __init__(self, app: WSGIApplication, cfg: Any, logger: Any, loop: ConnectionLoop):
        self._app, self._cfg, self._logger, self._loop = app, cfg, logger, loop
        self._queue: SimpleQueue[Connection | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._started = 0
        self._finished: list[int] = []  # per thread, so that no two threads write one number

    def run(self, connection: Connection) -> None:
        """Has a thread answer the request of the connection. Called by one thread only."""
        self._started += 1
        if len(self._threads) < self._cfg.threads and self._started - sum(self._finished) > len(self._threads):
            number = len(self._threads)
            self._finished.append(0)
            thread = threading.Thread(target=self._work, args=(number,), name=f"request-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(connection)

    def stop(self, end: float) -> None:
        """Waits until the threads have ended, or until the time `end` (time.monotonic)."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self, number: int) -> None:
        while (connection := self._queue.get()) is not None:
            try:
                self._answer(connection)
            except Exception:
                log.exception("cannot answer a request")
                self._loop.abandoned(connection)
            self._finished[number] += 1

    def _answer(self, connection: Connection) -> None:
        begin = time.monotonic()
        assert connection.body is not None
        request, output = connection.request, Output()
        environ: dict[str, Any] = {}
        try:
            response, environ = wsgi.create(
                request, connection.sock, connection.peer, connection.server, self._cfg, QueuedResponse, (output,)
            )
            environ["wsgi.multithread"], environ["wsgi.input"] = True, connection.input
            del environ["wsgi.early_hints"]  # would write to the socket
            if environ.pop("HTTP_TRANSFER_ENCODING", None) is not None:
                # The application gets a body of known length, and can refuse it by its length.
                environ["CONTENT_LENGTH"] = str(connection.body.received)
            if self._loop.is_stopping or not connection.may_keep:
                response.force_close()
            self._call_app(environ, response)
        except Exception as problem:
            # The path and the query may contain personal data.
            log.error("no response to a request: %s", request.method, exc_info=problem)
            output.close()
            self._loop.answered(connection, Output(refusals.INTERNAL_ERROR), False)
            return
        self._loop.answered(connection, output, not response.should_close() and not response.is_short)
        self._logger.access(response, request, environ, timedelta(seconds=time.monotonic() - begin))

    def _call_app(self, environ: dict[str, Any], response: QueuedResponse) -> None:
        items = self._app(environ, response.start_response)
        try:
            for item in items:
                response.write(item)
            response.close()
        finally:
            if hasattr(items, "close"):
                items.close()
