"""Which connections a worker process has: their number is bounded, in total and for each client.

Beyond a limit, a new connection takes the place of another one. A client that behaves is therefore never shut out by
connections on which nothing happens.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from heapq import nlargest

from fhirstore.serving import refusals
from fhirstore.serving.connection import Connection, client_of
from fhirstore.serving.heads import Address
from fhirstore.serving.output import Output
from fhirstore.settings import Settings

log = logging.getLogger(__name__)

OTHER_FILES = 256
"""Files that the process needs besides its connections: databases, temporary files, outgoing connections."""
UNSENT_BYTES = 64 * 1024 * 1024
"""Bytes of responses that wait in memory for their clients. Beyond it, responses wait in temporary files."""
_REPORT_S = 10.0
"""Time between two log lines about refused or closed connections."""
_FILES_AT_ONCE = 8
_NO_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Accepted = tuple[socket.socket, Address, str | None]


class Admission:
    """close: closes a connection, and then calls `remove`.

    may_replace: whether a new connection may take the place of another one, or is refused.
    """

    def __init__(self, settings: Settings, close: Callable[[Connection], None]):
        self._close_connection = close
        self._limit = min(settings.max_connections, allow_files(settings.max_connections + OTHER_FILES) - OTHER_FILES)
        self._client_limit, self._buffer_limit = settings.max_client_connections, settings.max_buffered_bytes
        self._is_proxy = _matcher(settings.trusted_proxies)
        self._connections: dict[Connection, None] = {}
        self._by_client: Counter[str] = Counter()
        self._closed, self._next_report = 0, 0.0
        self.may_replace = True
        self._spare = _spare_file()

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._connections)

    def add(self, connection: Connection) -> None:
        self._connections[connection] = None
        if connection.client is not None:
            self._by_client[connection.client] += 1

    def remove(self, connection: Connection) -> None:
        del self._connections[connection]
        if connection.client is not None:
            self._by_client[connection.client] -= 1
            if not self._by_client[connection.client]:
                del self._by_client[connection.client]

    def share(self, connection: Connection) -> int:
        """The number of connections of the same client; 0 if they are not counted."""
        return self._by_client[connection.client] if connection.client is not None else 0

    def accept(self, listener: socket.socket) -> Accepted | None:
        """A new connection, or None. May close others, or refuse this one."""
        try:
            sock, peer = listener.accept()
        except OSError as problem:
            if problem.errno in _NO_FILES:
                self._accept_without_files(listener, problem)
            return None
        sock.setblocking(False)
        client = None if self._is_proxy(peer[0]) else client_of(peer[0])
        if not self._has_room(client):
            refuse(sock)
            self._report("all connections are in use")
            return None
        return sock, peer, client

    def _has_room(self, client: str | None) -> bool:
        """Whether there is room for a connection of the client, after closing another one if necessary."""
        if client is not None and self._by_client[client] >= self._client_limit:
            own = [one for one in self._connections if one.client == client]
            if not self._close_heaviest(own):
                return False
            self._report(f"max_client_connections is reached by {client}")
        if len(self._connections) >= self._limit:
            if not self._close_heaviest(list(self._connections)):
                return False
            self._report("max_connections is reached")
        return True

    def _close_heaviest(self, candidates: list[Connection], count: int | None = None) -> bool:
        """Closes the connections that have waited longest, of the clients with the most connections.

        count: how many; by default so many that a flood of connections does not search for one each time. Returns
        whether there was one that may be closed.
        """
        now = time.monotonic()

        def weight(connection: Connection) -> tuple[int, float]:
            # Clients with similar numbers of connections are equal, so that the time decides between them.
            return self.share(connection).bit_length(), (connection.state.value or 0.0) * (now - connection.since)

        idle = [one for one in candidates if one.state.value is not None] if self.may_replace else []
        heaviest = nlargest(count or 1 + len(idle) // 32, idle, weight)
        for connection in heaviest:
            self._close_connection(connection)
        return bool(heaviest)

    def bound_buffers(self) -> None:
        """Closes connections until their incomplete bodies and unsent responses are within max_buffered_bytes."""
        while (excess := self._buffered() - self._buffer_limit) > 0:
            candidates = [one for one in self._connections if one.buffered]
            if not self._close_heaviest(candidates, 1):
                return
            self._report(f"max_buffered_bytes is exceeded by {excess} bytes")

    def _buffered(self) -> int:
        return sum(one.buffered for one in self._connections)

    def _accept_without_files(self, listener: socket.socket, problem: OSError) -> None:
        """Makes room for the next connections, or else refuses this one: it would stay ready and occupy the loop."""
        self._report(f"cannot accept a connection: {problem.strerror}")
        if problem.errno == errno.EMFILE:  # The application needs files too, so this must not happen again.
            self._limit = max(_FILES_AT_ONCE, min(self._limit, len(self._connections) - _FILES_AT_ONCE))
        if self._close_heaviest(list(self._connections), _FILES_AT_ONCE) or self._spare is None:
            return
        os.close(self._spare)
        with contextlib.suppress(OSError):
            refuse(listener.accept()[0])
        self._spare = _spare_file()

    def _report(self, reason: str) -> None:
        self._closed += 1
        now = time.monotonic()
        if now >= self._next_report:
            log.warning("%s; connections closed or refused since the last report: %d", reason, self._closed)
            self._closed, self._next_report = 0, now + _REPORT_S

    def bound_memory(self, output: Output) -> None:
        """Moves a response that waits for its client to a temporary file if too much waits in memory."""
        waiting = [one.output for one in tuple(self._connections) if one.output is not None]
        if sum(one.in_memory for one in waiting) > UNSENT_BYTES:
            try:
                output.spill()
            except OSError as problem:
                log.warning("cannot keep a response in a temporary file: %s", problem.strerror)


def refuse(sock: socket.socket) -> None:
    """Closes a connection. A client without TLS gets a response if it has sent nothing yet."""
    with contextlib.suppress(OSError):
        sock.setblocking(False)
        sock.send(refusals.TOO_MANY_CONNECTIONS)
    sock.close()


def allow_files(wanted: int) -> int:
    """Raises the limit of open files of this process to the wanted number, if that is possible. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return wanted if soft == resource.RLIM_INFINITY else soft


def _spare_file() -> int | None:
    try:
        return os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return None


def _matcher(networks: tuple[str, ...]) -> Callable[[str], bool]:
    parsed = [ipaddress.ip_network(one) for one in networks]

    @lru_cache(maxsize=1024)
    def matches(host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in parsed)

    return matches
