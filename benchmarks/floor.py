"""The floor: the least that a Flask app on gunicorn can do for the same answers.

Reads are answered from a dict, by path and query, with the bytes that a running fhirstore gave once at the start;
writes are one INSERT into SQLite (WAL, synchronous=FULL). gunicorn has the settings of `fhirstore serve`.

python benchmarks/floor.py --source-port 8080 --urls FILE --database FILE --port 8081
"""

from __future__ import annotations

import argparse
import gc
import sqlite3
import threading
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, request

from client import Connection
from fhirstore.commands.gunicorn_server import ProcessOptions, run

KEPT = ("content-type", "etag", "last-modified")


class Answer(NamedTuple):
    body: bytes
    headers: list[tuple[str, str]]


def fetch(host: str, port: int, urls: list[str]) -> dict[str, Answer]:
    """The answers of a running server, by path and query."""
    answers = {}
    with Connection(host, port) as connection:
        for url in urls:
            got = connection.call("GET", url)
            if got.status != 200:
                raise SystemExit(f"floor: {url} answers {got.status}")
            answers[url] = Answer(got.body, [(n, v) for n, v in got.headers.items() if n in KEPT])
    return answers


def make_floor(answers: dict[str, Answer], database: str) -> Flask:
    app = Flask("floor", static_folder=None)
    local = threading.local()
    with sqlite3.connect(database) as setup:
        setup.execute("PRAGMA journal_mode=WAL")
        setup.execute("CREATE TABLE IF NOT EXISTS docs (id INTEGER PRIMARY KEY, body BLOB)")
    setup.close()

    def connection() -> sqlite3.Connection:
        if not hasattr(local, "connection"):
            local.connection = sqlite3.connect(database, isolation_level=None, timeout=30)
            local.connection.execute("PRAGMA synchronous=FULL")
        found: sqlite3.Connection = local.connection
        return found

    @app.get("/fhir/<path:rest>")
    def read(rest: str) -> Response:
        query = request.environ["QUERY_STRING"]
        answer = answers[f"{request.environ['PATH_INFO']}?{query}" if query else request.environ["PATH_INFO"]]
        return Response(answer.body, headers=answer.headers)

    @app.post("/fhir/<type>")
    def create(type: str) -> Response:
        body = request.get_data(cache=False)
        row = connection().execute("INSERT INTO docs (body) VALUES (?)", (body,)).lastrowid
        headers = [("Location", f"/fhir/{type}/{row}"), ("Content-Type", "application/fhir+json")]
        return Response(body, 201, headers)

    return app


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--source-port", type=int, required=True)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--urls", type=Path, required=True)
    options.add_argument("--database", required=True)
    given = options.parse_args()
    app = make_floor(fetch(given.host, given.source_port, given.urls.read_text("utf-8").split()), given.database)
    gc.collect()
    run(app, ProcessOptions(host=given.host, port=given.port), lambda port: print(f"floor at {port}", flush=True))


if __name__ == "__main__":
    main()
