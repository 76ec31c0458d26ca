"""Versions 1.2.0 and 1.1.0 of the guide: profiles on write, and responses that satisfy both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError
from fhirstore.plugins import ProfileRequirement

SAS_FR = "http://sas.fr/fhir/StructureDefinition/"
SAS = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/"
IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
V2 = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
OPERATOR = "http://interopsante.org/fhir/StructureDefinition/FrAppointmentOperator"
NATIONAL = {"coding": [{"system": V2, "code": "IDNPS"}]}
NAMED = {"identifier": {"type": NATIONAL, "system": IDNPS, "value": "810100050075"}}
IN_1_2 = {"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203", "code": "IDNST"}
IN_1_1 = {"system": "http://interopsante.org/fhir/CodeSystem/fr-location-identifier-type", "code": "IDNST"}
PS, SOS, CPTS = SAS_FR + "FrAppointmentSAS", SAS + "sas-sos-appointment", SAS + "sas-cpts-organization-aggregator"


def appointment(status: str, *claimed: str) -> dict[str, Any]:
    return {
        "resourceType": "Appointment",
        "meta": {"profile": list(claimed)} if claimed else {"versionId": "1"},
        "extension": [{"url": OPERATOR, "valueReference": NAMED}],
        "identifier": [{"system": "urn:oid:1.2.3.4", "value": "42"}],
        "status": "booked",
        "start": "2026-12-07T09:00:00.000+01:00",
        "end": "2026-12-07T09:20:00.000+01:00",
        "participant": [{"actor": NAMED, "status": status}],
    }


def organization(*codings: dict[str, str], version: str = "") -> dict[str, Any]:
    named = {"type": {"coding": list(codings)}, "system": "urn:oid:1.2.250.1.71.4.2.2", "value": "1950047225"}
    return {"resourceType": "Organization", "meta": {"profile": [CPTS + version]}, "identifier": [named], "name": "C"}


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """Without corrections, so that the profiles alone decide."""
    off = "sas.corrections=off"
    made = {"1.2.0": Template.make(plugins=("sas",), plugin_options=(off,))}
    made["1.1.0"] = Template.make(plugins=("sas",), plugin_options=(off, "sas.guide=1.1.0"))
    return made


@pytest.fixture(params=["1.2.0", "1.1.0"])
def guide(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(templates: dict[str, Template], guide: str, tmp_path: Path) -> Iterator[Api]:
    api = templates[guide].fresh(tmp_path / "versions.db")
    yield api
    api.ctx.store.close()


def status(api: Api, resource: dict[str, Any]) -> int:
    return int(api.post(resource["resourceType"], resource).status_code)


def test_1_1_0_wants_an_accepted_participant_in_ps_appointments(server: Api, guide: str) -> None:
    assert status(server, appointment("accepted")) == 201
    assert status(server, appointment("needs-action")) == (201 if guide == "1.2.0" else 422)
    assert status(server, appointment("needs-action", PS)) == (201 if guide == "1.2.0" else 422)
    assert status(server, appointment("needs-action", SOS)) == 201
    assert status(server, appointment("declined", SOS)) == 422


def test_a_version_that_is_claimed_decides(server: Api, guide: str) -> None:
    claimed = status(server, appointment("needs-action", PS + "|1.1.0"))
    assert claimed == 422
    assert status(server, organization(IN_1_1, version="|1.1.0")) == 201
    assert status(server, organization(IN_1_2, version="|1.2.0")) == 201
    assert status(server, organization(IN_1_2, version="|1.1.0")) == 422


def test_the_type_of_a_cpts_is_that_of_the_version_and_both_satisfy_both(server: Api, guide: str) -> None:
    assert status(server, organization(IN_1_2)) == (201 if guide == "1.2.0" else 422)
    assert status(server, organization(IN_1_1)) == (422 if guide == "1.2.0" else 201)
    assert status(server, organization(IN_1_2, IN_1_1)) == 201


def test_validate_asks_for_the_profile_of_the_version(server: Api, guide: str) -> None:
    answer = server.post(f"Organization/$validate?profile={CPTS}", organization(IN_1_1)).get_json()
    faults = [i for i in answer["issue"] if i["severity"] == "error"]
    assert bool(faults) is (guide == "1.2.0")


def test_an_answer_of_cpts_conforms_to_both_versions(server: Api) -> None:
    """The official kit validates with 1.1.0."""
    from fhirstore_sas import demo_data

    day = demo_data.today()
    for resource in demo_data.resources(day):
        path = f"{resource['resourceType']}/{resource['id']}"
        if path.startswith("Slot/") and not path.startswith("Slot/demo-ps-4-"):
            continue
        assert server.put(path, resource).status_code == 201, path
    queries = dict(demo_data.queries("", day))
    bundle = server.get(queries["CPTS: a practitioner of two CPTS"].lstrip("/")).get_json()
    organizations = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Organization"]
    assert [o["identifier"][0]["type"]["coding"] for o in organizations] == [[IN_1_2, IN_1_1]] * 2
    for version in ("", "|1.1.0"):
        demand = ProfileRequirement(SAS + "sas-cpts-bundle-aggregator" + version, "requested", "enforce")
        assert [i for i in server.ctx.validator.validate(bundle, [demand]) if i.is_error] == []


def test_the_bundle_of_1_1_0_holds_the_organizations_of_1_1_0(server: Api) -> None:
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset", "total": 0, "link": [], "entry": []}
    bundle["entry"] = [{"fullUrl": "http://x/Organization/1", "resource": organization(IN_1_2) | {"id": "1"}}]

    def faults(version: str) -> list[str]:
        demand = ProfileRequirement(SAS + "sas-cpts-bundle-aggregator" + version, "requested", "enforce")
        found = server.ctx.validator.validate(bundle, [demand])
        return [i.expression[0] for i in found if i.is_error and "entry[0]" in i.expression[0]]

    assert faults("") == []
    assert faults("|1.1.0") != []


def test_other_versions_are_none() -> None:
    with pytest.raises(StartupError, match=r"sas\.guide: .2\.0\.0. is not allowed\. Use 1\.2\.0 or 1\.1\.0"):
        Template.make(plugins=("sas",), plugin_options=("sas.guide=2.0.0",))
