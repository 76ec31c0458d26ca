"""docs/sas: the agenda of the guide is what the platform wants, the tests and rules of the requirements are there."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import httpx
from support.api import Api
from support.outbox import Outbox

from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.queries import PARIS
from fhirstore_sas.check.run import RULES, CheckPlan, run
from fhirstore_sas.relay.outbox import QUEUE
from fhirstore_sas.searches import PS

ROOT = Path(__file__).resolve().parents[3]
GUIDE, REQUIREMENTS = (ROOT / "docs" / "sas" / name for name in ("editor.md", "requirements.md"))


def examples() -> tuple[str, str, str]:
    """The JSON of the guide: the agenda as NDJSON, an account, an appointment."""
    agenda, account, appointment = re.findall(r"```json\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    return agenda, account, appointment


def url_of(type: str) -> str:
    """The conditional URL of a PUT in the guide, below the base."""
    (found,) = re.findall(rf"'http://127.0.0.1:8080/fhir/({type}\?identifier=\S+)'", GUIDE.read_text("utf-8"))
    return str(found)


def load_agenda(api: Api) -> None:
    for resource in map(json.loads, examples()[0].splitlines()):
        assert api.put(f"{resource['resourceType']}/{resource['id']}", resource).status_code == 201


def slot_status(api: Api) -> str:
    return str(api.get("Slot/dr-martin-rennes-1").get_json()["status"])


def test_the_account_and_the_appointment_of_the_guide_are_accepted_and_sent(relaying: Api) -> None:
    load_agenda(relaying)
    _, account, appointment = examples()
    assert relaying.post("Practitioner", account).status_code == 201
    assert relaying.put(url_of("Practitioner"), account).status_code == 200
    assert len(relaying.ids(url_of("Practitioner"))) == 1
    assert relaying.put(url_of("Appointment"), appointment).status_code == 201
    assert slot_status(relaying) == "busy"
    body = json.loads(appointment)
    [job] = Outbox(relaying.ctx.store).jobs.list(QUEUE)
    message = job.payload["message"]
    assert message["participant"][0]["actor"]["identifier"]["value"] == "899900000101"
    assert [message[n] for n in ("start", "end", "created")] == [body[n] for n in ("start", "end", "created")]
    cancelled = relaying.put(url_of("Appointment"), {**body, "status": "cancelled"})
    assert (cancelled.status_code, slot_status(relaying)) == (200, "free")


def test_the_regulator_of_the_guide_may_be_a_reference(relaying: Api) -> None:
    load_agenda(relaying)
    _, account, appointment = examples()
    created = relaying.post("Practitioner", account)
    body = json.loads(appointment)
    expected = body["extension"][0]["valueReference"]["identifier"]
    reference = "/".join(created.headers["Location"].split("/")[-2:])
    body["extension"][0]["valueReference"] = {"reference": reference}
    assert relaying.put(url_of("Appointment"), body).status_code == 201
    [job] = Outbox(relaying.ctx.store).jobs.list(QUEUE)
    assert job.payload["message"]["extension"][0]["valueReference"] == {"identifier": expected}


def test_the_agenda_of_the_guide_passes_the_check(api: Api) -> None:
    load_agenda(api)
    plan = CheckPlan((PS,), ("899900000101",), max_seconds=1000.0)
    with EndpointClient("http://localhost/fhir", transport=httpx.WSGITransport(api.app)) as client:
        report = run(client, plan, api.ctx.validator.validate, datetime(2026, 12, 7, 8, tzinfo=PARIS))
    assert [finding.rule.id for finding in report.findings] == []
    assert "slot-comment" in {rule.id for rule in report.passed}


def test_every_requirement_is_in_the_table() -> None:
    numbers = re.findall(r"^\| (\d+) \|", REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 50)]


def test_the_rules_named_in_the_table_are_there() -> None:
    rows = [line for line in REQUIREMENTS.read_text("utf-8").splitlines() if re.match(r"\| \d", line)]
    named = {found[1] for row in rows if (found := re.search(r"\| `([a-z-]+)` \|$", row))}
    assert named <= RULES.keys()
    assert len(named) > 15
