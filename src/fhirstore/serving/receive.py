"""The progress of a request that is being received: first its head, then its body."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from fhirstore.serving.bodies import body_of
from fhirstore.serving.connection import Connection, State
from fhirstore.serving.heads import Incomplete, check_size, is_complete, is_suspicious, mark_repeated, parse_head
from fhirstore.settings import Settings


def advance(connection: Connection, added: bytes, cfg: Any, settings: Settings) -> bool:
    """Takes the bytes of the request from the buffer of the connection. Returns whether the request is complete.

    added: the last bytes of the buffer, those that are new. cfg: the configuration of gunicorn.
    Raises ParseException of gunicorn, and OSError if a large body cannot be kept in a temporary file.
    """
    if connection.state is State.HEAD and not _take_head(connection, added, cfg, settings):
        return False
    body = connection.body
    assert body is not None
    if body.feed(connection.buffer):
        return True
    connection.progress(time.monotonic(), body.received, settings.body_timeout_s, settings.min_transfer_rate)
    return False


def _take_head(connection: Connection, added: bytes, cfg: Any, settings: Settings) -> bool:
    buffer = connection.buffer
    check_size(buffer, settings.max_head_bytes)
    if not is_complete(buffer, connection.scanned) and not is_suspicious(cfg, buffer, added):
        connection.scanned = len(buffer)
        return False
    try:
        request = parse_head(cfg, buffer, connection.peer, connection.served + 1)
    except Incomplete:
        connection.scanned = len(buffer)
        return False
    if settings.client_cert_header:
        mark_repeated(request, settings.client_cert_header.upper())
    connection.request, connection.scanned = request, 0
    connection.body = body = body_of(request, settings.max_body_bytes)
    now = time.monotonic()
    connection.enter(State.BODY, now, now + settings.body_timeout_s)
    if request._expected_100_continue:
        request._expected_100_continue = False  # otherwise gunicorn sends the response again
        if body.is_whole and not buffer:
            with contextlib.suppress(OSError):
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return True
