"""A terminology server on a free port of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
SCT = "http://snomed.info/sct"


def parameters(**values: Any) -> Json:
    kinds = {bool: "valueBoolean", str: "valueString"}
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": name, kinds[type(value)]: value} for name, value in values.items()],
    }


OUTCOME: Json = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "diagnostics": "no such thing"}]}


@dataclass
class TerminologyServer:
    """A terminology server that knows the codes 1 and 2. answer: (status, body) of the response instead."""

    base: str = ""
    asked: list[tuple[str, Json]] = field(default_factory=list)
    answer: tuple[int, bytes] | None = None
    hold: threading.Event | None = None

    def reply(self, path: str, body: Json) -> tuple[int, bytes]:
        given = {p["name"]: p for p in body["parameter"]}
        self.asked.append((path, given))
        if self.hold is not None:
            self.hold.wait(30)
        if self.answer is not None:
            return self.answer
        if path.endswith("$expand"):
            contains = [{"system": SCT, "code": code, "display": f"Concept {code}"} for code in ("1", "2")]
            expansion = {"total": 2, "contains": contains}
            return 200, json.dumps({"resourceType": "ValueSet", "expansion": expansion}).encode()
        if path.endswith("$lookup"):
            return 200, json.dumps(parameters(name="SNOMED CT", display="Concept 1")).encode()
        return 200, json.dumps(parameters(result=given["code"]["valueCode"] in ("1", "2"))).encode()

    def says(self, resource: Json, status: int = 200) -> None:
        self.answer = status, json.dumps(resource).encode()


@contextmanager
def running_terminology_server() -> Iterator[TerminologyServer]:
    made = TerminologyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = made.reply(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    made.base = f"http://127.0.0.1:{server.server_port}/fhir"
    yield made
    if made.hold is not None:
        made.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()
