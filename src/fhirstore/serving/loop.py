"""The event loop of a worker process: it reads requests and sends responses, and no client can make it wait.

A request goes to the threads when all of it has arrived. A thread tries to send its response at once; the loop sends
the rest as the client takes it. Every state of a connection except RUNNING has a deadline.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.sock import ssl_context

from fhirstore.serving import refusals
from fhirstore.serving.admission import Admission
from fhirstore.serving.connection import Connection, State
from fhirstore.serving.output import NOT_NOW, Output
from fhirstore.serving.receive import advance
from fhirstore.settings import Settings
from fhirstore.tls.context import log_failed_handshake

log = logging.getLogger(__name__)

TICK_S = 0.5
"""Time between two checks of the deadlines."""
LINGER_S = 2.0
"""Time for a client to close a connection on which everything is sent."""
_LINGER_BYTES = 1024 * 1024
_READ_BYTES = 16 * 1024
"""At least the size of a TLS record, so that nothing remains in the buffer of OpenSSL, where select sees nothing."""
_READ_BODY_BYTES = 256 * 1024
_SEND_BYTES = 1024 * 1024
"""Bytes for one client before the others have their turn."""
_ACCEPT_AT_ONCE, _ACCEPT_AT_END = 16, 256
_HANDSHAKE_STEPS = 2
"""Steps of TLS handshakes between two looks at other connections. A step takes milliseconds of CPU."""

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
Dispatch = Callable[[Connection], None]


class ConnectionLoop:
    """cfg: the configuration of gunicorn. dispatch: called with each connection that has a complete request."""

    def __init__(self, cfg: Any, settings: Settings, listeners: Sequence[socket.socket], dispatch: Dispatch):
        self._cfg, self._settings, self._dispatch = cfg, settings, dispatch
        self._poller = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe()
        self._calls: deque[tuple[Callable[[Connection], None], Connection]] = deque()
        self._admission = Admission(settings, self._close)
        self._listeners = tuple(listeners)
        self._next_check, self._accepted = 0.0, 0
        self._idle_end = math.inf
        for fd in (self._wake_reader, self._wake_writer):
            os.set_blocking(fd, False)
        self._poller.register(self._wake_reader, READ, self._woken)
        for listener in self._listeners:
            listener.setblocking(False)
            self._poller.register(listener, READ, partial(self._accept_some, listener))

    @property
    def is_stopping(self) -> bool:
        return not self._listeners

    @property
    def waker(self) -> int:
        """A file descriptor: a byte written to it ends the wait for events."""
        return self._wake_writer

    def _call(self, function: Callable[[Connection], None], connection: Connection) -> None:
        """Has the loop call a function."""
        self._calls.append((function, connection))
        with contextlib.suppress(BlockingIOError):  # then the pipe is full of bytes that wake the loop
            os.write(self._wake_writer, b"\0")

    def abandoned(self, connection: Connection) -> None:
        """There will be no response. Called by the thread that owns the connection."""
        self._call(self._close, connection)

    def answered(self, connection: Connection, output: Output, keep: bool) -> None:
        """Sends a response. Called by the thread that owns the connection, which passes to the loop."""
        connection.output, connection.may_keep = output, keep
        try:
            output.send(connection.sock)
        except OSError:
            self._call(self._close, connection)
            return
        if output.size:
            self._admission.bound_memory(output)
            self._call(self._start_sending, connection)
        elif keep and connection.buffer:
            self._call(self._next_request, connection)
        else:
            self._sent(connection)
            if connection.is_paused:
                self._call(self._resume, connection)

    @property
    def connections(self) -> int:
        return len(self._admission)

    def turn(self, timeout: float = TICK_S) -> None:
        """Waits for events and handles them."""
        handshakes, events = [], self._poller.select(timeout)
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + TICK_S
            self._check_deadlines(now)
        # Requests are given to threads as late as possible: a thread cannot run before this one waits again.
        for key, _ in events:
            target = key.data
            if type(target) is not Connection:
                target()
            elif target.state is State.HANDSHAKE:
                handshakes.append(target)
            else:
                self._handle(self._ready, target)
        # The others stay ready, and the next turn begins at once.
        if len(handshakes) > _HANDSHAKE_STEPS:
            handshakes = nsmallest(_HANDSHAKE_STEPS, handshakes, self._admission.share)
        for connection in handshakes:
            self._handle(self._shake_hands, connection)

    def _handle(self, function: Callable[[Connection], None], connection: Connection) -> None:
        """Calls a function with a connection. An error in it must not end the worker."""
        try:
            function(connection)
        except Exception:
            log.exception("error in a connection, which is closed")
            self._close(connection)

    def stop_accepting(self) -> None:
        """Closes the listening sockets, after it has taken connections that the kernel has accepted.

        Idle connections have LINGER_S left, because a request may be on its way."""
        self._accepted, self._admission.may_replace = 0, False
        for listener in self._listeners:
            self._poller.unregister(listener)
            while self._accept(listener) and self._accepted < _ACCEPT_AT_END:
                self._accepted += 1
            listener.close()
        self._listeners = ()
        self._idle_end = time.monotonic() + LINGER_S

    def close(self) -> None:
        """Closes all connections, except those of which a thread still answers a request."""
        for connection in list(self._admission):
            if connection.state is not State.RUNNING:
                self._close(connection)
        self._poller.close()  # the pipe stays open, because a thread may write to it

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        while self._calls:
            self._handle(*self._calls.popleft())

    def _accept_some(self, listener: socket.socket) -> None:
        """Accepts one connection, so that the workers share them evenly; more of them when many come in succession."""
        for _ in range(_ACCEPT_AT_ONCE if self._accepted > _ACCEPT_AT_ONCE else 1):
            if not self._accept(listener):
                self._accepted = 0
                return
            self._accepted += 1

    def _accept(self, listener: socket.socket) -> bool:
        """Accepts one connection. Returns whether there was one."""
        accepted = self._admission.accept(listener)
        if accepted is None:
            return False
        sock, peer, client = accepted
        connection, now = Connection(sock, peer, listener.getsockname(), client), time.monotonic()
        if self._cfg.is_ssl:
            context = ssl_context(self._cfg)
            try:
                connection.sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            except OSError:  # The client is gone.
                sock.close()
                return True
            connection.enter(State.HANDSHAKE, now, now + self._settings.tls_handshake_timeout_s)
        else:
            connection.enter(State.NEW, now, now + self._settings.head_timeout_s)
        self._admission.add(connection)
        self._poller.register(connection.sock, READ, connection)
        return True

    def _ready(self, connection: Connection) -> None:
        state = connection.state
        if state is State.RUNNING:
            self._pause(connection)
        elif state is State.SENDING:
            self._send(connection)
        elif state is State.CLOSING:
            self._discard(connection)
        elif state is not State.CLOSED:
            self._read(connection)

    def _pause(self, connection: Connection) -> None:
        """Ignores the socket until the response is sent."""
        self._poller.unregister(connection.sock)
        connection.is_paused = True
        if connection.state is not State.RUNNING:  # The thread was done before it could see is_paused.
            self._resume(connection)

    def _resume(self, connection: Connection) -> None:
        if connection.is_paused and connection.state is not State.CLOSED:
            connection.is_paused = False
            self._poller.register(connection.sock, READ, connection)

    def _watch(self, connection: Connection, events: int) -> None:
        self._resume(connection)
        self._poller.modify(connection.sock, events, connection)

    def _shake_hands(self, connection: Connection) -> None:
        if connection.state is not State.HANDSHAKE:
            return
        sock = connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._watch(connection, READ)
        except ssl.SSLWantWriteError:
            self._watch(connection, WRITE)
        except OSError as problem:
            if isinstance(problem, ssl.SSLError) and not isinstance(problem, ssl.SSLEOFError):
                self._handshake_failed(connection, problem)
            else:
                self._close(connection)
        else:
            now = time.monotonic()
            connection.enter(State.NEW, now, now + self._settings.head_timeout_s)
            self._watch(connection, READ)

    def _handshake_failed(self, connection: Connection, problem: ssl.SSLError) -> None:
        """OpenSSL has sent its alert. A plain HTTP request gets a plain HTTP response."""
        log_failed_handshake(connection.peer[0], problem)
        if problem.reason == "HTTP_REQUEST":
            with contextlib.suppress(OSError):
                socket.socket.send(connection.sock, refusals.HTTPS_ONLY)
        self._linger(connection)

    def _read(self, connection: Connection) -> None:
        size = _READ_BODY_BYTES if connection.state is State.BODY else _READ_BYTES
        try:
            data = connection.sock.recv(size)
        except NOT_NOW:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        if connection.state is State.IDLE or connection.state is State.NEW:
            now = time.monotonic()
            is_first = connection.state is State.NEW
            connection.enter(State.HEAD, now, connection.deadline if is_first else now + self._settings.head_timeout_s)
        connection.buffer += data
        self._advance(connection, data)

    def _advance(self, connection: Connection, added: bytes) -> None:
        """Goes on with the bytes in the buffer. added: the last of them."""
        try:
            if not advance(connection, added, self._cfg, self._settings):
                return
        except ParseException as problem:
            status, response = refusals.malformed(problem)
            # The message of the exception quotes the request, which may contain personal data.
            log.info("request rejected with %s: %s", status, type(problem).__name__)
            self._refuse(connection, response)
        except OSError as problem:
            log.error("cannot keep a request body in a temporary file: %s", problem.strerror)
            self._refuse(connection, refusals.CANNOT_BUFFER)
        else:
            self._run(connection)

    def _run(self, connection: Connection) -> None:
        """Gives the complete request to the threads."""
        body = connection.body
        assert body is not None
        connection.input, connection.may_keep = body.stream(), body.is_whole
        connection.served += 1
        connection.enter(State.RUNNING, time.monotonic(), math.inf)
        self._dispatch(connection)

    def _refuse(self, connection: Connection, response: bytes) -> None:
        """Sends a response of the loop itself, and closes the connection."""
        connection.output, connection.may_keep = Output(response), False
        connection.buffer.clear()
        self._start_sending(connection)

    def _start_sending(self, connection: Connection) -> None:
        now, connection.sent = time.monotonic(), 0
        connection.enter(State.SENDING, now, now + self._settings.send_timeout_s)
        self._watch(connection, WRITE)
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        output = connection.output
        assert output is not None
        try:
            sent = output.send(connection.sock, _SEND_BYTES)
        except OSError:
            self._close(connection)
            return
        if output.size:
            connection.sent += sent
            if sent:
                now, settings = time.monotonic(), self._settings
                connection.progress(now, connection.sent, settings.send_timeout_s, settings.min_transfer_rate)
        else:
            self._watch(connection, READ)
            self._sent(connection)

    def _sent(self, connection: Connection) -> None:
        """Everything is sent. Called by the thread that owns the connection, or by the loop."""
        assert connection.output is not None
        connection.output.close()
        if connection.body is not None:
            connection.body.close()
        connection.request = connection.body = connection.input = connection.output = None
        now = time.monotonic()
        if not connection.may_keep:
            self._linger(connection)
        elif connection.buffer:  # only in the loop
            connection.enter(State.HEAD, now, now + self._settings.head_timeout_s)
            self._advance(connection, bytes(connection.buffer))
        else:
            connection.enter(State.IDLE, now, now + self._settings.keep_alive_s)

    def _next_request(self, connection: Connection) -> None:
        """The buffer has the beginning of another request."""
        self._sent(connection)
        if connection.state is not State.RUNNING:
            self._resume(connection)

    def _linger(self, connection: Connection) -> None:
        """Closes the sending side. The loop reads on until the client closes or a limit is reached.

        Closing a connection with unread bytes resets it, and the client never sees the last response or the TLS alert
        (RFC 9112, section 9.6).
        """
        connection.scanned = _LINGER_BYTES
        with contextlib.suppress(OSError):  # the client is gone; the loop notices it
            connection.sock.shutdown(socket.SHUT_WR)
        now = time.monotonic()
        connection.enter(State.CLOSING, now, now + LINGER_S)

    def _discard(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except NOT_NOW:
            return
        except OSError:
            data = b""
        connection.scanned -= len(data)
        if not data or connection.scanned <= 0:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection.state is State.CLOSED:
            return
        if not connection.is_paused:
            self._poller.unregister(connection.sock)
        connection.enter(State.CLOSED, 0.0, math.inf)
        self._admission.remove(connection)
        connection.sock.close()
        for file in (connection.output, connection.body):
            if file is not None:
                file.close()

    def _check_deadlines(self, now: float) -> None:
        is_ending = now > self._idle_end
        for connection in list(self._admission):
            if connection.deadline < now or (is_ending and connection.state in (State.IDLE, State.NEW)):
                self._handle(self._expire, connection)
        self._admission.bound_buffers()

    def _expire(self, connection: Connection) -> None:
        state, settings = connection.state, self._settings
        if state is State.HEAD:
            self._refuse(connection, refusals.too_slow("head", settings.head_timeout_s))
        elif state is State.BODY:
            self._refuse(connection, refusals.too_slow("body", settings.body_timeout_s))
        else:
            if state is State.HANDSHAKE or state is State.SENDING:
                log.info("%s took too long: %s", connection.peer[0], state.name)
            self._close(connection)
