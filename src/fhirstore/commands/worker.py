"""gunicorn's worker and logger, so that refusals before the app are OperationOutcomes and all log lines look alike."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from fhirstore.codec.json import dumps
from fhirstore.errors import Issue, outcome

# What is no HTTP, or more of it than gunicorn reads; everything else that cannot be parsed is a plain 400.
_REFUSALS = (
    (errors.LimitRequestLine, "414 URI Too Long", "too-long", "; POST [base]/[type]/_search takes longer searches"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large", "too-long", ""),
    (errors.ExpectationFailed, "417 Expectation Failed", "not-supported", ""),
    (errors.UnsupportedTransferCoding, "501 Not Implemented", "not-supported", ""),
    (errors.ParseException, "400 Bad Request", "structure", ""),
)
_NOT_THE_CLIENTS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


class Worker(ThreadWorker):  # type: ignore[misc]
    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        refusal = next((r for r in _REFUSALS if isinstance(exc, r[0])), None)
        if refusal is None or isinstance(exc, _NOT_THE_CLIENTS):
            super().handle_error(req, client, addr, exc)
            return
        _, status, code, advice = refusal
        self.log.info("request refused: %s", exc)
        body = dumps(outcome(Issue("error", code, f"{str(exc)[:500]}{advice}.")))
        head = (
            f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/fhir+json;charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)


class Log(Logger):  # type: ignore[misc]
    """Messages go where the other loggers' go; access lines, when wanted, to stdout."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
