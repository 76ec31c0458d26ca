"""A real server: `fhirstore serve` with several gunicorn workers, in its own process group."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.ports import free_port

JSON = "application/fhir+json"


class Process:
    """A server that is started and ready when it is constructed. `kill` sends SIGKILL to the process group."""

    def __init__(self, store: Path | str, *options: str, workers: int = 2, threads: int = 4, log: Path | None = None):
        """store: a SQLite file, or a store URL, which requires `log`."""
        url = store if isinstance(store, str) else f"sqlite:///{store}"
        self.port = free_port()
        self.command = [
            sys.executable, "-m", "fhirstore", "serve", "--host", "127.0.0.1", "--port", str(self.port),
            "--store", url, "--workers", str(workers), "--threads", str(threads), *options,
        ]  # fmt: skip
        self.log = log or Path(store).with_suffix(".log")
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        give_up = time.monotonic() + 60
        while True:
            try:
                if self.call("GET", "/health/ready")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > give_up:
                raise AssertionError(f"the server did not start: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def text(self, path: str, headers: dict[str, str] | None = None) -> str:
        """The body of a response as text. path: absolute."""
        connection = self.connection()
        try:
            connection.request("GET", path, headers=headers or {})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, parsed body or None). path: below the base, or absolute with a leading slash."""
        connection = self.connection()
        try:
            data = None if body is None else json.dumps(body).encode()
            sent = {"Content-Type": JSON} if data is not None else {}
            url = path if path.startswith("/") else f"/fhir/{path}" if path else "/fhir"
            connection.request(method, url, data, sent | (headers or {}))
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, dict(answer.getheaders()), json.loads(text) if text else None
        finally:
            connection.close()
