"""A SAS platform that receives appointments over mTLS, with faults on request.

It runs as its own process, so that tests can kill it. Its journal has a line for each request that had an effect, in
order. Usage: `python -m support.sas_platform JOURNAL FOLDER PORT SEED FAULTS`. FAULTS is the share of requests that
fail (0 to 1): 5xx and 4xx, late responses, connections closed before and after the request took effect. With 0, an
appointment whose priority is an HTTP status gets a response with that status; with -1, every request succeeds.
The platform does not know the correct order of requests. It evaluates If-Match.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.ports import free_port

LATE_S = 0.7
"""The delay of a late response, longer than the timeout of the relay under test."""
FAULTS = ("503", "429", "409", "500", "late", "slow", "cut before", "cut after", "cut")


class Taken:
    """The appointments that the platform has accepted. Lines of the journal: {"method", "id", "created", "body"}."""

    def __init__(self, journal: Path):
        self.lock = threading.Lock()
        self._ids: dict[str, list[int]] = {}
        self._count = 0
        self.versions: dict[int, int] = {}
        for one in read(journal) if journal.exists() else ():
            self._note(one)
        self._file = journal.open("a", encoding="utf-8")
        self._file.write("\n")  # ends a line that is incomplete after a kill

    def _note(self, one: dict[str, Any]) -> None:
        self._count += one["created"]
        self.versions[one["id"]] = self.versions.get(one["id"], 0) + 1
        known = self._ids.setdefault(identifier(one["body"]), [])
        if one["id"] not in known:
            known.append(one["id"])

    def take(
        self, method: str, wanted: str | None, body: dict[str, Any], matching: str | None
    ) -> tuple[int, int | None]:
        """(status, id). matching: the ETag of the version to replace, None for any."""
        with self.lock:
            known = self._ids.get(wanted or "", [])
            if len(known) > 1 or (matching and (not known or matching != self.etag(known[0]))):
                return 412, None
            if method == "POST" and known:
                return 200, known[0]
            id, created = (known[0], False) if known else (self._count + 1, True)
            one = {"method": method, "id": id, "created": created, "body": body}
            self._note(one)
            self._file.write(json.dumps(one) + "\n")
            self._file.flush()
            return 201 if created else 200, id

    def etag(self, id: int | None) -> str:
        return f'W/"{self.versions.get(id or 0, 0)}"'


def relay_config(file: Path, platform: Platform, **more: Any) -> Path:
    """A configuration file for a server or command whose relay sends to the platform, with short timeouts."""
    folder = platform.folder
    options = {
        "relay_url": platform.url,
        "relay_cert": folder / "client.pem",
        "relay_key": folder / "client.key",
        "relay_ca": folder / "ca.pem",
        "relay_timeout": 0.5,
        "relay_pause": 0.3,
        **more,
    }
    file.write_text(json.dumps({"plugin_options": [f"sas.{name}={value}" for name, value in options.items()]}))
    return file


def identifier(body: dict[str, Any]) -> str:
    one = body["identifier"][0]
    return f"{one['system']}|{one['value']}"


def read(journal: Path) -> list[dict[str, Any]]:
    """The lines of the journal, without an incomplete line that a killed platform has left."""
    found = []
    for line in journal.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def handler(taken: Taken, dice: random.Random, share: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def setup(self) -> None:
            self.request.do_handshake()
            super().setup()

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def _answer(self) -> None:
            with taken.lock:
                fault = dice.choice(FAULTS) if dice.random() < share else ""
            if fault == "cut before":
                return self._cut()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if fault == "cut":
                return self._cut()
            wish = body.get("priority", 0)
            if share == 0 and 400 <= wish < 600:
                return self._say(wish, {})
            if fault.isdigit():
                return self._say(int(fault), {"Retry-After": "0"} if fault == "429" else {})
            if fault == "slow":
                time.sleep(LATE_S / 5)
            query = urlsplit(self.path).query if self.command == "PUT" else self.headers.get("If-None-Exist")
            wanted = parse_qs(query)["identifier"][0] if query else None
            status, id = taken.take(self.command, wanted, body, self.headers.get("If-Match"))
            if fault == "cut after":
                return self._cut()
            if fault == "late":
                time.sleep(LATE_S)
            headers = {"Location": f"https://platform.example/fhir/Appointment/{id}", "ETag": taken.etag(id)}
            return self._say(status, headers)

        def _say(self, status: int, headers: dict[str, str]) -> None:
            text = json.dumps({"resourceType": "OperationOutcome", "issue": [{"diagnostics": f"fault {status}"}]})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def _cut(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that is killed, or has no certificate


def main() -> None:
    journal, folder, port, seed, share = sys.argv[1:]
    server = _Server(("127.0.0.1", int(port)), handler(Taken(Path(journal)), random.Random(int(seed)), float(share)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    context.load_verify_locations(f"{folder}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


class Platform:
    """The platform as a process. `start` starts it."""

    def __init__(self, folder: Path):
        """folder: of the certificates and the journal."""
        self.folder, self.port = folder, free_port()
        self.journal = folder / "journal.ndjson"
        self.process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/fhir"

    def start(self, faults: float = 0.0) -> None:
        self._starts += 1
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "support.sas_platform", str(self.journal), str(self.folder), str(self.port),
                str(self._starts), str(faults),
            ],
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        give_up = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < give_up, "the platform did not start"
                time.sleep(0.02)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def taken(self) -> list[dict[str, Any]]:
        return read(self.journal) if self.journal.exists() else []


if __name__ == "__main__":
    main()
