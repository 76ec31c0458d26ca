"""Measures operations on a large code system: python benchmarks/terminology.py [--codes 100000]

One process and one client call the WSGI application on a new SQLite file.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fhirstore.http.app import make_app
from fhirstore.server import build
from fhirstore.settings import Settings

SYSTEM, SET = "http://example.org/large", "http://example.org/ValueSet/large"
CHILDREN = 999
"""Concepts in each group."""


def code_system(codes: int) -> dict[str, Any]:
    groups = [
        {"code": f"g{g}", "display": f"Group {g}", "concept": [_concept(g, n) for n in range(CHILDREN)]}
        for g in range(codes // (CHILDREN + 1))
    ]
    about = {"resourceType": "CodeSystem", "url": SYSTEM, "status": "active", "content": "complete"}
    return {**about, "concept": groups}


def _concept(group: int, number: int) -> dict[str, Any]:
    french = {"language": "fr", "value": f"Notion numéro {number} du groupe {group}"}
    return {"code": f"c{group}-{number}", "display": f"Concept {number} of group {group}", "designation": [french]}


def value_set() -> dict[str, Any]:
    one = {"property": "concept", "op": "is-not-a", "value": "g1"}
    compose = {"include": [{"system": SYSTEM, "filter": [one]}]}
    return {"resourceType": "ValueSet", "url": SET, "status": "active", "compose": compose}


def timed(name: str, request: Callable[[], Any], times: int = 1) -> None:
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        response = request()
        durations.append(time.perf_counter() - start)
        assert response.status_code < 300, response.text
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:38} {statistics.median(durations) * 1000:9.2f} ms   peak memory {peak:5.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=100_000)
    codes = parser.parse_args().codes
    body = json.dumps(code_system(codes))
    with TemporaryDirectory() as folder:
        client = make_app(build(Settings(store=f"sqlite:///{Path(folder)}/terms.db"))).test_client()

        def post(path: str, text: str) -> Any:
            return client.post(f"/fhir/{path}", data=text, headers={"Content-Type": "application/fhir+json"})

        def get(path: str) -> Any:
            return client.get(f"/fhir/{path}")

        page = f"ValueSet/$expand?url={SET}&count=100"
        code = f"system={SYSTEM}&code=c5-5"
        timed(f"create, {len(body) / 1e6:.0f} MB", lambda: post("CodeSystem", body))
        post("ValueSet", json.dumps(value_set()))
        timed("first page, not compiled yet", lambda: get(page))
        timed("page at the start", lambda: get(page), 50)
        timed("page at the end", lambda: get(f"{page}&offset={codes - 2000}"), 50)
        timed("page of a filter, for the first time", lambda: get(f"{page}&filter=numero 77 groupe"))
        timed("page of a filter", lambda: get(f"{page}&filter=numero 78 groupe"), 5)
        timed("10 000 codes", lambda: get(f"ValueSet/$expand?url={SET}&count=10000"), 3)
        timed("$validate-code", lambda: get(f"ValueSet/$validate-code?url={SET}&{code}"), 200)
        timed("$lookup", lambda: get(f"CodeSystem/$lookup?{code}"), 200)


if __name__ == "__main__":
    main()
