"""Any request to any route: no internal error, no answer after the deadline, flat memory, and OperationOutcomes.

ANY_REQUESTS in the environment says how many (2 500, or 100 000 in `make test-deep`).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.any_request import AnyRequest, RequestGenerator, Service, environ_of
from support.api import Api
from support.index import stray_index_rows
from support.sizes import size
from werkzeug.test import run_wsgi_app

REQUESTS = size("ANY_REQUESTS", quick=2500, deep=100_000)
PER_SEED = 100
DEADLINE_S = 10.0
MEMORY = 64 * 1024 * 1024
"""Bytes by which the process may grow after the first fifth of the requests."""
STORED: list[dict[str, Any]] = [
    {"resourceType": "Practitioner", "id": "d1", "identifier": [{"system": "urn:f", "value": "1"}]},
    {"resourceType": "Patient", "id": "f1", "identifier": [{"system": "urn:f", "value": "1"}]},
    {"resourceType": "Patient", "id": "f2", "identifier": [{"system": "urn:f", "value": "2"}]},
]


def check(app: Any, request: AnyRequest) -> int:
    """Sends the request and returns the status. The CPU time of the thread stands for its duration: other processes of
    the machine do not count."""
    started = time.thread_time()
    content, status_line, headers = run_wsgi_app(app, environ_of(request), buffered=True)
    body = b"".join(content)
    assert time.thread_time() - started < DEADLINE_S, "the answer came after the deadline"
    status = int(status_line.split()[0])
    assert status < 500 or (status == 503 and "Retry-After" in headers), (status_line, body[:300])
    if status >= 400 and request.method != "HEAD":
        outcome = json.loads(body)
        assert outcome["resourceType"] == "OperationOutcome", body[:300]
        assert outcome["issue"]
        assert all(issue["diagnostics"] and issue["code"] for issue in outcome["issue"])
        assert headers["Content-Type"].startswith("application/fhir+json")
        assert len(body) < 100_000
    return status


def test_any_request_is_answered(
    make_api: Callable[..., Api], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    api = make_api(request_timeout_s=DEADLINE_S, cache_bytes=1024 * 1024)
    for resource in STORED:
        assert api.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    service = Service.of(api.app, api.get("metadata").get_json())
    results: Counter[int] = Counter()
    before = 0
    for seed in range(-(-REQUESTS // PER_SEED)):
        generator = RequestGenerator(service, seed)
        for number in range(PER_SEED):
            request = generator.request()
            try:
                results[check(api.app, request)] += 1
            except Exception as problem:
                about = f"seed {seed}, request {number}: {problem!r}\n{request}\n{caplog.text[-4000:]}"
                raise AssertionError(about) from problem
        if seed == REQUESTS // PER_SEED // 5:
            before = memory()
    assert memory() - before < MEMORY
    assert stray_index_rows(tmp_path / "0.db") == []
    assert results[200] + results[201] > REQUESTS // 10, results
    assert {400, 404, 405, 412, 415, 422} <= results.keys(), results


def memory() -> int:
    """The resident memory of this process, in bytes."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
