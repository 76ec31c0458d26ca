"""Counts the files that four typical requests pass through. Prints a table.

python tools/count_flow.py [--check] [--files FLOW] [--calls FLOW]

Each request runs in this process through the WSGI interface, on SQLite with the SAS plugin, and is counted once caches
are warm. Only our own files count (src/fhirstore and the SAS plugin). A *change of file* is a call of a function whose
file differs from the file of the previous call; a return is not counted.

--check exits with status 1 if a count exceeds its bar, which is half of the count before the packages were redesigned.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import fhirstore
import fhirstore_sas
from fhirstore.http.app import make_app
from fhirstore.server import build
from fhirstore.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.authority import Authority

PACKAGES = tuple(f"{Path(p.__file__ or '').parent}/" for p in (fhirstore, fhirstore_sas))
SOURCES = tuple(f"{Path(p).parent}/" for p in PACKAGES)
SLOT_PROFILE = "http://sas.fr/fhir/StructureDefinition/FrSlotAgregateur"
RPPS = "urn:oid:1.2.250.1.71.4.2.1"
TIMES = {"start": "2031-03-03T09:00:00+01:00", "end": "2031-03-03T09:20:00+01:00"}
WARM_UP = 3
Json = dict[str, Any]
Request = Callable[[FlaskClient, int], TestResponse]


@dataclass(frozen=True)
class Count:
    files: int
    changes: int


@dataclass(frozen=True)
class Flow:
    """before: the count at commit 859d150."""

    title: str
    send: Request
    before: Count

    @property
    def bar(self) -> Count:
        return Count(self.before.files // 2, self.before.changes // 2)


@dataclass(frozen=True)
class Trace:
    """The calls of our functions, in order: (file, function)."""

    calls: tuple[tuple[str, str], ...]

    @property
    def files(self) -> Counter[str]:
        return Counter(file for file, _ in self.calls)

    def changes(self) -> Iterator[int]:
        """The indexes of the calls that go to another file than the call before."""
        return (n for n in range(1, len(self.calls)) if self.calls[n][0] != self.calls[n - 1][0])

    @property
    def count(self) -> Count:
        return Count(len(self.files), sum(1 for _ in self.changes()))


def trace(send: Callable[[], TestResponse]) -> Trace:
    """Runs the request. Raises AssertionError if its status is an error."""
    calls: list[tuple[str, str]] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGES):
            calls.append((frame.f_code.co_filename, frame.f_code.co_name))

    sys.setprofile(profile)
    try:
        answer = send()
    finally:
        sys.setprofile(None)
    assert answer.status_code < 300, answer.text
    return Trace(tuple(calls))


def short(file: str) -> str:
    return file.removeprefix(SOURCES[0]).removeprefix(SOURCES[1])


# --- the four requests ---------------------------------------------------------------------------


def send(client: FlaskClient, method: str, path: str, body: Json) -> TestResponse:
    return client.open(
        f"/fhir{path}", method=method, data=json.dumps(body), headers={"Content-Type": "application/fhir+json"}
    )


def search(client: FlaskClient, _: int) -> TestResponse:
    """The SAS searches free slots of one practitioner within 24 hours."""
    return client.get(
        "/fhir/Slot?_include=Slot:schedule&_include:iterate=Schedule:actor"
        "&start=ge2031-03-03T06:00:00%2B00:00&start=le2031-03-04T06:00:00%2B00:00"
        f"&schedule.actor:Practitioner.identifier={RPPS}%7C899900000001&status=free&_count=1000"
    )


def book(client: FlaskClient, n: int) -> TestResponse:
    """An Appointment is created, takes its Slot and is queued for the SAS platform."""
    return send(client, "POST", "/Appointment", appointment(n))


def transact(client: FlaskClient, n: int) -> TestResponse:
    """A Patient is created unless it exists, an Observation refers to it, an Organization is replaced."""
    urls = [f"urn:uuid:0b6b1f6e-0000-4000-8000-00000000000{i}" for i in range(2)]
    patient = {"resourceType": "Patient", "name": [{"family": "Martin"}]}
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Weight"},
        "subject": {"reference": urls[0]},
    }
    requests = [
        {"method": "POST", "url": "Patient", "ifNoneExist": f"identifier=urn:oid:1.2.3|{n}"},
        {"method": "POST", "url": "Observation"},
        {"method": "PUT", "url": "Organization/1"},
    ]
    entries: list[Json] = [
        {"fullUrl": urls[0], "resource": patient, "request": requests[0]},
        {"fullUrl": urls[1], "resource": observation, "request": requests[1]},
        {"resource": {"resourceType": "Organization", "id": "1", "name": f"Clinic {n}"}, "request": requests[2]},
    ]
    return send(client, "POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})


def validate(client: FlaskClient, _: int) -> TestResponse:
    """A Slot is validated against its SAS profile."""
    return send(client, "POST", f"/Slot/$validate?profile={SLOT_PROFILE}", slot("1"))


FLOWS = {
    "search": Flow("SAS search", search, Count(39, 155)),
    "appointment": Flow("Appointment that books a slot", book, Count(69, 417)),
    "transaction": Flow("transaction of three entries", transact, Count(76, 579)),
    "validation": Flow("one resource against a profile", validate, Count(52, 159)),
}


# --- the store ------------------------------------------------------------------------------------


def rpps(value: str = "899900000001") -> Json:
    coding = {"system": "http://interopsante.org/fhir/CodeSystem/fr-v2-0203", "code": "IDNPS"}
    return {"type": {"coding": [coding]}, "system": RPPS, "value": value}


def slot(id: str) -> Json:
    nos = "https://mos.esante.gouv.fr/NOS/TRE_R314-TypeCreneau/FHIR/TRE-R314-TypeCreneau"
    return {
        "resourceType": "Slot",
        "id": id,
        "meta": {"security": [{"system": nos, "code": "PUBLIC"}]},
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        **TIMES,
    }


def appointment(n: int) -> Json:
    operator = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
    return {
        "resourceType": "Appointment",
        "extension": [{"url": operator, "valueReference": {"identifier": rpps("810002673899")}}],
        "identifier": [{"system": "urn:oid:1.2.250.1.213.3.6", "value": str(n)}],
        "status": "booked",
        "slot": [{"reference": f"Slot/{n}"}],
        "participant": [{"actor": {"identifier": rpps()}, "status": "accepted"}],
        **TIMES,
    }


def agenda() -> Iterator[Json]:
    yield {"resourceType": "Practitioner", "id": "1", "identifier": [rpps()], "name": [{"family": "Durand"}]}
    yield {"resourceType": "PractitionerRole", "id": "1", "practitioner": {"reference": "Practitioner/1"}}
    actors = [{"reference": "Practitioner/1"}, {"reference": "PractitionerRole/1"}]
    yield {"resourceType": "Schedule", "id": "1", "active": True, "actor": actors}
    for n in range(20):
        yield slot(str(n))


def make_client(folder: Path) -> FlaskClient:
    """A server with the SAS plugin whose relay is configured, and an agenda in its store."""
    authority = Authority(folder, "authority")
    pair = authority.issue("editor.example")
    relay = {"url": "https://127.0.0.1:1/", "cert": pair.cert, "key": pair.key, "ca": authority.file}
    options = tuple(f"sas.relay_{name}={value}" for name, value in relay.items())
    settings = Settings(store=f"sqlite:///{folder}/store.db", plugins=("sas",), plugin_options=options)
    client = make_app(build(settings)).test_client()
    for resource in agenda():
        answer = send(client, "PUT", f"/{resource['resourceType']}/{resource['id']}", resource)
        assert answer.status_code == 201, answer.text
    return client


def traces() -> dict[str, Trace]:
    """The trace of each flow, warm."""
    with tempfile.TemporaryDirectory(prefix="fhirstore-flow-") as folder:
        client = make_client(Path(folder))
        found = {}
        for name, flow in FLOWS.items():
            for n in range(WARM_UP):
                flow.send(client, n)
            found[name] = trace(lambda flow=flow: flow.send(client, WARM_UP))  # type: ignore[misc]
        return found


# --- the command ----------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a count exceeds its bar")
    parser.add_argument("--files", choices=FLOWS, help="list the files of a flow and their calls")
    parser.add_argument("--calls", choices=FLOWS, help="list the calls of a flow that change the file, in order")
    given = parser.parse_args()
    found = traces()
    print(f"{'flow':32}{'files':>6}{'before':>8}{'bar':>6}{'changes':>10}{'before':>8}{'bar':>6}")
    for name, flow in FLOWS.items():
        now, before, bar = found[name].count, flow.before, flow.bar
        print(
            f"{flow.title:32}{now.files:6}{before.files:8}{bar.files:6}{now.changes:10}{before.changes:8}{bar.changes:6}"
        )
    if given.files:
        for file, calls in sorted(found[given.files].files.items()):
            print(f"{calls:6} {short(file)}")
    if given.calls:
        traced = found[given.calls]
        for n in (0, *traced.changes()):
            print(f"{short(traced.calls[n][0])}: {traced.calls[n][1]}")
    counts = ((found[name].count, flow.bar) for name, flow in FLOWS.items())
    exceeded = any(now.files > bar.files or now.changes > bar.changes for now, bar in counts)
    return 1 if given.check and exceeded else 0


if __name__ == "__main__":
    raise SystemExit(main())
