"""A server that speaks TLS, clients with every kind of certificate, and a proxy that ends TLS before the server."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

from cryptography import x509

from support.authority import DAY, NOW, Authority, Pair, client_context
from support.process import Process

NAME, UNIT = "sas.example", "318751275100020"


@dataclass(frozen=True)
class World:
    """Two authorities, one below the other; certificates of all kinds; and one who is nobody's friend.

    clients: kind -> certificate; `none` has none."""

    root: Authority
    inner: Authority
    server: Pair
    clients: Mapping[str, Pair | None]
    crl: Path

    @classmethod
    def make(cls, folder: Path) -> World:
        root, stranger = Authority(folder, "root"), Authority(folder, "stranger")
        inner = Authority(folder, "inner", root)
        clients = {
            "good": inner.issue(NAME, "Pôle", UNIT),
            "none": None,
            "wrong name": inner.issue("mallory.example", UNIT),
            "wrong unit": inner.issue(NAME, "318751275100021"),
            "no unit": inner.issue(NAME),
            "expired": inner.issue(NAME, UNIT, begin=NOW - 3 * DAY, end=NOW - DAY),
            "not yet": inner.issue(NAME, UNIT, begin=NOW + DAY, end=NOW + 3 * DAY),
            "other authority": stranger.issue(NAME, UNIT),
            "revoked": inner.issue(NAME, UNIT),
        }
        crl = folder / "inner.crl"
        revoked = clients["revoked"]
        assert revoked is not None
        inner.revocations(revoked, file=crl)
        return cls(root, inner, inner.issue("127.0.0.1"), clients, crl)

    def settings(self, **more: Any) -> dict[str, Any]:
        """The settings of a server that admits only `good`."""
        return {
            "tls_cert": self.server.chain,
            "tls_key": self.server.key,
            "tls_client": "required",
            "tls_client_ca": str(self.root.file),
            "tls_client_crl": [str(self.crl)],
            "tls_client_names": [NAME],
            "tls_client_units": [UNIT],
            **more,
        }

    def context(self, kind: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        return client_context(self.root, self.clients[kind], version)


class TlsProcess(Process):
    """`fhirstore serve` with settings in a file. Requests use TLS if `context` is given."""

    context: ssl.SSLContext | None = None

    @classmethod
    def of(
        cls, folder: Path, settings: Mapping[str, Any], *options: str, context: ssl.SSLContext | None = None
    ) -> TlsProcess:
        file = folder / "settings.json"
        file.write_text(json.dumps(settings))
        cls_with_context = type("_", (cls,), {"context": context})
        made: TlsProcess = cls_with_context(folder / "store.db", "--config", str(file), *options, workers=1)
        return made

    def connection(self) -> http.client.HTTPConnection:
        return connection(self.port, self.context)


def connection(
    port: int, context: ssl.SSLContext | None = None, source: str | None = None
) -> http.client.HTTPConnection:
    where = (source, 0) if source is not None else None
    if context is None:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=where)
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=20, source_address=where, context=context)


@dataclass(frozen=True)
class Reply:
    """A response or a failure. problem: the reason of a TLS alert, or the name of the exception."""

    status: int | None = None
    body: Any = None
    problem: str = ""
    headers: Mapping[str, str] | None = None

    @property
    def is_alert(self) -> bool:
        return "ALERT" in self.problem


def ask(
    port: int,
    context: ssl.SSLContext | None,
    path: str = "/fhir/metadata",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    source: str | None = None,
) -> Reply:
    """One request, as far as it gets. With a body it is a POST; what the server leaves unread resets a connection."""
    link = connection(port, context, source)
    try:
        link.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        answer = link.getresponse()
        text = answer.read()
        content = json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else text.decode()
        return Reply(answer.status, content, headers=dict(answer.getheaders()))
    except ssl.SSLError as e:
        return Reply(problem=e.reason or str(e))
    except (OSError, http.client.HTTPException) as e:
        return Reply(problem=type(e).__name__)
    finally:
        link.close()


# --- a proxy

FORMS: Mapping[str, Callable[[bytes], str]] = {
    "subject": lambda der: x509.load_der_x509_certificate(der).subject.rfc4514_string(),
    "nginx": lambda der: quote(ssl.DER_cert_to_PEM_cert(der), safe=""),
    "rfc9440": lambda der: f":{b64encode(der).decode()}:",
    "traefik": lambda der: b64encode(der).decode(),
}
"""The headers with which proxies forward a certificate."""


@contextmanager
def proxy(world: World, to: int, header: str, form: str, source: str) -> Iterator[int]:
    """A proxy on 127.0.0.1 that verifies client certificates and passes them to the server on port `to`, which it
    calls from the address `source`. Gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.server.chain, world.server.key)
    context.load_verify_locations(cafile=str(world.root.file))
    context.verify_mode = ssl.CERT_OPTIONAL

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            passed = {name: value for name, value in self.headers.items() if name.lower() != header.lower()}
            assert isinstance(self.connection, ssl.SSLSocket)
            der = self.connection.getpeercert(True)
            if der:
                passed[header] = FORMS[form](der).encode().decode("latin-1")
            behind = connection(to, source=source)
            behind.request("GET", self.path, headers=passed | {"X-Forwarded-Proto": "https"})
            answer = behind.getresponse()
            body = answer.read()
            behind.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type") or "")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: Any, client_address: Any) -> None:
            with context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)
                wrapped.unwrap() if isinstance(wrapped, ssl.SSLSocket) else None

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that was refused

        def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
            self.close_request(request)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
