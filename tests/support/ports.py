"""Free ports for servers that are configured with a port. No other test process on this machine gets the same port.

If a test asked the kernel for a free port and closed it again, another server could get the port before the server
under test binds it. So these ports are outside of the kernel's range, and a lock on a file reserves each until this
process ends.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(20_000, 32_000)  # the kernel's own begin at 32768, https://docs.kernel.org/networking/ip-sysctl.html
_FOLDER = Path(tempfile.gettempdir(), f"fhirstore-test-ports-{os.getuid()}")
_held: list[int] = []  # descriptors of locked files


def free_port() -> int:
    """A port on which no process listens, reserved for this process."""
    _FOLDER.mkdir(exist_ok=True)
    for port in random.sample(_RANGE, 2000):
        lock = os.open(_FOLDER / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("127.0.0.1", port))
        except OSError:
            os.close(lock)
            continue
        _held.append(lock)
        return port
    raise RuntimeError(f"there is no free port in {_RANGE}")
