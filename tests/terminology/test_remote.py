"""Code systems and value sets that are unavailable here, from another terminology server over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.animals import V
from support.terminology_server import OUTCOME, SCT, TerminologyServer, parameters, running_terminology_server
from support.terms import catalog, value_set

from fhirstore.terminology.model import Unresolved
from fhirstore.terminology.remote import RemoteLimits, RemoteTerminology
from fhirstore.terminology.service import Terminology
from fhirstore.validation.validator import ProfileValidator

Json = dict[str, Any]


@pytest.fixture
def stub() -> Iterator[TerminologyServer]:
    with running_terminology_server() as server:
        yield server


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote(stub: TerminologyServer, clock: Clock) -> Iterator[RemoteTerminology]:
    made = RemoteTerminology(stub.base + "/", RemoteLimits(timeout_s=20, cache_s=100, retry_s=10, max_codes=3), clock)
    yield made
    made.close()


@pytest.fixture
def terms(remote: RemoteTerminology) -> Terminology:
    sets = [value_set(V + "sct", {"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "0"}]})]
    return Terminology(catalog(sets), remote=remote)


def verdict(terms: Terminology, code: str, canonical: str = V + "sct", system: str | None = SCT) -> bool | str:
    return terms.current().value_set(canonical).membership(system, code)


def test_codes_of_a_system_that_is_unavailable(terms: Terminology, stub: TerminologyServer) -> None:
    assert [verdict(terms, code) for code in ("1", "3")] == [True, False]
    path, given = stub.asked[0]
    assert path == "/fhir/ValueSet/$validate-code"
    include = {"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "0"}]}
    assert given["valueSet"]["resource"]["compose"] == {"include": [include]}
    assert (given["system"]["valueUri"], given["code"]["valueCode"]) == (SCT, "1")


def test_a_code_of_another_system_is_decided_without_a_request(terms: Terminology, stub: TerminologyServer) -> None:
    assert verdict(terms, "1", system="http://other") is False
    assert stub.asked == []


def test_a_value_set_that_is_unavailable(terms: Terminology, stub: TerminologyServer) -> None:
    assert verdict(terms, "1", "http://vs|2") is True
    assert stub.asked[0][1]["url"]["valueUri"] == "http://vs|2"


def test_answers_are_kept_for_a_while(terms: Terminology, stub: TerminologyServer, clock: Clock) -> None:
    assert [verdict(terms, "1") for _ in range(3)] == [True] * 3
    assert len(stub.asked) == 1
    clock.now = 99
    assert verdict(terms, "1") is True
    assert len(stub.asked) == 1
    clock.now = 101
    stub.says(parameters(result=False))
    assert verdict(terms, "1") is False
    assert len(stub.asked) == 2


def test_a_server_that_is_not_there_leaves_it_unsure_and_is_left_alone(clock: Clock) -> None:
    gone = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    base = f"http://127.0.0.1:{gone.server_port}"
    gone.server_close()
    remote = RemoteTerminology(base, RemoteLimits(retry_s=10), clock)
    terms = Terminology(catalog(), remote=remote)
    reason = f"the value set http://vs is unavailable, and the terminology server {base} does not answer (ConnectError)"
    assert verdict(terms, "1", "http://vs") == reason
    with ThreadingHTTPServer(("127.0.0.1", gone.server_port), BaseHTTPRequestHandler):  # nothing asks it now
        assert verdict(terms, "2", "http://vs") == reason
    remote.close()


def test_a_server_that_comes_back_is_asked_again(terms: Terminology, stub: TerminologyServer, clock: Clock) -> None:
    stub.answer = 200, b"<html>"
    assert "answered 200 without JSON" in str(verdict(terms, "1"))
    stub.answer = None
    assert "without JSON" in str(verdict(terms, "1"))
    clock.now = 11
    assert verdict(terms, "1") is True


def test_a_server_that_is_too_slow(stub: TerminologyServer, clock: Clock) -> None:
    stub.hold = threading.Event()
    remote = RemoteTerminology(stub.base, RemoteLimits(timeout_s=0.05, retry_s=10), clock)
    assert "does not answer (ReadTimeout)" in str(verdict(Terminology(catalog(), remote=remote), "1", "http://vs"))
    remote.close()


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (OUTCOME, 404, "answered 404: no such thing"),
        (OUTCOME, 500, "answered 500: no such thing"),
        ({"issue": "?"}, 400, "answered 400: it gives no reason"),
        (parameters(message="?"), 200, "the code: ?"),
        (parameters(result=False, message="Unknown code system 'x'"), 200, "the code: Unknown code system"),
        (parameters(result=False, message="CodeSystem http://x could not be found"), 200, "the code: CodeSystem"),
        (parameters(result=False) | {"parameter": [{"name": "result", "valueBoolean": False},
          {"name": "x-caused-by-unknown-system", "valueCanonical": SCT}]}, 200, "cannot validate the code"),
    ],
)  # fmt: skip
def test_what_the_other_server_does_not_know_is_unknown(
    terms: Terminology, stub: TerminologyServer, answer: Json, status: int, text: str
) -> None:
    stub.says(answer, status)
    found = verdict(terms, "1")
    assert isinstance(found, str)
    assert text in found
    assert stub.base in found


def test_an_expansion_from_elsewhere(terms: Terminology, stub: TerminologyServer) -> None:
    entries = list(terms.current().value_set(V + "sct").entries())
    assert [(e.code, e.display) for e in entries] == [("1", "Concept 1"), ("2", "Concept 2")]
    stub.says({"resourceType": "ValueSet", "expansion": {"total": 9, "contains": []}})
    with pytest.raises(Unresolved) as raised:
        list(terms.current().value_set("http://large").entries())
    assert raised.value.code == "too-costly"


def test_an_expansion_from_elsewhere_is_kept_no_longer_than_other_answers(
    terms: Terminology, stub: TerminologyServer, clock: Clock
) -> None:
    members = terms.current().value_set(V + "sct")
    assert len(terms.expansion(members).entries) == 2
    stub.says({"resourceType": "ValueSet", "expansion": {"contains": [{"system": SCT, "code": "3"}]}})
    assert len(terms.expansion(members).entries) == 2
    clock.now = 101
    assert [e.code for e in terms.expansion(members).entries] == ["3"]


# --- bindings


def bound(terms: Terminology) -> Callable[[str], list[tuple[str, str, str]]]:
    """(severity, code, diagnostics) of the issues of a Patient whose marital status has the code."""
    binding = {"strength": "required", "valueSet": "http://not-here"}
    profile = {
        "resourceType": "StructureDefinition",
        "url": "http://profile",
        "name": "p",
        "kind": "resource",
        "type": "Patient",
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {
            "element": [{"id": "Patient.maritalStatus", "path": "Patient.maritalStatus", "binding": binding}]
        },
    }
    validator = ProfileValidator(catalog([profile]), terms)

    def check(code: str) -> list[tuple[str, str, str]]:
        patient = {"resourceType": "Patient", "maritalStatus": {"coding": [{"system": SCT, "code": code}]}}
        return [(i.severity, i.code, i.diagnostics) for i in validator.validate(patient, "http://profile")]

    return check


def test_bindings_are_checked_by_it(terms: Terminology) -> None:
    check = bound(terms)
    assert check("1") == []
    assert [found[:2] for found in check("3")] == [("error", "code-invalid")]


def test_when_it_fails_a_binding_gives_a_warning_that_names_it(terms: Terminology, stub: TerminologyServer) -> None:
    stub.says(OUTCOME, 500)
    ((severity, code, text),) = bound(terms)("3")
    assert (severity, code) == ("warning", "not-supported")
    assert "the value set http://not-here is unavailable, and the terminology server" in text
    assert stub.base in text
