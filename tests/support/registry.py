"""A registry of FHIR packages over HTTP, with faults on request."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Registry:
    """pages: the responses (status, body) by path."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.url = ""

    def offer(self, name: str, version: str, archive: Path, *, dist: dict[str, Any] | None = None) -> None:
        """Lists the archive. dist: replaces its URL and SHA-1."""
        data = archive.read_bytes()
        path = f"/{name}/{version}"
        self.pages[path] = (200, data)
        known = json.loads(self.pages.get(f"/{name}", (200, b'{"versions": {}}'))[1])
        shown = {"tarball": f"{self.url}{path}", "shasum": hashlib.sha1(data).hexdigest()} if dist is None else dist
        known["versions"][version] = {"name": name, "version": version, "dist": shown}
        known["dist-tags"] = {"latest": version}
        self.pages[f"/{name}"] = (200, json.dumps(known).encode())


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """tls: serves HTTPS with this context."""
    registry = Registry()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            status, body = registry.pages.get(self.path, (404, b"{}"))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Writes nothing to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    scheme = "http" if tls is None else "https"
    registry.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
