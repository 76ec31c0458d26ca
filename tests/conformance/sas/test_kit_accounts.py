"""Group 5 of the official test kit: regulator accounts, the sequence from its start to its end, with the kit's bodies,
twice in a row with other identifiers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from support.process import Process
from support.sas_kit import IDNPS, SAS, V2, Json, identifier

PLATFORM = "urn:oid:1.2.250.1.213.3.6"
POST = {"Content-Type": "application/json", "Accept": "application/json+fhir"}
PUT = {"Content-Type": "application/json", "Accept": "application/fhir+json"}
NEEDED = ("identifier", "name", "telecom", "active")


@dataclass(frozen=True)
class Step:
    """test: its number in the kit. where: system|value of a PUT, None for a POST. statuses: any of them is right."""

    test: str
    where: str | None
    body: Json
    statuses: tuple[int, ...]


def account(system: str, value: str, mail: str, active: bool = True, **name: str) -> Json:
    return {
        "resourceType": "Practitioner",
        "id": "example-regulator-1",
        "meta": {"source": PLATFORM, "profile": [SAS + "FrPractitionerRegul"]},
        "identifier": [identifier(system, value, V2, "INTRN" if system == PLATFORM else "IDNPS")],
        "active": active,
        "name": [{"family": name.get("family", "Loridon"), "given": [name.get("given", "Sébastien")]}],
        "telecom": [{"system": "email", "value": mail}],
    }


def incomplete(body: Json) -> Iterator[Json]:
    for name in NEEDED:
        yield {**{k: v for k, v in body.items() if k != name}, "id": f"invalid-no-{name}"}


def wrong(value: str, mail: str) -> Iterator[Json]:
    """5.05: the first two carry the wrong code too, as in the kit."""
    good = account(PLATFORM, value, mail)
    swapped = {"identifier": [identifier(PLATFORM, value, V2, "IDNPS")]}
    yield {**good, **swapped, "name": [{"family": "", "given": ["Sébastien"]}]}
    yield {**good, **swapped, "telecom": [{"system": "email", "value": ""}]}
    yield {**good, "telecom": [{"system": "phone", "value": mail}]}
    yield {**good, "identifier": [identifier(IDNPS, value, V2, "INTRN")]}
    yield {**good, **swapped}


def sequence(a: str, b: str, m: str) -> Iterator[Step]:
    """SPEC §5.5; the numbers in the comments are its lines."""
    u1, u2, u3, u4 = (str(uuid.uuid4()) for _ in range(4))
    idnps_a, idnps_b, new = f"{IDNPS}|{a}", f"{IDNPS}|{b}", f"{PLATFORM}|{u4}"
    at_b, changed = account(IDNPS, b, "x" + m), "x" + m
    yield Step("5.01", None, account(IDNPS, a, m), (201,))
    yield Step("5.02", None, account(PLATFORM, u1, u1 + m), (201,))
    yield Step("5.03", None, account(PLATFORM, u2, u2 + m), (201,))
    yield Step("5.03", None, account(PLATFORM, u2, u2 + m), (409,))
    for body in incomplete(account(PLATFORM, str(uuid.uuid4()), m)):
        yield Step("5.04", None, body, (422,))
    for body in wrong(str(uuid.uuid4()), m):
        yield Step("5.05", None, body, (422,))
    yield Step("5.06", idnps_a, account(IDNPS, a, m, active=False), (200,))
    yield Step("5.07", idnps_a, account(IDNPS, a, m), (200,))
    yield Step("5.08", idnps_a, account(IDNPS, a, changed), (200,))
    yield Step("5.09", idnps_a, at_b, (200,))
    yield Step("5.10", f"{IDNPS}|{u1}", account(PLATFORM, a, u1 + m), (201,))
    yield Step("5.11", idnps_b, account(IDNPS, b, changed, family="Autre"), (200,))
    yield Step("5.12", idnps_b, account(IDNPS, b, changed, family="Autre", given="Paul"), (200,))
    for body in incomplete(at_b):
        yield Step("5.13", idnps_b, body, (422,))
    for body in incomplete(account(PLATFORM, u4, u4 + m)):
        yield Step("5.14", new, body, (422,))
    yield Step("5.15", new, account(PLATFORM, u4, u4 + m), (201,))
    yield Step("5.16", idnps_a, account(IDNPS, a, m, active=False), (201,))
    yield Step("5.16", None, account(PLATFORM, u3, f"{u3}.{m}"), (201,))
    yield Step("5.16", f"{PLATFORM}|{u3}", account(IDNPS, a, f"{u3}.{m}"), (200,))


def sent(server: Process, step: Step) -> tuple[int, dict[str, str], Any]:
    if step.where is None:
        return server.call("POST", "Practitioner", step.body, POST)
    return server.call("PUT", f"Practitioner?identifier={quote(step.where, safe='')}", step.body, PUT)


def accounts(server: Process, number: str) -> list[Json]:
    """The accounts that have a national id."""
    _, _, bundle = server.call("GET", f"Practitioner?identifier={quote(f'{IDNPS}|{number}', safe='')}")
    return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.mark.parametrize("first", [11242343, 11242345], ids=["first", "again with other identifiers"])
def test_the_sequence_of_the_kit_goes_through(kit_server: Process, first: int) -> None:
    a, b = (f"3456780581/{n}" for n in (first, first + 1))
    done = []
    for step in sequence(a, b, f"{first}@test.com"):
        status, headers, answer = sent(kit_server, step)
        assert status in step.statuses, (step.test, step.where, answer)
        if status < 400:
            assert headers["Location"].startswith(f"http://127.0.0.1:{kit_server.port}/fhir/Practitioner/"), step.test
            assert "_history" not in headers["Location"]
        else:
            assert answer["resourceType"] == "OperationOutcome", step.test
            assert all(i["severity"] and i["code"] and i["diagnostics"] for i in answer["issue"]), step.test
        done.append(step.test)
    assert sorted(set(done)) == [f"5.{n:02d}" for n in range(1, 17)]
    assert sorted(one["active"] for one in accounts(kit_server, a)) == [False, True]
    (kept,) = accounts(kit_server, b)
    assert (kept["name"][0]["family"], kept["name"][0]["given"]) == ("Autre", ["Paul"])


def test_a_repeated_update_changes_nothing_and_creates_nothing(kit_server: Process) -> None:
    """The platform plays failed pushes again (SPEC §21)."""
    where = f"{PLATFORM}|{uuid.uuid4()}"
    step = Step("", where, account(*where.split("|"), "again@test.com"), (200, 201))
    answers = [sent(kit_server, step) for _ in range(3)]
    assert [status for status, _, _ in answers] == [201, 200, 200]
    assert len({headers["Location"] for _, headers, _ in answers}) == 1
