"""Requests that were valid until something in them was changed: never a 500, always an OperationOutcome for what is
refused (for an entry of a batch inside its answer), and nothing stored of it.

FUZZ_CASES in the environment says how many (800, or 60 000 in `make test-deep`)."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.fuzz import Case, Generator
from support.index import stray_index_rows
from support.sizes import size

CASES = size("FUZZ_CASES", quick=800, deep=60_000)
PER_SEED = 100

GROUNDS: list[dict[str, Any]] = [
    {"resourceType": "Practitioner", "id": "d1", "identifier": [{"system": "urn:f", "value": "1"}]},
    {"resourceType": "Patient", "id": "f1", "identifier": [{"system": "urn:f", "value": "1"}]},
    {"resourceType": "Patient", "id": "f2", "identifier": [{"system": "urn:f", "value": "2"}]},
]


def refusal(outcome: Any) -> None:
    """An OperationOutcome that says something."""
    assert outcome["resourceType"] == "OperationOutcome"
    assert outcome["issue"]
    for issue in outcome["issue"]:
        assert issue["severity"] in ("fatal", "error", "warning", "information")
        assert issue["code"]
        assert 0 < len(issue["diagnostics"]) < 3000
        assert all(len(place) < 3000 for place in issue.get("expression", ()))
    assert any(issue["severity"] in ("fatal", "error") for issue in outcome["issue"])
    assert "Traceback" not in json.dumps(outcome)


def answered(api: Api, case: Case, before: int) -> str:
    """What became of the request; its answer is checked."""
    answer = api.call(case.method, case.path, case.body, **case.headers)
    status = answer.status_code
    assert status < 500, answer.text[:300]
    added = api.ctx.store.history_count() - before
    if status >= 400:
        assert added == 0, "a refused request has stored something"
        if case.method != "HEAD":
            refusal(answer.get_json())
        return "refused"
    if case.path or case.method != "POST":
        assert added <= 1 or case.method == "DELETE"
        return "accepted"
    bundle, sent = answer.get_json(), json.loads(case.body or b"")
    assert bundle["type"] == f"{sent['type']}-response"
    assert len(bundle.get("entry", [])) == len(sent.get("entry") or [])
    found = [entry_answered(api, entry) for entry in bundle.get("entry", [])]
    assert found.count("created") <= added
    if set(found) <= {"refused", "read"}:
        assert added == 0
    if sent["type"] == "transaction":
        writes = [e["request"]["method"] not in ("GET", "HEAD") for e in sent.get("entry", [])]
        assert not any(one == "refused" and write for one, write in zip(found, writes, strict=True))
        return "transaction carried out"
    return "batch with refusals" if "refused" in found else "batch carried out"


def entry_answered(api: Api, entry: Any) -> str:
    response = entry["response"]
    status = int(response["status"].split()[0])
    assert status < 500, response
    if status >= 400:
        refusal(response["outcome"])
        return "refused"
    if "location" not in response:
        return "read" if "resource" in entry or status == 304 else "gone"
    type, id, _, version = response["location"].split("/")[-4:]
    assert api.ctx.store.read(type, id, int(version)) is not None
    return "created" if status == 201 else "changed"


def test_no_request_ends_in_an_internal_error_or_leaves_a_part_of_itself(
    api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    for resource in GROUNDS:
        assert api.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201
    results: Counter[str] = Counter()
    for seed in range(-(-CASES // PER_SEED)):
        generator = Generator(seed)
        for n in range(PER_SEED):
            case = generator.case()
            try:
                results[answered(api, case, api.ctx.store.history_count())] += 1
            except Exception as problem:
                body = (case.body or b"")[:3000]
                raise AssertionError(
                    f"seed {seed}, case {n}: {problem!r}\n{case.method} {case.path!r} {case.headers} "
                    f"changed: {case.changed}\n{body!r}\n{caplog.text[-4000:]}"
                ) from problem
    assert stray_index_rows(tmp_path / "0.db") == []
    wanted = {"refused", "accepted", "transaction carried out", "batch with refusals", "batch carried out"}
    assert set(results) == wanted, results
    assert min(results.values()) >= CASES // 100, results
