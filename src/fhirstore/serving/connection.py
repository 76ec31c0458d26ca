"""One connection of a client, and the states that it passes through."""

from __future__ import annotations

import ipaddress
import math
import socket
from enum import Enum
from functools import lru_cache
from typing import Any, BinaryIO

from fhirstore.serving.bodies import Body
from fhirstore.serving.heads import Address
from fhirstore.serving.output import Output


class State(Enum):
    """The value is the weight of the time that a connection has spent in the state, when the server closes connections
    to make room: the heaviest goes first. None: the server does not close it."""

    HANDSHAKE = 1.0
    NEW = 1.0001
    """Open, without a byte of its first request."""
    HEAD = 1.0002
    BODY = 1.0003
    RUNNING = None
    """A thread answers the request, or will. The thread owns the connection."""
    SENDING = 0.5
    """The answer is complete, and the client has not taken all of it."""
    IDLE = 4.0
    """Kept alive, without a byte of the next request."""
    CLOSING = 8.0
    """Everything is sent. The server waits for the client to close (RFC 9112, section 9.6)."""
    CLOSED = 0.0


class Connection:
    """The event loop owns a connection, except in the state RUNNING.

    client: the key under which connections of one client are counted; None: they are not counted.
    since: the time (time.monotonic) when the state began. deadline: when the loop ends it; infinite while RUNNING.
    buffer: bytes that are received and do not belong to `request`. scanned: how many of them hold no end of a head.
    served: the number of requests so far. input: the body of `request`. sent: bytes of the response that the loop has
    sent. may_keep: whether the connection can serve another request after this one. is_paused: whether the loop ignores
    the socket until the thread is done.
    """

    __slots__ = (
        "body", "buffer", "client", "deadline", "input", "is_paused", "may_keep", "output", "peer", "request",
        "scanned", "sent", "served", "server", "since", "sock", "state",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, peer: Address, server: Address, client: str | None):
        self.sock, self.peer, self.server, self.client = sock, peer, server, client
        self.state, self.since, self.deadline = State.NEW, 0.0, math.inf
        self.buffer, self.scanned, self.sent, self.served = bytearray(), 0, 0, 0
        self.request: Any = None
        self.body: Body | None = None
        self.input: BinaryIO | None = None
        self.output: Output | None = None
        self.may_keep, self.is_paused = True, False

    @property
    def buffered(self) -> int:
        """The bytes of an incomplete body or of an unsent response, in memory and in temporary files."""
        if self.state is State.BODY:
            return self.body.received if self.body is not None else 0
        return self.output.size if self.state is State.SENDING and self.output is not None else 0

    def progress(self, now: float, transferred: int, timeout_s: float, min_rate: int) -> None:
        """Sets the deadline after a transfer of so many bytes since the state began.

        A fast start does not allow a long pause: a client may stop for `timeout_s` at most. Otherwise the bytes that
        the kernel buffers for a client that reads nothing would give it minutes.
        """
        self.deadline = min(self.since + timeout_s + transferred / min_rate, now + timeout_s)

    def enter(self, state: State, now: float, deadline: float) -> None:
        # The state is last: as soon as it is not RUNNING, the loop may read the other two.
        self.since, self.deadline = now, deadline
        self.state = state


@lru_cache(maxsize=4096)
def client_of(host: str) -> str:
    """The key of the client at an address: the address, or its /64 network in IPv6, which one client usually has."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
