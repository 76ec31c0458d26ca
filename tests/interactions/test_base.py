"""Each interaction, also each entry of a Bundle, is authorized, audited and refused like a request of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from fhirstore.errors import FhirError
from fhirstore.interactions.base import RestRequest, dispatch
from fhirstore.interactions.body import ParsedBody
from fhirstore.interactions.bundle import Bundle
from fhirstore.interactions.create import Create
from fhirstore.interactions.read import Read
from fhirstore.interactions.search import Search
from fhirstore.interactions.server import Server
from fhirstore.model.conditions import MATCH_ALL
from fhirstore.model.context import RequestContext
from fhirstore.store.errors import TooLarge, Unavailable

from .conftest import Observer

Observed = Callable[..., tuple[Server, Observer]]

PATIENT = {"resourceType": "Patient", "active": True}
REQUEST = RequestContext("http://test/fhir")


def rest(method: str = "GET", *path: str) -> RestRequest:
    return RestRequest(method, path, ParsedBody(None))


def entry(method: str, url: str, resource: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}, **({"resource": resource} if resource else {}), **more}


def post(server: Server, kind: str, *entries: Any) -> list[dict[str, Any]]:
    """The response entries of a Bundle."""
    body = ParsedBody({"resourceType": "Bundle", "type": kind, "entry": list(entries)})
    result = dispatch(server, REQUEST, rest("POST"), Bundle(body=body))
    assert result.body is not None
    found: list[dict[str, Any]] = json.loads(result.body)["entry"]
    return found


def statuses(entries: list[dict[str, Any]]) -> list[str]:
    return [e["response"]["status"] for e in entries]


def test_an_interaction_can_be_made_and_dispatched_without_http(server: Server) -> None:
    created = dispatch(server, REQUEST, rest("POST", "Patient"), Create(type="Patient", body=ParsedBody(PATIENT)))
    assert created.status == 201
    assert created.stored is not None
    read = dispatch(server, REQUEST, rest("GET", "Patient"), Read(type="Patient", id=created.stored.id))
    assert read.stored == created.stored


def test_a_refused_interaction_is_audited_with_its_status(observed: Observed) -> None:
    server, observer = observed(("read", "Patient"))
    with pytest.raises(FhirError) as refused:
        dispatch(server, REQUEST, rest("GET", "Patient", "1"), Read(type="Patient", id="1"))
    assert refused.value.status == 403
    assert [(i.name, i.id, status) for i, status in observer.audited] == [("read", "1", 403)]


def test_each_entry_of_a_batch_is_authorized_and_audited(observed: Observed) -> None:
    server, observer = observed(("read", "Patient"))
    answers = post(
        server,
        "batch",
        entry("GET", "Patient/1"),
        entry("POST", "Patient", PATIENT),
        entry("GET", "Observation?code=x"),
        entry("GET", "Patient/$validate"),
    )
    assert [s[:3] for s in statuses(answers)] == ["403", "201", "200", "400"]
    names = [(i.name, i.type, i.entry) for i in observer.authorized]
    assert names == [
        ("transaction", None, None),
        ("read", "Patient", "Bundle.entry[0]"),
        ("create", "Patient", "Bundle.entry[1]"),
        ("search-type", "Observation", "Bundle.entry[2]"),
        ("$validate", "Patient", "Bundle.entry[3]"),
    ]
    assert [status for _, status in observer.audited] == [403, 201, 200, 400, 200]


def test_a_transaction_with_an_entry_that_is_not_allowed_is_refused_and_changes_nothing(observed: Observed) -> None:
    server, observer = observed(("create", "Observation"))
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    with pytest.raises(FhirError) as refused:
        post(server, "transaction", entry("POST", "Patient", PATIENT), entry("POST", "Observation", observation))
    assert refused.value.status == 403
    assert refused.value.issues[0].expression[0] == "Bundle.entry[1]"
    assert server.store.history(limit=10).entries == []
    assert [(i.entry, status) for i, status in observer.audited] == [
        ("Bundle.entry[0]", 403),
        ("Bundle.entry[1]", 403),
        (None, 403),
    ]


IDENTIFIED = PATIENT | {"identifier": [{"system": "urn:k", "value": "6"}]}
DENIED = [
    *(("delete", "DELETE", url) for url in ("Patient/a", "/Patient/a", "Patient/a/", "http://test/fhir/Patient/a")),
    *(
        ("delete", "DELETE", url)
        for url in ("Patient/a?x=1", "Patient?identifier=urn:k|6", "Patient/?identifier=urn:k|6")
    ),
    *(("update", "PUT", url) for url in ("Patient/a", "/Patient/a/", "http://test/fhir/Patient/a", "Patient/a?x=1")),
    *(("update", "PUT", url) for url in ("Patient?identifier=urn:k|6", "Patient/?identifier=urn:k%7C6")),
    *(("create", "POST", url) for url in ("Patient", "/Patient", "Patient/", "http://test/fhir/Patient/")),
    *(
        ("read", method, url)
        for method in ("GET", "HEAD")
        for url in ("Patient/a", "/Patient/a/", "Patient/a?_format=json")
    ),
    *(("vread", "GET", url) for url in ("Patient/a/_history/1", "/Patient/a/_history/1/")),
    *(
        ("search-type", "GET", url)
        for url in ("Patient", "/Patient?active=true", "http://test/fhir/Patient?active=true")
    ),
    *(("history-instance", "GET", url) for url in ("Patient/a/_history", "Patient/a/_history?_count=1")),
    ("history-type", "GET", "Patient/_history"),
    ("$validate", "GET", "Patient/a/$validate?profile=http://hl7.org/fhir/StructureDefinition/Patient"),
]


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize(("name", "method", "url"), DENIED)
def test_an_interaction_that_is_denied_is_denied_in_every_bundle_and_spelling(
    observed: Observed, kind: str, name: str, method: str, url: str
) -> None:
    server, _ = observed()
    post(server, "batch", entry("PUT", "Patient/a", IDENTIFIED | {"id": "a"}))
    denying, observer = observed((name, "Patient"))
    changed = IDENTIFIED | {"id": "a", "active": False} if method in ("PUT", "POST") else None
    try:
        (answer,) = post(denying, kind, entry(method, url, changed))
        status, text = answer["response"]["status"], json.dumps(answer)
    except FhirError as refused:
        status, text = str(refused.status), str(refused)
    assert status == "403"
    assert '"active": true' not in text
    assert [s.version for s in server.store.history(limit=10).entries] == [1]
    assert (name, 403) in [(i.name, status) for i, status in observer.audited]


def test_a_transaction_with_a_read_that_is_not_allowed_stores_nothing(observed: Observed) -> None:
    server, observer = observed(("search-type", "Patient"))
    with pytest.raises(FhirError) as refused:
        post(server, "transaction", entry("POST", "Patient", PATIENT), entry("GET", "Patient?active=true"))
    assert refused.value.status == 403
    assert server.store.history(limit=10).entries == []
    audited = sorted((i.entry or "", status) for i, status in observer.audited)
    assert audited == [("", 403), ("Bundle.entry[0]", 403), ("Bundle.entry[1]", 403)]


def test_each_entry_of_a_transaction_is_authorized_once(observed: Observed) -> None:
    server, observer = observed()
    post(server, "transaction", entry("GET", "Patient"), entry("POST", "Patient", PATIENT))
    assert sorted(i.entry for i in observer.authorized if i.entry) == ["Bundle.entry[0]", "Bundle.entry[1]"]


def test_a_read_that_fails_after_the_commit_is_the_outcome_of_its_entry(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, observer = observed()
    post(server, "batch", entry("PUT", "Patient/a", PATIENT | {"id": "a"}))
    execute, calls = Read.execute, []

    def deleted_by_another_client(self: Read, *arguments: Any) -> Any:
        calls.append(self)
        if len(calls) > 1:
            raise Unavailable("gone")
        return execute(self, *arguments)

    monkeypatch.setattr(Read, "execute", deleted_by_another_client)
    answers = post(server, "transaction", entry("GET", "Patient/a"), entry("POST", "Patient", PATIENT))
    assert statuses(answers) == ["503", "201 Created"]
    assert ("read", 503) in [(i.name, status) for i, status in observer.audited]


def test_each_entry_of_a_transaction_is_audited_with_its_own_status(observed: Observed) -> None:
    server, observer = observed()
    post(
        server,
        "transaction",
        entry("GET", "Patient?active=true"),
        entry("PUT", "Patient/a", PATIENT | {"id": "a"}),
        entry("DELETE", "Patient/b"),
    )
    audited = sorted((i.name, i.entry, status) for i, status in observer.audited if i.entry)
    assert audited == [
        ("delete", "Bundle.entry[2]", 204),
        ("search-type", "Bundle.entry[0]", 200),
        ("update", "Bundle.entry[1]", 201),
    ]


@pytest.mark.parametrize(
    ("problem", "status"), [(Unavailable("locked"), 503), (TooLarge("big"), 413), (KeyError(), 500)]
)
def test_entries_of_a_transaction_are_audited_whatever_makes_its_commit_fail(
    observed: Observed, monkeypatch: pytest.MonkeyPatch, problem: Exception, status: int
) -> None:
    server, observer = observed()

    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(type(server.store), "commit", fail)
    with pytest.raises((FhirError, KeyError)):
        post(server, "transaction", entry("POST", "Patient", PATIENT), entry("PUT", "Patient/a", PATIENT | {"id": "a"}))
    audited = [(i.entry, seen) for i, seen in observer.audited]
    assert audited == [("Bundle.entry[0]", status), ("Bundle.entry[1]", status), (None, status)]


FAULTY = [
    None,
    "text",
    {},
    {"request": "GET"},
    {"request": {"method": "BREW", "url": "Patient"}},
    {"request": {"method": "PATCH", "url": "Patient/1"}},
    {"request": {"url": "Patient"}},
    {"request": {"method": "GET"}},
    {"request": {"method": "GET", "url": 7}},
    {"request": {"method": "GET", "url": "Patient?name=%ff"}},
    {"request": {"method": "GET", "url": "http://elsewhere.example/fhir/Patient/1"}},
    {"request": {"method": "GET", "url": "Patient//1"}},
    {"request": {"method": "GET", "url": "Patient/1/2/3/4"}},
    {"request": {"method": "GET", "url": "patient/1"}},
    {"request": {"method": "POST", "url": "Patient"}},
    {"request": {"method": "POST", "url": ""}, "resource": {"resourceType": "Bundle", "type": "batch"}},
    {"request": {"method": "POST", "url": "Patient"}, "resource": ["Patient"]},
    {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Observation"}},
    {"request": {"method": "POST", "url": "Patient?x=1"}, "resource": PATIENT},
    {"request": {"method": "PUT", "url": "Patient"}, "resource": PATIENT},
    {"request": {"method": "DELETE", "url": "Patient"}},
    {"request": {"method": "PUT", "url": "Patient/1", "ifMatch": 3}, "resource": PATIENT | {"id": "1"}},
    {"request": {"method": "GET", "url": "Patient/1"}, "fullUrl": 1},
]


@pytest.mark.parametrize("faulty", FAULTY, ids=str)
def test_a_fault_in_an_entry_of_a_batch_is_the_outcome_of_that_entry_alone(server: Server, faulty: Any) -> None:
    first, second, third = post(
        server, "batch", entry("POST", "Patient", PATIENT), faulty, entry("PUT", "Patient/a", PATIENT | {"id": "a"})
    )
    assert statuses([first, third]) == ["201 Created", "201 Created"]
    assert second["response"]["status"][0] == "4"
    (issue, *_) = second["response"]["outcome"]["issue"]
    assert issue["severity"] == "error"
    assert issue["diagnostics"]
    assert issue["expression"][0].startswith("Bundle.entry[1]")


@pytest.mark.parametrize("faulty", FAULTY, ids=str)
def test_a_fault_in_an_entry_of_a_transaction_refuses_all_of_it(server: Server, faulty: Any) -> None:
    with pytest.raises(FhirError) as refused:
        post(server, "transaction", entry("POST", "Patient", PATIENT), faulty)
    assert 400 <= refused.value.status < 500
    assert all(i.expression[0].startswith("Bundle.entry[1]") for i in refused.value.issues)
    assert server.store.history(limit=10).entries == []


def test_an_internal_error_of_an_entry_does_not_hide_what_the_batch_has_stored(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Read, *_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Read, "execute", broken)
    stored, failed = post(server, "batch", entry("POST", "Patient", PATIENT), entry("GET", "Patient/1"))
    assert statuses([stored, failed]) == ["201 Created", "500"]
    text = failed["response"]["outcome"]["issue"][0]["diagnostics"]
    assert "secret" not in text
    assert next(word for word in text.replace(".", " ").split() if len(word) == 32) in caplog.text


def test_conditional_reads_are_possible_in_a_bundle(server: Server) -> None:
    post(server, "batch", entry("PUT", "Patient/a", PATIENT | {"id": "a"}))
    read = {"request": {"method": "GET", "url": "Patient/a", "ifNoneMatch": 'W/"1"'}}
    (answer,) = post(server, "batch", read)
    assert answer["response"]["status"] == "304 Not Modified"
    assert "resource" not in answer


def test_a_slash_at_the_end_of_a_url_is_accepted_as_over_http(server: Server) -> None:
    post(server, "batch", entry("PUT", "Patient/a", PATIENT | {"id": "a"}))
    answers = post(server, "batch", entry("GET", "/Patient/a/"), entry("GET", "Patient/?active=true"))
    assert statuses(answers) == ["200 OK", "200 OK"]


def test_entries_after_the_deadline_are_refused_and_earlier_ones_stay(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.monotonic()]
    deadline = now[0] + 15
    monkeypatch.setattr("fhirstore.interactions.base.time", Clock(now))
    create = Create.execute

    def slow(self: Create, *arguments: Any) -> Any:
        now[0] += 10
        return create(self, *arguments)

    monkeypatch.setattr(Create, "execute", slow)
    body = ParsedBody({"resourceType": "Bundle", "type": "batch", "entry": [entry("POST", "Patient", PATIENT)] * 3})
    result = dispatch(server, msgspec.structs.replace(REQUEST, deadline=deadline), rest("POST"), Bundle(body=body))
    entries = json.loads(result.body or b"")["entry"]
    assert statuses(entries) == ["201 Created", "201 Created", "503"]
    assert entries[2]["response"]["outcome"]["issue"][0]["code"] == "timeout"
    assert len(server.store.history(limit=10).entries) == 2


def test_a_search_ends_at_the_deadline_of_the_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    find = server.store.find

    def late(*arguments: Any, **more: Any) -> Any:
        while time.monotonic() <= deadline:
            pass
        return find(*arguments, **more)

    monkeypatch.setattr(server.store, "find", late)
    deadline = time.monotonic() + 0.05
    search = Search(type="Patient", parameters=(("active", "true"),), raw="active=true")
    with pytest.raises(FhirError) as refused:
        dispatch(server, msgspec.structs.replace(REQUEST, deadline=deadline), rest("GET", "Patient"), search)

    assert (refused.value.status, refused.value.issues[0].code) == (503, "timeout")
    assert refused.value.headers["Retry-After"]
    assert server.store.count("Patient", MATCH_ALL) == 0


@dataclass
class Clock:
    """The time module with a clock that the test sets."""

    now: list[float]

    def monotonic(self) -> float:
        return self.now[0]

    def perf_counter(self) -> float:
        return self.now[0]
