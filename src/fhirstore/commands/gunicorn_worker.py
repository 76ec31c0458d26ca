"""gunicorn's worker and logger: OperationOutcomes for unparsable requests, and uniform log lines."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.http import REQUEST_ID

# Parse errors of gunicorn with their status, issue code and advice. The first matching class counts.
_PARSE_ERRORS = (
    (errors.LimitRequestLine, "414 URI Too Long", "too-long", "; use POST [base]/[type]/_search for long searches"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large", "too-long", ""),
    (errors.ExpectationFailed, "417 Expectation Failed", "not-supported", ""),
    (errors.UnsupportedTransferCoding, "501 Not Implemented", "not-supported", ""),
    (errors.ParseException, "400 Bad Request", "structure", ""),
)
_SERVER_ERRORS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
"""Subclasses of ParseException that are not the client's fault."""

_LINGER_S, _LINGER_BYTES = 2.0, 1024 * 1024
_HTTPS_ONLY = "this port accepts HTTPS only; use an address that begins with https://"


class HttpWorker(ThreadWorker):  # type: ignore[misc]
    def handle(self, conn: Any) -> Any:
        """Closes connections in the thread of the request. gunicorn waits for the client in the loop that accepts
        connections, where one slow client blocks all others."""
        keep = super().handle(conn)
        if keep is False:
            _linger(conn.sock)
        return keep

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, ssl.SSLError):
            self._handshake_failed(client, addr, exc)
            return
        parse_error = next((entry for entry in _PARSE_ERRORS if isinstance(exc, entry[0])), None)
        if parse_error is None or isinstance(exc, _SERVER_ERRORS):
            super().handle_error(req, client, addr, exc)
            return
        _, status, code, advice = parse_error
        # The message of the exception quotes the request, which may contain personal data.
        self.log.info("request rejected with %s: %s", status, type(exc).__name__)
        with contextlib.suppress(OSError):
            client.sendall(_response(status, code, f"{str(exc)[:500]}{advice}."))

    def _handshake_failed(self, client: socket.socket, addr: Any, problem: ssl.SSLError) -> None:
        """Logs the failure; OpenSSL has sent its alert. A plain HTTP request gets a plain HTTP response."""
        peer = addr[0] if isinstance(addr, tuple) else addr
        if isinstance(problem, ssl.SSLCertVerificationError):
            self.log.warning("client certificate from %s rejected: %s", peer, problem.verify_message)
            return
        self.log.info("TLS handshake with %s failed: %s", peer, problem)
        if problem.reason == "HTTP_REQUEST":
            with contextlib.suppress(OSError):
                socket.socket.sendall(client, _response("400 Bad Request", "security", f"{_HTTPS_ONLY}."))


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


def _response(status: str, code: str, text: str) -> bytes:
    body = dumps(outcome(Issue("error", code, text)))
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/fhir+json;charset=utf-8\r\n"
        f"X-Content-Type-Options: nosniff\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _linger(client: socket.socket) -> None:
    """Closes the sending side, then reads until the client closes or a limit is reached.

    Closing a connection with unread bytes resets it, and the client never sees the last response or the TLS alert
    (RFC 9112, section 9.6).
    """
    with contextlib.suppress(OSError, ValueError):
        client.shutdown(socket.SHUT_WR)
        end, left = time.monotonic() + _LINGER_S, _LINGER_BYTES
        while left > 0 and (wait := end - time.monotonic()) > 0:
            client.settimeout(wait)
            data = client.recv(4096)
            if not data:
                break
            left -= len(data)
        client.shutdown(socket.SHUT_RD)
