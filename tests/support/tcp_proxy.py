"""A TCP proxy between pymongo and its server that can be disconnected, reconnected, and made to lose an answer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class TcpProxy:
    """Forwards connections to `port` of this machine from its own `port`, each by two threads."""

    def __init__(self, port: int):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._up = True
        self._losing: bytes | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def disconnect(self) -> None:
        """Ends all connections; new ones end at once."""
        self._up = False
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def reconnect(self) -> None:
        self._up = True

    def lose_answer_to(self, command: str) -> None:
        """The next message with this word reaches the server, and then its connection ends."""
        self._losing = command.encode()

    def close(self) -> None:
        self.disconnect()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._up:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                lost = threading.Event()
                with self._lock:
                    self._open += [near, far]
                threading.Thread(target=self._ask, args=(near, far, lost), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near, lost), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self._losing is not None and self._losing in data:
                    self._losing = None
                    lost.set()
                far.sendall(data)
        _end(near, far)

    def _answer(self, far: socket.socket, near: socket.socket, lost: threading.Event) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                if lost.is_set():
                    break
                near.sendall(data)
        _end(near, far)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
