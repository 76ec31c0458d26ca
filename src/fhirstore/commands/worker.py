"""gunicorn's worker and logger, so that refusals before the app are OperationOutcomes and all log lines look alike."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps

# What is no HTTP, or more of it than gunicorn reads; everything else that cannot be parsed is a plain 400.
_REFUSALS = (
    (errors.LimitRequestLine, "414 URI Too Long", "too-long", "; POST [base]/[type]/_search takes longer searches"),
    (errors.LimitRequestHeaders, "431 Request Header Fields Too Large", "too-long", ""),
    (errors.ExpectationFailed, "417 Expectation Failed", "not-supported", ""),
    (errors.UnsupportedTransferCoding, "501 Not Implemented", "not-supported", ""),
    (errors.ParseException, "400 Bad Request", "structure", ""),
)
_NOT_THE_CLIENTS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)


_LINGER_S, _LINGER_BYTES = 2.0, 1024 * 1024
_WITHOUT_TLS = "this port speaks TLS; the address begins with https"


class Worker(ThreadWorker):  # type: ignore[misc]
    def handle(self, conn: Any) -> Any:
        """gunicorn's, but what is to be closed is closed in the thread: gunicorn waits for the client in the loop that
        accepts connections, where one that does not close stops all."""
        keep = super().handle(conn)
        if keep is False:
            _linger(conn.sock)
        return keep

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        if isinstance(exc, ssl.SSLError):
            self._handshake_failed(client, addr, exc)
            return
        refusal = next((r for r in _REFUSALS if isinstance(exc, r[0])), None)
        if refusal is None or isinstance(exc, _NOT_THE_CLIENTS):
            super().handle_error(req, client, addr, exc)
            return
        _, status, code, advice = refusal
        self.log.info("request refused: %s", exc)
        with contextlib.suppress(OSError):
            client.sendall(_answer(status, code, f"{str(exc)[:500]}{advice}."))

    def _handshake_failed(self, client: socket.socket, addr: Any, problem: ssl.SSLError) -> None:
        """OpenSSL has sent its alert. What came without TLS is answered without."""
        peer = addr[0] if isinstance(addr, tuple) else addr
        if isinstance(problem, ssl.SSLCertVerificationError):
            self.log.warning("the certificate of a client at %s is refused: %s", peer, problem.verify_message)
            return
        self.log.info("no TLS with a client at %s: %s", peer, problem)
        if problem.reason == "HTTP_REQUEST":
            with contextlib.suppress(OSError):
                socket.socket.sendall(client, _answer("400 Bad Request", "security", f"{_WITHOUT_TLS}."))


def _answer(status: str, code: str, text: str) -> bytes:
    body = dumps(outcome(Issue("error", code, text)))
    head = (
        f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/fhir+json;charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _linger(client: socket.socket) -> None:
    """Ends the sending side and reads on until the client has closed too, or for a while: a connection that is closed
    with bytes unread is reset, and the client never sees the last answer, or the alert (RFC 9112, section 9.6)."""
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


class Log(Logger):  # type: ignore[misc]
    """Messages go where the other loggers' go; access lines, when wanted, to stdout."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
