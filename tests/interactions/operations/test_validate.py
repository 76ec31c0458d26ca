"""https://hl7.org/fhir/R4/resource-operation-validate.html over HTTP, with the sample profile of docs/."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template, issue, patient
from support.packages import profile, tgz

PLUGIN = Path(__file__).resolve().parents[3] / "docs" / "examples" / "json-plugin"
IDENTIFIED = "https://example.org/fhir/StructureDefinition/identified-patient"
UNKNOWN = "http://example.org/StructureDefinition/unheard-of"
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Anne Martin</div>'}
GOOD = patient(text=NARRATIVE, identifier=[{"system": "http://a", "value": "1"}])
BAD = patient(text=NARRATIVE, birthDate="2023-02-29")

Outcome = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def with_plugin() -> Template:
    return Template.make(plugins=(str(PLUGIN),))


@pytest.fixture
def make(with_plugin: Template, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    made: list[Api] = []

    def one(**changed: Any) -> Api:
        made.append(with_plugin.fresh(tmp_path / f"{len(made)}.db", **changed))
        return made[-1]

    yield one
    for api in made:
        api.ctx.store.close()


@pytest.fixture
def clinic(make: Callable[..., Api]) -> Api:
    return make()


def found(answer: Any) -> Outcome:
    """(severity, code, expression) of each issue."""
    assert answer.status_code == 200, answer.text
    outcome = answer.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    return [(i["severity"], i["code"], i.get("expression", [""])[0]) for i in outcome["issue"]]


def asking(resource: Any = None, **more: Any) -> dict[str, Any]:
    kinds = {"mode": "valueCode", "profile": "valueUri"}
    parameters = [{"name": name, kinds[name]: value} for name, value in more.items()]
    if resource is not None:
        parameters.append({"name": "resource", "resource": resource})
    return {"resourceType": "Parameters", "parameter": parameters}


ALL_OK = [("information", "informational", "")]
NO_IDENTIFIER = [("error", "required", "Patient.identifier")]
NO_DAY = [("error", "value", "Patient.birthDate")]


def test_a_sound_resource_is_all_ok(clinic: Api) -> None:
    assert found(clinic.post("Patient/$validate", GOOD)) == ALL_OK
    assert found(clinic.post("Patient/$validate", asking(GOOD))) == ALL_OK


def test_nothing_is_stored(clinic: Api) -> None:
    clinic.post("Patient/$validate", asking(GOOD, mode="create"))
    assert clinic.ids("Patient") == []


def test_faults_are_reported_with_severity_code_diagnostics_and_place(clinic: Api) -> None:
    answer = clinic.post("Patient/$validate", BAD)
    assert found(answer) == NO_DAY
    assert "2023-02-29 is not a day of the calendar" in issue(answer)["diagnostics"]


def test_a_profile_is_checked_whether_it_stands_in_the_url_or_in_the_body(clinic: Api) -> None:
    without = patient(text=NARRATIVE)
    assert found(clinic.post("Patient/$validate", without)) == ALL_OK
    assert found(clinic.post(f"Patient/$validate?profile={IDENTIFIED}", without)) == NO_IDENTIFIER
    answer = clinic.post("Patient/$validate", asking(without, profile=IDENTIFIED))
    assert found(answer) == NO_IDENTIFIER
    assert f"[min of Patient.identifier in {IDENTIFIED}]" in issue(answer)["diagnostics"]


def test_a_claimed_profile_is_checked(clinic: Api) -> None:
    claiming = patient(text=NARRATIVE, meta={"profile": [IDENTIFIED]})
    assert found(clinic.post("Patient/$validate", claiming)) == NO_IDENTIFIER


def test_a_profile_that_is_not_known_is_an_error_that_names_it(clinic: Api) -> None:
    answer = clinic.post("Patient/$validate", asking(GOOD, profile=UNKNOWN))
    assert found(answer) == [("error", "not-found", "Patient")]
    assert f"no installed package defines {UNKNOWN}" in issue(answer)["diagnostics"]


def test_a_claimed_profile_that_is_not_known_is_a_warning_that_names_it(clinic: Api) -> None:
    answer = clinic.post("Patient/$validate", GOOD | {"meta": {"profile": [UNKNOWN]}})
    assert found(answer) == [("warning", "not-found", "Patient.meta.profile")]
    assert UNKNOWN in issue(answer)["diagnostics"]


def test_a_missing_narrative_is_a_warning(clinic: Api) -> None:
    assert found(clinic.post("Patient/$validate", patient())) == [("warning", "invariant", "Patient")]


def test_the_stored_resource_of_an_instance_is_checked(clinic: Api) -> None:
    id = clinic.created(patient(text=NARRATIVE))["id"]
    assert found(clinic.get(f"Patient/{id}/$validate")) == ALL_OK
    assert found(clinic.get(f"Patient/{id}/$validate?profile={IDENTIFIED}&mode=profile")) == NO_IDENTIFIER
    assert found(clinic.call("POST", f"Patient/{id}/$validate")) == ALL_OK


def test_an_instance_that_is_not_there_is_404_and_a_deleted_one_410(clinic: Api) -> None:
    assert clinic.get("Patient/none/$validate").status_code == 404
    id = clinic.created(patient())["id"]
    clinic.delete(f"Patient/{id}")
    assert clinic.get(f"Patient/{id}/$validate").status_code == 410


def test_mode_create_checks_what_a_create_checks(clinic: Api) -> None:
    assert found(clinic.post("Patient/$validate", asking(GOOD, mode="create"))) == ALL_OK
    assert found(clinic.post("Patient/$validate", asking(BAD, mode="create"))) == NO_DAY


def test_mode_update_checks_the_id_too(clinic: Api) -> None:
    named = GOOD | {"id": "p"}
    assert found(clinic.post("Patient/p/$validate", asking(named, mode="update"))) == ALL_OK
    assert found(clinic.post("Patient/$validate", asking(named, mode="update"))) == ALL_OK
    assert found(clinic.post("Patient/q/$validate", asking(named, mode="update"))) == [
        ("error", "invalid", "Patient.id")
    ]


def test_mode_delete_looks_at_the_instance_only(clinic: Api) -> None:
    id = clinic.created(patient())["id"]  # without a narrative, which is no matter of a deletion
    assert found(clinic.post(f"Patient/{id}/$validate", asking(BAD, mode="delete"))) == ALL_OK
    assert found(clinic.call("POST", f"Patient/{id}/$validate?mode=delete")) == ALL_OK
    assert found(clinic.post("Patient/none/$validate", asking(GOOD, mode="delete"))) == [("error", "not-found", "")]
    assert clinic.get(f"Patient/{id}").status_code == 200


def test_mode_and_profile_both_take_effect(clinic: Api) -> None:
    answer = clinic.post("Patient/$validate", asking(BAD, mode="create", profile=IDENTIFIED))
    assert found(answer) == NO_DAY + NO_IDENTIFIER


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("Patient/$validate", asking(), "resource is missing"),
        ("Patient/$validate", None, "resource is missing"),
        ("Patient/p/$validate", asking(mode="update"), "resource is missing"),
        ("Patient/$validate", asking(GOOD, mode="upsert"), "Allowed codes: create, delete, profile, update"),
        ("Patient/p/$validate", asking(GOOD, mode="profile"), "Omit the parameter resource"),
        ("Patient/$validate", asking(GOOD, mode="update"), "a resource with an id"),
        ("Patient/p/$validate", asking(mode="profile"), "requires the parameter profile"),
        ("Slot/$validate", GOOD, "the URL requires Slot"),
        ("Patient/$validate", {"name": []}, "resourceType is missing"),
        ("Patient/$validate", {"resourceType": "Patiant"}, "'Patiant'"),
        ("Patient/$validate", b"{", "JSON"),
    ],
)
def test_a_request_that_makes_no_sense_is_400(clinic: Api, path: str, body: Any, told: str) -> None:
    answer = clinic.call("POST", path, body)
    assert answer.status_code == 400, answer.text
    assert told in issue(answer)["diagnostics"]


def test_it_is_no_operation_of_the_system_level(clinic: Api) -> None:
    assert clinic.post("$validate", GOOD).status_code == 404


# --- the same rules on writes ------------------------------------------------------------------------

CLAIMING = patient(meta={"profile": [IDENTIFIED]})


def entry(method: str, url: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}, "resource": resource}


def test_a_claimed_profile_binds_on_create_and_update(clinic: Api) -> None:
    for answer in (clinic.post("Patient", CLAIMING), clinic.put("Patient/p", CLAIMING | {"id": "p"})):
        assert answer.status_code == 422
        assert issue(answer)["expression"] == ["Patient.identifier"]
    assert clinic.ids("Patient") == []


def test_a_claimed_profile_binds_in_bundles(clinic: Api) -> None:
    entries = [entry("POST", "Patient", patient()), entry("PUT", "Patient/p", CLAIMING | {"id": "p"})]
    refused = clinic.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Bundle.entry[1].resource.identifier"]
    assert clinic.ids("Patient") == []
    answers = clinic.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).get_json()["entry"]
    assert [e["response"]["status"][:3] for e in answers] == ["201", "422"]
    told = answers[1]["response"]["outcome"]["issue"][0]["expression"]
    assert told == ["Bundle.entry[1]", "Patient.identifier"]


def test_what_is_inside_of_a_resource_is_held_to_what_it_claims(clinic: Api) -> None:
    claiming = patient(meta={"profile": [IDENTIFIED]})
    report = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": GOOD}, {"resource": claiming}]}
    where = "Bundle.entry[1].resource.identifier"
    assert found(clinic.post("Bundle/$validate", report)) == [("error", "required", where)]
    refused = clinic.post("Bundle", report)
    assert (refused.status_code, issue(refused)["expression"]) == (422, [where])
    holder = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": "#p"}}
    holder["contained"] = [claiming | {"id": "p"}]
    entry = {"resource": holder, "request": {"method": "POST", "url": "Basic"}}
    refused = clinic.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert refused.status_code == 422
    assert issue(refused)["expression"] == ["Bundle.entry[0].resource.contained[0].identifier"]


def test_settings_say_what_claims_inside_do(make: Callable[..., Api]) -> None:
    report = {"resourceType": "Bundle", "type": "collection"}
    report["entry"] = [{"resource": patient(meta={"profile": [IDENTIFIED]})}]
    assert make(profile_policies=("Patient=off",)).post("Bundle", report).status_code == 201
    assert make(profile_policies=("Bundle=off",)).post("Bundle", report).status_code == 422
    warned = make(claimed_profiles="warn").post("Bundle", report, Prefer="return=OperationOutcome")
    assert (warned.status_code, issue(warned)["severity"]) == (201, "warning")
    assert make(validation="off").post("Bundle", report).status_code == 201


def test_warnings_are_returned_if_the_outcome_is_requested(clinic: Api) -> None:
    body = patient(meta={"profile": [UNKNOWN]})
    answer = clinic.post("Patient", body, Prefer="return=OperationOutcome")
    assert answer.status_code == 201
    assert (issue(answer)["severity"], UNKNOWN in issue(answer)["diagnostics"]) == ("warning", True)


@pytest.mark.parametrize(
    ("settings", "resource", "status"),
    [
        ({"claimed_profiles": "warn"}, CLAIMING, 201),
        ({"claimed_profiles": "off"}, CLAIMING, 201),
        ({"profile_policies": ("Patient=warn",)}, CLAIMING, 201),
        ({"profile_policies": (f"{IDENTIFIED}=off",)}, CLAIMING, 201),
        ({"profile_policies": ("Patient=off", f"{IDENTIFIED}=enforce")}, CLAIMING, 422),
        ({"claimed_profiles": "off", "profile_policies": (f"{IDENTIFIED}=enforce",)}, CLAIMING, 422),
        ({"validation": "warn"}, CLAIMING, 201),
        ({"validation": "off"}, BAD | CLAIMING, 201),
        ({"unknown_profiles": "enforce"}, patient(meta={"profile": [UNKNOWN]}), 422),
        ({"unknown_profiles": "off"}, patient(meta={"profile": [UNKNOWN]}), 201),
    ],
)
def test_settings_say_what_a_profile_does(
    make: Callable[..., Api], settings: dict[str, Any], resource: dict[str, Any], status: int
) -> None:
    answer = make(**settings).post("Patient", resource, Prefer="return=OperationOutcome")
    assert answer.status_code == status, answer.text
    warned = "warn" in str(settings)
    assert ("warning" in answer.text) is warned


def test_a_claimed_profile_that_is_faulty_is_not_checked_as_one_that_is_not_known(tmp_path: Path) -> None:
    file = tgz(tmp_path / "forced.tgz", "test.forced", "1.0.0", profile(base="http://example.org/gone"))
    template = Template.make(plugins=(str(file),))
    claiming = patient(meta={"profile": [profile()["url"]]})
    server = template.fresh(tmp_path / "a.db")
    for _ in range(2):
        answer = server.post("Patient", claiming, Prefer="return=OperationOutcome")
        assert (answer.status_code, issue(answer)["severity"]) == (201, "warning")
        assert "StructureDefinition-named-patient.json: baseDefinition: no installed" in issue(answer)["diagnostics"]
    assert (
        server.post("Patient/$validate?profile=" + profile()["url"], GOOD).get_json()["issue"][0]["severity"] == "error"
    )
    server.ctx.store.close()
    strict = template.fresh(tmp_path / "b.db", unknown_profiles="enforce")
    assert strict.post("Patient", claiming).status_code == 422
    strict.ctx.store.close()


def test_the_profile_of_the_statement_binds_without_being_claimed(tmp_path: Path) -> None:
    clinic = Template.make(plugins=(str(PLUGIN),), capability="clinic")
    for n, (policy, status) in enumerate([("enforce", 422), ("warn", 201), ("off", 201)]):
        api = clinic.fresh(tmp_path / f"{n}.db", declared_profiles=policy)
        assert api.post("Patient", patient()).status_code == status
        api.ctx.store.close()


def test_a_profile_of_another_type_is_an_error(clinic: Api) -> None:
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "meta": {"profile": [IDENTIFIED]}}
    assert clinic.post("Basic", basic).status_code == 422


@pytest.mark.parametrize(
    ("resource", "key"),
    [
        (GOOD | {"contact": [{"gender": "male"}]}, "pat-1"),
        (GOOD | {"text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"/>'}}, "txt-2"),
        (GOOD | {"extension": [{"url": "http://example.org/x"}]}, "ext-1"),
    ],
    ids=["by expression", "by hand", "with the structure"],
)
def test_a_broken_invariant_is_named(clinic: Api, resource: Any, key: str) -> None:
    (named,) = [i["details"] for i in clinic.post("Patient/$validate", resource).get_json()["issue"] if "details" in i]
    assert named == {"coding": [{"system": "urn:fhirstore:rule", "code": key}]}


def test_a_broken_rule_of_a_profile_is_named_by_profile_element_and_kind(clinic: Api) -> None:
    answer = clinic.post("Patient/$validate", asking(patient(text=NARRATIVE), profile=IDENTIFIED))
    assert issue(answer)["code"] == "required"
    assert issue(answer)["details"]["coding"] == [{"system": IDENTIFIED, "code": "Patient.identifier:min"}]
